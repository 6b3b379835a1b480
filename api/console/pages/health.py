"""How the server does, with which settings it runs, and who is notified of what happens."""

from typing import Annotated, Any, ClassVar
from urllib.parse import quote

import msgspec
from litestar import Request, Response, get, post
from litestar.params import JSONBody, QueryParameter
from msgspec import Meta

from api.console.frame import ConsolePage, Visit
from api.console.gate import FORM, PAGE, ConsoleForm, posted, shown
from api.console.navigation import NavigationEntry
from api.http.templates import see_other

HEALTH = "/console/health"
SETTINGS = "/console/settings"
NOTIFICATIONS = "/console/notifications"
TEST = f"{NOTIFICATIONS}/test"
REPLAY = f"{NOTIFICATIONS}/replay"


class Worker(msgspec.Struct, frozen=True):
    """One process of the server, and what it failed."""

    pid: int
    state: str
    checks: dict[str, str]


class Undelivered(msgspec.Struct, frozen=True):
    """What somebody has not been told."""

    destination: str
    waiting: int
    dead: int


class Outbox(msgspec.Struct, frozen=True):
    """All that is still to be told."""

    undistributed: int
    destinations: tuple[Undelivered, ...]


class Checkpoint(msgspec.Struct, frozen=True):
    """The newest that is shown, and who signed it."""

    size: int
    signed_at: str
    signatures: tuple[str, ...]


class Witnesses(msgspec.Struct, frozen=True):
    """Who is asked, and how many have to sign."""

    configured: tuple[str, ...]
    quorum: int


class SigningKey(msgspec.Struct, frozen=True):
    """A key that signs tokens."""

    kid: str
    alg: str
    state: str
    introduced_at: str


class Status(msgspec.Struct, frozen=True):
    """What `GET /admin/status` answers."""

    issuer: str
    version: str
    at: str
    position: int
    checks: dict[str, str]
    lag: dict[str, int]
    workers: tuple[Worker, ...]
    outbox: Outbox
    witnesses: Witnesses
    keys: tuple[SigningKey, ...]
    checkpoint: Checkpoint | None = None

    @property
    def faults(self) -> dict[str, str]:
        """What is not in order."""
        return {name: said for name, said in self.checks.items() if said != "ok"}


class HealthPage(ConsolePage, frozen=True, kw_only=True):
    """The server's state at this moment."""

    template: ClassVar[str] = "console/server/health.html"
    status: Status


