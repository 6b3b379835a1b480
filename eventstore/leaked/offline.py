"""How long what was ended is still taken by anyone who validates JWT access tokens (RFC 9068) offline."""

from sqlalchemy import Connection

from domain.event import Moment
from eventstore import search
from projections import tokens

NEWEST = 50
"""Tokens of a client that are looked at: its later ones expire later."""


def offline_of(connection: Connection, client_id: str, now: Moment) -> Moment | None:
    """Until when the newest tokens of a client are good for anyone who validates offline; None where nobody does."""
    newest = tokens.newest_access_tokens(connection, client_id, now, NEWEST)
    told = search.recorded_forms(connection, sorted(newest))
    signed = [newest[each.position] for each in told if getattr(each.event, "signing_key", None) is not None]
    return max(signed, default=None)
