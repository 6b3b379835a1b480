"""A token, code or secret: whether it was valid at any moment and by what, and how all that it rests on stood."""

from typing import Annotated, Any, ClassVar
from urllib.parse import urlencode

import msgspec
from litestar import Request, Response, get
from litestar.params import PathParameter, QueryParameter
from msgspec.structs import replace

from api.console.frame import ConsolePage, Visit
from api.console.gate import PAGE, shown
from api.console.leak_reports import called
from api.console.masking import pseudonym, sealed
from api.console.navigation import url_of
from api.console.own_api import together
from api.console.shown_events import Event
from api.console.token_lanes import DrawnLanes, LaneHistory, drawn, moments_of
from api.http.errors import InvalidRequest
from security.clock import Moment, format_rfc3339, parse_rfc3339

TOKEN = "/console/tokens/{sha256:str}"  # noqa: S105 - an address
LONGEST_MOMENT = 64

Sha256 = Annotated[str, PathParameter(max_length=64, description="Its SHA-256 in hex.")]
At = Annotated[str | None, QueryParameter(name="at", max_length=LONGEST_MOMENT, description="RFC 3339; else now.")]
Show = Annotated[str | None, QueryParameter(name="show", max_length=1, description="`1`: with personal values.")]


class SecretRef(msgspec.Struct, frozen=True):
    """A version of a client's secret."""

    id: str
    version: int


class Uses(msgspec.Struct, frozen=True):
    """How often it was used, how often after its end, and how often it was refused while it lived."""

    count: int
    after_end: int
    refused: int
    first_at: str | None
    last_at: str | None


class History(msgspec.Struct, frozen=True):
    """What `POST /audit/token-history` answers, as far as the page shows it."""

    kind: str
    sha256: str
    state: str
    issued_at: str
    events: tuple[Event, ...]
    uses: Uses
    standing: LaneHistory
    client_id: str | None = None
    client_name: str | None = None
    secret: SecretRef | None = None
    account_id: str | None = None
    grant_id: str | None = None
    scope: str | None = None
    expires_at: str | None = None

    @property
    def title(self) -> str:
        """What it is, and the beginning of its digest."""
        return f"{self.words[0].upper()}{self.words[1:]} {self.sha256[:8]}…"

    @property
    def words(self) -> str:
        """What it is called in a sentence."""
        return called(self.kind)

    @property
    def is_key(self) -> bool:
        """Whether it is a key or certificate, which nobody issued here."""
        return self.kind.endswith("key")

    @property
    def person(self) -> str:
        """On whose behalf, by the name that an event of it tells."""
        if self.account_id is None:
            return ""
        return next((name for each in self.events if (name := each.name(self.account_id))), pseudonym(self.account_id))


class Judged(msgspec.Struct, frozen=True):
    """What `POST /audit/token-state` answers."""

    active: bool
    reason: str
    decided_by: tuple[int, ...]
    at: str
    as_of_position: int
    offline_until: str | None = None

    @property
    def words(self) -> str:
        """The reason in words."""
        return self.reason.replace("_", " ")


class TokenPage(ConsolePage, frozen=True, kw_only=True):
    """`before` and `after` lead to the moments next to this one at which something changed, `just_before` to the
    microsecond before it, where it was still valid; `show_url` to the same with personal values."""

    template: ClassVar[str] = "console/log/token.html"
    history: History
    judged: Judged
    lanes: DrawnLanes
    client_url: str | None
    person_url: str | None
    grant_url: str | None
    before: str | None
    after: str | None
    just_before: str | None
    show_url: str | None


def _lane(kind: str) -> str:
    """What its own lane is called."""
    return next((word for word in ("code", "key") if kind.endswith(word)), "token")


def _moment(text: str | None) -> Moment | None:
    """The moment that was asked about; raises 400 where it is none. A `+` became a blank on its way."""
    if text is None or not text.strip():
        return None
    try:
        return parse_rfc3339(text.strip().replace(" ", "+"))
    except ValueError:
        raise InvalidRequest.field("at", "must be an RFC 3339 date-time such as 2026-01-31T12:00:00Z") from None


async def _token(visit: Visit, sha256: str, at: Moment | None, show: bool) -> ConsolePage:
    asked: dict[str, Any] = {"sha256": sha256}
    names = {"names": "1", **sealed("1" if show else "")}
    when = asked if at is None else asked | {"at": format_rfc3339(at)}
    history, judged = await together(
        visit.api.send("POST", "/audit/token-history", History, asked, query=names, tell=True),
        visit.api.send("POST", "/audit/token-state", Judged, when, tell=True),
    )
    chosen, standing = parse_rfc3339(judged.at), history.standing
    if history.kind == "client_secret" and standing.secret:
        # It is no token, and its own lane says how it stood.
        standing = replace(standing, token=())
    others = [history.expires_at, judged.at if at is None else None, history.uses.last_at]
    moments = moments_of(standing, [*others, *(each.time for each in history.events)])
    earlier = [each for each in moments if each < chosen]
    later = [each for each in moments if each > chosen]

    def url(moment: Moment) -> str:
        shows = {"show": "1"} if show else {}
        return f"/console/tokens/{sha256}?{urlencode({'at': format_rfc3339(moment)} | shows)}"

    may_show = not show and "audit:personal" in visit.may and any(each.sealed for each in history.events)
    return TokenPage(
        title=history.title,
        history=history,
        judged=judged,
        lanes=drawn(standing, moments, chosen, called=_lane(history.kind)),
        client_url=None if history.client_id is None else url_of("client", history.client_id),
        person_url=None if history.account_id is None else url_of("person", history.account_id),
        grant_url=None if history.grant_id is None else url_of("grant", history.grant_id),
        before=url(earlier[-1]) if earlier else None,
        after=url(later[0]) if later else None,
        just_before=None if judged.active or not earlier else url(chosen - 1),
        show_url=f"/console/tokens/{sha256}?{urlencode({'at': judged.at, 'show': '1'})}" if may_show else None,
    )


@get(TOKEN, **PAGE, summary="A token")
async def console_token(
    request: Request[Any, Any, Any], sha256: Sha256, at: At = None, show: Show = None
) -> Response[bytes]:
    """Its lanes, and whether it was valid at a moment: now, unless the address says which."""
    moment = _moment(at)
    return await shown(request, lambda visit: _token(visit, sha256, moment, show == "1"))


ROUTES: list[Any] = [console_token]
THINGS = {"secret": "/console/tokens/{}", "digest": "/console/tokens/{}"}
