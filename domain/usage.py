"""Uses that issue no token, grouped: of a secret version, `usage:<secret_id>`, and of a token, `usage:<sha256>`.

Tokens name the version that authenticated, so their issue is a use already and is not told again here.
"""

from typing import Literal

import msgspec
from msgspec.structs import asdict, replace

from domain.decision import Outcome, accept, counted
from domain.event import Event, Moment, Recorded

Via = Literal["introspection", "revocation", "other"]
TokenVia = Literal["introspection", "api"]
Kind = Literal["access", "refresh", "code", "client_secret", "session"]

TOLD_MAXIMUM = 256
"""Characters of what a resource server tells."""


def stream(subject: str) -> str:
    """The stream of the uses of a secret version, by its id, or of a token, by the hex digest of it."""
    return f"usage:{subject}"


# Facts ------------------------------------------------------------------------------------------------------------


class FirstSeen(Event, frozen=True, kw_only=True):
    """The version was used from an address that had not used it lately; one use."""

    type = "usage.first_seen"
    in_doubt = True

    client_id: str
    via: Via


class Seen(Event, frozen=True, kw_only=True):
    """The version was used `count` more times within `window_seconds`."""

    type = "usage.seen"
    in_doubt = True

    client_id: str
    via: Via
    count: int
    window_seconds: int


class TokenFirstSeen(Event, frozen=True, kw_only=True):
    """A token was used from an address that had not used it lately; one use. Its digest is the stream's name.

    `seen_by` is the resource server that asked about it, null for this server's own API. The caller's address stands
    with the event; `told_ip` and `told_user_agent` are what the resource server says of whoever brought the token, and
    nobody can check that. `ended` is why the token was dead already: somebody tried it after its end.
    """

    type = "usage.token_first_seen"
    in_doubt = True
    personal = ("told_ip", "told_user_agent")
    of_origin = personal

    kind: Kind
    client_id: str | None = None
    grant_id: str | None = None
    account_id: str | None = None
    secret_id: str | None = None
    via: TokenVia
    seen_by: str | None = None
    told_ip: str | None = None
    told_user_agent: str | None = None
    ended: str | None = None

    def subject(self, stream: str) -> str:
        """What is told is about the person for whom the token acts, or else about its client."""
        return _subject(self.account_id, self.client_id, stream)


class TokenSeen(Event, frozen=True, kw_only=True):
    """The token was used `count` more times within `window_seconds`, from the same address in the same way."""

    type = "usage.token_seen"
    in_doubt = True
    personal = ("told_ip", "told_user_agent")
    of_origin = personal

    kind: Kind
    client_id: str | None = None
    grant_id: str | None = None
    account_id: str | None = None
    secret_id: str | None = None
    via: TokenVia
    seen_by: str | None = None
    told_ip: str | None = None
    told_user_agent: str | None = None
    ended: str | None = None
    count: int
    window_seconds: int

    def subject(self, stream: str) -> str:
        """What is told is about the person for whom the token acts, or else about its client."""
        return _subject(self.account_id, self.client_id, stream)


def _subject(account_id: str | None, client_id: str | None, stream: str) -> str:
    if account_id is not None:
        return f"account:{account_id}"
    return stream if client_id is None else f"client:{client_id}"


EVENTS: tuple[type[Event], ...] = (FirstSeen, Seen, TokenFirstSeen, TokenSeen)

# State ------------------------------------------------------------------------------------------------------------


class State(msgspec.Struct, frozen=True):
    """How often and when last; `after_end` of them when it was dead already."""

    count: int = 0
    after_end: int = 0
    first_at: Moment | None = None
    last_at: Moment | None = None


INITIAL = State()

STATELESS = True
"""No verb looks at the state: what is recorded does not depend on what was, so the ledger need not fold a stream."""

# Verbs ------------------------------------------------------------------------------------------------------------


def note_first(state: State, *, now: Moment, client_id: str, via: Via) -> Outcome:
    """Records one use from a new address at once."""
    return accept(FirstSeen(client_id=client_id, via=via))


def note_more(state: State, *, now: Moment, client_id: str, via: Via, count: int, window_seconds: int) -> Outcome:
    """Records further uses as a count."""
    return counted(Seen(client_id=client_id, via=via, count=count, window_seconds=window_seconds))


def note_token(
    state: State,
    *,
    now: Moment,
    kind: Kind,
    client_id: str | None = None,
    grant_id: str | None = None,
    account_id: str | None = None,
    secret_id: str | None = None,
    via: TokenVia,
    seen_by: str | None = None,
    told_ip: str | None = None,
    told_user_agent: str | None = None,
    ended: str | None = None,
    count: int = 1,
    window_seconds: int = 0,
) -> Outcome:
    """Records a first use of a token at once (window 0), or further ones as a count.

    What a resource server tells is cut off at a length.
    """
    first = TokenFirstSeen(
        kind=kind,
        client_id=client_id,
        grant_id=grant_id,
        account_id=account_id,
        secret_id=secret_id,
        via=via,
        seen_by=seen_by,
        told_ip=None if told_ip is None else told_ip[:TOLD_MAXIMUM],
        told_user_agent=None if told_user_agent is None else told_user_agent[:TOLD_MAXIMUM],
        ended=ended,
    )
    noted = counted(TokenSeen(**asdict(first), count=count, window_seconds=window_seconds))
    return accept(first) if noted.refusal is None and window_seconds == 0 else noted


# Fold -------------------------------------------------------------------------------------------------------------


def evolve(state: State, recorded: Recorded) -> State:
    """The uses after one more event."""
    match recorded.event:
        case FirstSeen() | TokenFirstSeen():
            count = 1
        case Seen(count=count) | TokenSeen(count=count):
            pass
        case _:
            raise AssertionError(f"{recorded.type} is no event of uses")
    first = recorded.time if state.first_at is None else state.first_at
    dead = count if getattr(recorded.event, "ended", None) is not None else 0
    return replace(
        state, count=state.count + count, after_end=state.after_end + dead, first_at=first, last_at=recorded.time
    )
