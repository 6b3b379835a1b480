"""Where one can go in the console. Each page announces its own place, so that no list knows all of them."""

from collections.abc import Collection, Mapping
from typing import NamedTuple
from urllib.parse import quote


class NavigationEntry(NamedTuple):
    """A page in the navigation. Who holds none of the `scopes` is not led there; an empty tuple is for everybody. The
    lower the `rank`, the earlier it stands: 10 overview, 20 search, 30 live, 40 leak desk, 50 incidents, 60 clients,
    70 people, 80 roles and grants, 90 log, 100 health, 110 settings, 120 notifications."""

    rank: int
    name: str
    url: str
    scopes: tuple[str, ...] = ()


_ANNOUNCED: list[NavigationEntry] = []


def announce(*places: NavigationEntry) -> None:
    """Adds places to the navigation."""
    _ANNOUNCED.extend(places)
    _ANNOUNCED.sort()


def places_for(scope: Collection[str]) -> tuple[NavigationEntry, ...]:
    """Where somebody with this scope is led."""
    return tuple(each for each in _ANNOUNCED if not each.scopes or not set(each.scopes).isdisjoint(scope))


# Where a thing has its page, by the kinds that `POST /audit/find` tells.

_PAGES: dict[str, str] = {
    "request": "/console/audit?request_id={}&range=all",
    "position": "/console/audit?from={}&until_position={}",
    "client": "/console/audit?client_id={}&range=all",
    "person": "/console/audit?account_id={}&range=all",
    "grant": "/console/audit?grant_id={}&range=all",
    "incident": "/console/audit?incident_id={}&range=all",
    "secret": "/console/audit?secret_id={}&range=all",
    "digest": "/console/audit?secret_id={}&range=all",
}
"""At first the search for it, until a page announces itself in `THINGS`."""


def announce_things(things: Mapping[str, str]) -> None:
    """Has things of these kinds be shown there; `{}` stands for the id."""
    _PAGES.update(things)


def url_of(kind: str, id: str) -> str:
    """Where a thing is shown."""
    return _PAGES[kind].replace("{}", quote(id, safe=""))
