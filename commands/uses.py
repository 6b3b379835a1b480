"""Uses that issue no token, as they are counted: a first one, for which `seconds` is 0, and `count` more within so many
seconds.
"""

import msgspec

from domain import usage
from domain.decision import Outcome
from eventstore.command import Command
from eventstore.view import View


class Token(msgspec.Struct, frozen=True):
    """What a token is and came of."""

    kind: usage.Kind
    client_id: str | None
    grant_id: str | None
    account_id: str | None
    secret_id: str | None


class How(msgspec.Struct, frozen=True):
    """How it was used; `seen_by` is the client that asked about it, `told_…` what that one says of whoever brought it,
    `ended` why it was dead already.
    """

    via: usage.TokenVia
    seen_by: str | None
    told_ip: str | None
    told_user_agent: str | None
    ended: str | None


def of_secret(secret_id: str, client_id: str, via: usage.Via, count: int, seconds: int) -> Command[usage.State]:
    """A secret version authenticated its client."""

    def decide(state: usage.State, view: View) -> Outcome:
        if seconds == 0:
            return usage.note_first(state, now=view.now, client_id=client_id, via=via)
        return usage.note_more(state, now=view.now, client_id=client_id, via=via, count=count, window_seconds=seconds)

    return Command(usage.stream(secret_id), decide)


def of_token(sha256: str, token: Token, how: How, count: int, seconds: int) -> Command[usage.State]:
    """A token, by its digest in hex, was brought to a resource server or to this one."""
    return Command(
        usage.stream(sha256),
        lambda state, view: usage.note_token(
            state,
            now=view.now,
            kind=token.kind,
            client_id=token.client_id,
            grant_id=token.grant_id,
            account_id=token.account_id,
            secret_id=token.secret_id,
            via=how.via,
            seen_by=how.seen_by,
            told_ip=how.told_ip,
            told_user_agent=how.told_user_agent,
            ended=how.ended,
            count=count,
            window_seconds=seconds,
        ),
    )
