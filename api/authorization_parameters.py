"""What the OpenAPI document tells of an authorization request's parameters, which are read by rules of their own."""

from dataclasses import dataclass

from litestar.openapi.spec import Operation, Parameter, Schema
from litestar.openapi.spec.enums import OpenAPIType

from api.authorization_request import QUERY_MAXIMUM, RESPONSE_MODE, AnyName
from api.client_authentication import LONGEST_ID
from domain.grants import authorization_code
from domain.rules import audience, pkce, redirect_uri


def _text(longest: int) -> Schema:
    return Schema(type=OpenAPIType.STRING, max_length=longest)


def _one_of(*words: str) -> Schema:
    return Schema(type=OpenAPIType.STRING, enum=list(words))


PARAMETERS = {
    "response_type": ("`code`.", _one_of(*authorization_code.RESPONSE_TYPES)),
    "client_id": ("Who asks.", _text(LONGEST_ID)),
    "redirect_uri": (
        "Where to go back to; may be left out where the client has registered a single one.",
        _text(redirect_uri.PRESENTED_MAXIMUM),
    ),
    "scope": ("Scope names with a space between; all the client's when left out.", _text(QUERY_MAXIMUM)),
    "state": (f"Comes back as it came. The whole query has at most {QUERY_MAXIMUM} bytes.", _text(QUERY_MAXIMUM)),
    "resource": (
        "What access tokens are to be for (RFC 8707 §2.1): the client's `resources` or the issuer; may be repeated.",
        Schema(type=OpenAPIType.ARRAY, items=_text(audience.MAXIMUM), max_items=audience.URIS_MAXIMUM + 1),
    ),
    "code_challenge": (
        "RFC 7636 §4.3; a client may have been registered without.",
        _text(pkce.CHALLENGE_LENGTH),
    ),
    "code_challenge_method": ("`S256`.", _one_of(*pkce.METHODS)),
    "response_mode": ("`query`.", _one_of(RESPONSE_MODE)),
}

OPT = {"repeatable": AnyName()}
"""For handlers of such a request: none of its parameters is refused before it is known whom to tell."""


@dataclass
class AuthorizationOperation(Operation):
    """An operation whose query is an authorization request."""

    def __post_init__(self) -> None:
        self.parameters = [
            Parameter(name=name, param_in="query", description=text, schema=schema)
            for name, (text, schema) in PARAMETERS.items()
        ]
