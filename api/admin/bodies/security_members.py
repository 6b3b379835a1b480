"""What a client's security profile is made of, as the administration takes and shows it."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from domain.requests import authorization_detail_type
from domain.rules import authorization_details, client_metadata

PushesRequests = Annotated[bool, Meta(description="Whether it must push its authorization requests (RFC 9126 §6).")]
BoundByDpop = Annotated[bool, Meta(description="Whether its tokens are bound to its key in any case (RFC 9449 §5.2).")]
BoundByCertificate = Annotated[
    bool, Meta(description="Whether its tokens are bound to its certificate in any case (RFC 8705 §3.4).")
]
Profile = Annotated[client_metadata.SecurityProfile, Meta(description="What it is held to: FAPI 2.0, or null.")]
SignsRequests = Annotated[bool, Meta(description="Whether it must sign its authorization requests (RFC 9101 §10.5).")]
RequestAlgorithm = Annotated[
    client_metadata.SigningAlgorithm,
    Meta(description="The one algorithm that its request objects may be signed with; null for any (RFC 9101)."),
]
ResponseAlgorithm = Annotated[
    client_metadata.SigningAlgorithm,
    Meta(description="By which answers are signed that it wants as `jwt` (JARM §3); null for the usual one."),
]

AccessTokenFormat = Annotated[
    client_metadata.AccessTokenFormat,
    Meta(
        description="What its access tokens are: `opaque`, or `jwt` (RFC 9068), which resource servers verify by"
        " themselves and which are good there until they expire. With an administrative scope they are opaque."
    ),
]

DetailTypes = Annotated[
    list[Annotated[str, Meta(max_length=authorization_detail_type.TYPE_MAXIMUM)]],
    Meta(
        max_length=authorization_details.TYPES_MAXIMUM,
        description="The types of authorization details that it may ask for (RFC 9396 §10).",
    ),
]


class SecurityGiven(msgspec.Struct, kw_only=True):
    """As a new client comes with them."""

    require_pushed_authorization_requests: PushesRequests = False
    dpop_bound_access_tokens: BoundByDpop = False
    tls_client_certificate_bound_access_tokens: BoundByCertificate = False
    profile: Profile | None = None
    require_signed_request_object: SignsRequests = False
    request_object_signing_alg: RequestAlgorithm | None = None
    authorization_signed_response_alg: ResponseAlgorithm | None = None
    access_token_format: AccessTokenFormat = "opaque"  # noqa: S105 - a format
    authorization_details_types: DetailTypes = []


SECURITY_EXAMPLE: dict[str, Any] = {
    "require_pushed_authorization_requests": False,
    "dpop_bound_access_tokens": False,
    "tls_client_certificate_bound_access_tokens": False,
    "profile": None,
    "require_signed_request_object": False,
    "request_object_signing_alg": None,
    "authorization_signed_response_alg": None,
    "access_token_format": "opaque",
    "authorization_details_types": [],
}
