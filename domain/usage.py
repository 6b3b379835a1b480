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
SecretKind = Literal[
    "access", "refresh", "code", "client_secret", "session", "initial_access_token", "registration_access_token"
]

TOLD_MAXIMUM = 256
"""Characters of what a resource server tells."""


def stream(subject: str) -> str:
    """The stream of the uses of a secret version, by its id, or of a token, by the hex digest of it."""
    return f"usage:{subject}"


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


class _TokenUse(Event, frozen=True, kw_only=True):
    personal = ("told_ip", "told_user_agent")
    of_origin = personal
    in_doubt = True

    kind: SecretKind
    client_id: str | None = None
    grant_id: str | None = None
    account_id: str | None = None
    secret_id: str | None = None
    via: TokenVia
    seen_by: str | None = None
    told_ip: str | None = None
    told_user_agent: str | None = None
    ended: str | None = None
    unproved: bool = False

    def subject(self, stream: str) -> str:
        """What is told is about the person for whom the token acts, or else about its client."""
        if self.account_id is not None:
            return f"account:{self.account_id}"
        return stream if self.client_id is None else f"client:{self.client_id}"


class TokenFirstSeen(_TokenUse, frozen=True, kw_only=True):
    """A token was used from an address that had not used it lately; one use. Its digest is the stream's name.

    `seen_by` is the resource server that asked about it, null for this server's own API. The caller's address stands
    with the event; `told_ip` and `told_user_agent` are what the resource server says of the one who brought the token,
    and nobody can check that. `ended` is why the token was dead already: somebody tried it after its end. `unproved`:
    it lived, and was refused: the one who brought it did not show the key or certificate to which it is bound.
    """

    type = "usage.token_first_seen"


class TokenSeen(_TokenUse, frozen=True, kw_only=True):
    """The token was used `count` more times within `window_seconds`, from the same address in the same way."""

    type = "usage.token_seen"

    count: int
    window_seconds: int


EVENTS: tuple[type[Event], ...] = (FirstSeen, Seen, TokenFirstSeen, TokenSeen)


class State(msgspec.Struct, frozen=True):
    """How often and when last; `after_end` of them when it was dead already. What came `unproved` was no use of it."""

    count: int = 0
    after_end: int = 0
    unproved: int = 0
    first_at: Moment | None = None
    last_at: Moment | None = None


INITIAL = State()

STATELESS = True
"""No verb looks at the state: what is recorded does not depend on what was, so the ledger need not fold a stream."""


def note(state: State, *, now: Moment, client_id: str, via: Via, count: int = 1, window_seconds: int = 0) -> Outcome:
    """Records one use from a new address at once (window 0), or further ones as a count."""
    more = counted(Seen(client_id=client_id, via=via, count=count, window_seconds=window_seconds))
    return more if more.refusal or window_seconds else accept(FirstSeen(client_id=client_id, via=via))


def note_token(state: State, *, now: Moment, use: TokenFirstSeen, count: int = 1, window_seconds: int = 0) -> Outcome:
    """The same for a token. What a resource server tells is cut off at a length."""
    told = {name: text[:TOLD_MAXIMUM] for name in TokenFirstSeen.personal if (text := getattr(use, name))}
    first = replace(use, **told)
    more = counted(TokenSeen(**asdict(first), count=count, window_seconds=window_seconds))
    return more if more.refusal or window_seconds else accept(first)


def evolve(state: State, recorded: Recorded) -> State:
    """The uses after one more event."""
    match recorded.event:
        case FirstSeen() | TokenFirstSeen():
            count = 1
        case Seen(count=count) | TokenSeen(count=count):
            pass
        case _:
            raise AssertionError(f"{recorded.type} is no event of uses")
    if getattr(recorded.event, "unproved", False):
        return replace(state, unproved=state.unproved + count)
    first = recorded.time if state.first_at is None else state.first_at
    dead = count if getattr(recorded.event, "ended", None) is not None else 0
    return replace(
        state, count=state.count + count, after_end=state.after_end + dead, first_at=first, last_at=recorded.time
    )
