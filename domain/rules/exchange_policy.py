"""Which tokens a client may exchange (RFC 8693), as administrators wrote it down with the client."""

import re

from domain.decision import InvalidScope, InvalidTarget, Outcome, Refusal, malformed
from domain.rules import administrative_scope, audience, built_in_scope
from domain.rules.client_metadata import ClientMetadata, ExchangeRule

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:token-exchange"

RULES_MAXIMUM = 20
SCOPES_MAXIMUM = 20
TOGETHER = 2_000
"""Characters of all rules: a change states old and new ones."""

NAME_MAXIMUM = 128
NEVER = (built_in_scope.ACCOUNT, built_in_scope.OFFLINE_ACCESS)

_NAME = re.compile(rf"[\x21-\x7e]{{1,{NAME_MAXIMUM}}}")
_TARGET = re.compile(rf"[\x21-\x7e]{{1,{audience.MAXIMUM}}}")
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,128}")


def registered(client: ClientMetadata) -> Outcome | None:
    """Refuses rules that cannot stand in a registration."""
    rules = client.token_exchange
    if not rules:
        return None
    if client.type != "confidential" or GRANT_TYPE not in client.grant_types:
        return malformed("token_exchange", "is for confidential clients with the grant of token exchange")
    if len(rules) > RULES_MAXIMUM or len(set(rules)) != len(rules):
        return malformed("token_exchange", f"must be at most {RULES_MAXIMUM} rules, each once")
    if sum(len(each.subject_client) + len(each.resource) + sum(map(len, each.scope)) for each in rules) > TOGETHER:
        return malformed("token_exchange", f"must have at most {TOGETHER} characters together")
    for place, rule in enumerate(rules, 1):
        if problem := _problem(rule):
            return malformed("token_exchange", f"rule {place} {problem}")
    return None


def _problem(rule: ExchangeRule) -> str | None:
    if not _NAME.fullmatch(rule.subject_client) or not _TARGET.fullmatch(rule.resource) or "#" in rule.resource:
        return "must name a client, and a URI or a client as its resource"
    if not 1 <= len(rule.scope) <= SCOPES_MAXIMUM or not all(_SCOPE.fullmatch(name) for name in rule.scope):
        return f"must name 1 to {SCOPES_MAXIMUM} scopes (RFC 6749 §3.3)"
    if administrative_scope.administrative(rule.scope) or not set(rule.scope).isdisjoint(NEVER):
        return "must not name administrative scopes, account or offline_access: nobody gets these in exchange"
    return None


def chosen(client: ClientMetadata, subject_client: str, named: tuple[str, ...]) -> ExchangeRule | Refusal:
    """The rule by which this client exchanges a token of that one for the target that it names; where it names none,
    the only one that there is."""
    if len(named) > 1:
        return Refusal(InvalidTarget.SEVERAL, "An access token is for one resource; name one at a time.", "resource")
    rules = [each for each in client.token_exchange if each.subject_client == subject_client]
    if not rules:
        return Refusal(InvalidTarget.OUTSIDE_CLIENT, "This client may not exchange tokens of that client.")
    fitting = [each for each in rules if not named or each.resource == named[0]]
    if not fitting:
        return Refusal(InvalidTarget.OUTSIDE_CLIENT, "This client may not have a token for that resource.", "resource")
    if len({each.resource for each in fitting}) > 1:
        return Refusal(InvalidTarget.MISSING, "Several resources are possible: name one of them.", "resource")
    names = dict.fromkeys(name for each in fitting for name in each.scope)
    return ExchangeRule(subject_client=subject_client, resource=fitting[0].resource, scope=tuple(names))


def scope_of(
    rule: ExchangeRule, asked: tuple[str, ...] | None, held: tuple[str, ...]
) -> tuple[str, ...] | InvalidScope:
    """What the new token may do: never more than the one that is exchanged, nor than the rule says."""
    allowed = tuple(name for name in held if name in rule.scope and name not in NEVER)
    if asked is not None and any(name not in allowed for name in asked):
        return InvalidScope.WIDENED
    return (allowed if asked is None else asked) or InvalidScope.NOTHING_LEFT