@get(HEALTH, **PAGE, summary="How the server does")
async def console_health(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Checks, workers, lag, witnesses, keys, and what waits to be told."""

    async def make(visit: Visit) -> ConsolePage:
        return HealthPage(title="Health", status=await visit.api.get("/admin/status", Status))

    return await shown(request, make)


class Setting(msgspec.Struct, frozen=True):
    """A setting; a secret's value is `set`, or nothing."""

    variable: str
    value: str
    default: str
    is_default: bool
    meaning: str
    changed_at: str | None = None


class Settings(msgspec.Struct, frozen=True):
    """All of them."""

    items: tuple[Setting, ...]


class SettingsPage(ConsolePage, frozen=True, kw_only=True):
    """Those that differ from their default stand first."""

    template: ClassVar[str] = "console/server/settings.html"
    own: tuple[Setting, ...]
    usual: tuple[Setting, ...]


@get(SETTINGS, **PAGE, summary="The settings in force")
async def console_settings(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Each with its value, its default, its meaning, and the start since which it is so."""

    async def make(visit: Visit) -> ConsolePage:
        every = (await visit.api.get("/admin/settings", Settings)).items
        return SettingsPage(
            title="Settings",
            own=tuple(each for each in every if not each.is_default),
            usual=tuple(each for each in every if each.is_default),
        )

    return await shown(request, make)


class Destination(msgspec.Struct, frozen=True):
    """Somebody who is told."""

    name: str
    kind: str
    types: tuple[str, ...]
    managed_by: str
    waiting: int
    dead: int
    recipients: int = 0
    host: str | None = None


class Destinations(msgspec.Struct, frozen=True):
    """All of them."""

    items: tuple[Destination, ...]


class Delivery(msgspec.Struct, frozen=True):
    """An event that somebody has not been told; what is `dead` is not tried again."""

    position: int
    type: str
    state: str
    attempts: int
    outcome: str | None = None


class Deliveries(msgspec.Struct, frozen=True):
    """The first of them."""

    items: tuple[Delivery, ...]


class NotificationsPage(ConsolePage, frozen=True, kw_only=True):
    """`deliveries` are those of the destination `of`; `done` says what the last click did."""

    template: ClassVar[str] = "console/server/notifications.html"
    destinations: tuple[Destination, ...]
    test_csrf: str
    replay_csrf: str
    deliveries: tuple[Delivery, ...] = ()
    of: str | None = None
    done: str | None = None


Of = Annotated[str | None, QueryParameter(name="of", max_length=64, description="Whose deliveries are shown.")]


async def _notifications(visit: Visit, of: str | None, done: str | None = None) -> ConsolePage:
    found = await visit.api.get("/admin/notifications/destinations", Destinations)
    deliveries: tuple[Delivery, ...] = ()
    if of is not None:
        deliveries = (await visit.api.get(f"{_at(of)}/deliveries", Deliveries)).items
    return NotificationsPage(
        title="Notifications",
        destinations=found.items,
        deliveries=deliveries,
        of=of,
        done=done,
        test_csrf=visit.token(TEST),
        replay_csrf=visit.token(REPLAY),
    )


def _at(name: str) -> str:
    return f"/admin/notifications/destinations/{name}"


@get(NOTIFICATIONS, **PAGE, summary="Who is told of what happens")
async def console_notifications(request: Request[Any, Any, Any], of: Of = None) -> Response[bytes]:
    """Destinations, what waits for them, and what could not be delivered."""
    return await shown(request, lambda visit: _notifications(visit, of))


class DestinationForm(ConsoleForm, frozen=True):
    """Whom it is about."""

    name: Annotated[str, Meta(max_length=64)] = ""


class SentTest(msgspec.Struct, frozen=True):
    """What came of a test message."""

    position: int
    delivered: bool
    outcome: str | None = None


class ReplayedDeliveries(msgspec.Struct, frozen=True):
    """How many dead letters are tried once more."""

    deliveries: int


@post(TEST, **{**FORM, "status_code": 200}, summary="Sends a test message")
async def console_test(request: Request[Any, Any, Any], data: JSONBody[DestinationForm]) -> Response[bytes]:
    """And says what came of it."""

    async def make(visit: Visit) -> ConsolePage:
        sent = await visit.api.send("POST", f"{_at(data.name)}/test", SentTest)
        said = "was delivered" if sent.delivered else f"was not delivered: {sent.outcome}"
        return await _notifications(visit, None, f"The test message to {data.name} {said}.")

    return await posted(request, data, make, back=NOTIFICATIONS)


@post(REPLAY, **FORM, summary="Tries dead letters once more")
async def console_replay(request: Request[Any, Any, Any], data: JSONBody[DestinationForm]) -> Response[bytes]:
    """All of a destination's; back to its deliveries."""

    async def make(visit: Visit) -> Response[bytes]:
        await visit.api.send("POST", f"{_at(data.name)}/replay", ReplayedDeliveries, {})
        return see_other(f"{NOTIFICATIONS}?of={quote(data.name, safe='')}")

    return await posted(request, data, make, back=NOTIFICATIONS)


ROUTES: list[Any] = [console_health, console_settings, console_notifications, console_test, console_replay]
NAVIGATION = (
    NavigationEntry(100, "Health", HEALTH, ("keys:read", "keys:write")),
    NavigationEntry(110, "Settings", SETTINGS, ("keys:read", "keys:write")),
    NavigationEntry(120, "Notifications", NOTIFICATIONS, ("leaks:write",)),
)
