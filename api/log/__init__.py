"""The transparency log as it is published: key, checkpoint and tiles (C2SP tlog-tiles), for whoever wants to look."""

from typing import Any

from api.log import checkpoint, tiles, vkey

ROUTES: list[Any] = [*vkey.ROUTES, *checkpoint.ROUTES, *tiles.ROUTES]
