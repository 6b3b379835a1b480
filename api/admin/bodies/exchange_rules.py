"""Whose tokens a client may exchange (RFC 8693), as bodies have it."""

from typing import Annotated

import msgspec
from msgspec import Meta

from domain import scope
from domain.rules import audience, exchange_policy, registration
from domain.rules.client_metadata import ExchangeRule


class ExchangeRuleBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose tokens the client may exchange, for tokens for which resource, with which scope at most (RFC 8693)."""

    subject_client: Annotated[
        str, Meta(max_length=exchange_policy.NAME_MAXIMUM, description="To which client these tokens were issued.")
    ]
    resource: Annotated[str, Meta(max_length=audience.MAXIMUM, description="A URI, or the id of a client.")]
    scope: Annotated[
        str, Meta(max_length=registration.SCOPES_TOGETHER, description="Scope names with a space between.")
    ]


ExchangeRules = Annotated[
    list[ExchangeRuleBody],
    Meta(
        max_length=exchange_policy.RULES_MAXIMUM,
        description="For a confidential client with the grant of token exchange: what it may exchange.",
    ),
]


def rule(given: ExchangeRuleBody) -> ExchangeRule:
    """The rule that a body states."""
    names = scope.parse(given.scope) or ()
    return ExchangeRule(subject_client=given.subject_client, resource=given.resource, scope=names)


def body(stands: ExchangeRule) -> ExchangeRuleBody:
    """How a rule is answered."""
    return ExchangeRuleBody(stands.subject_client, stands.resource, " ".join(stands.scope))
