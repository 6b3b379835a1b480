"""What the OpenAPI document tells of an authorization request's parameters, which are read by rules of their own."""

from dataclasses import dataclass

from litestar.openapi.spec import Operation, Parameter, Schema
from litestar.openapi.spec.enums import OpenAPIType

from api.authorization_request import AnyName

PARAMETERS = {
    "response_type": "`code`.",
    "client_id": "Who asks.",
    "redirect_uri": "Where to go back to; may be left out where the client has registered a single one.",
    "scope": "Scope names with a space between; all the client's when left out.",
    "state": "Comes back as it came. The whole query has at most 8192 bytes.",
    "code_challenge": "RFC 7636 §4.3; a client may have been registered without.",
    "code_challenge_method": "`S256`.",
    "response_mode": "`query`.",
}

OPT = {"repeatable": AnyName()}
"""For handlers of such a request: none of its parameters is refused before it is known whom to tell."""


@dataclass
class AuthorizationOperation(Operation):
    """An operation whose query is an authorization request."""

    def __post_init__(self) -> None:
        self.parameters = [
            Parameter(name=name, param_in="query", description=text, schema=Schema(type=OpenAPIType.STRING))
            for name, text in PARAMETERS.items()
        ]
