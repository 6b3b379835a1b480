"""Client ID metadata documents (draft-ietf-oauth-client-id-metadata-document): which address can be a client's id, and
what the document there may say.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from domain.rules.client_metadata import SECRET_METHODS

SCHEME = "https://"

MAXIMUM = 5_120
"""Bytes of a document."""

GRANT_TYPES = ("authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code")
"""Grants that such a client may have: a person is asked for each."""

_SECRETS = ("client_secret", "client_secret_expires_at")


def uri_problem(uri: str) -> str | None:
    """Why this address names no document: a phrase that follows its name, or None (§3)."""
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError:
        return "must have a valid host and port"
    if not uri.startswith(SCHEME) or not parts.hostname or port == 0:
        return "must be https and name a host"
    if "#" in uri or "@" in parts.netloc:
        return "must have neither a fragment nor a user name"
    if not parts.path or any(segment in (".", "..") for segment in parts.path.split("/")):
        return "must have a path without . and .."
    return None


def problem(document: Mapping[str, Any], uri: str) -> str | None:
    """Why this document describes no client of that address, or None (§4). It has no secret that it could share."""
    if document.get("client_id") != uri:
        return "client_id must be the address of the document"
    if any(name in document for name in _SECRETS):
        return "client_secret must be left out"
    method = document.get("token_endpoint_auth_method")
    if method in SECRET_METHODS or method == "client_secret_jwt":
        return "token_endpoint_auth_method must do without a shared secret"
    if "redirect_uris" not in document:
        return "redirect_uris is missing"
    return None
