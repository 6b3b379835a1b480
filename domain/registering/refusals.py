"""Why what a client wanted to register was refused, in closed words: nothing that it sent."""

from typing import Literal

RegistrationError = Literal["invalid_client_metadata", "invalid_redirect_uri"]
"""What is wrong with the metadata (RFC 7591 §3.2.2)."""

DeadInitialToken = Literal["expired", "redeemed", "revoked"]
"""Why an initial access token lets nobody register any more."""

MEMBERS_MAXIMUM = 16
"""Members that one refusal names."""
