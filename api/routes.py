"""Every route of the server. A new endpoint is one file and one line here."""

from typing import Any

from api.health import live, ready
from api.introspect import introspect
from api.metadata import metadata
from api.revoke import revoke
from api.token import token

ROUTES: list[Any] = [token, introspect, revoke, metadata, live, ready]
