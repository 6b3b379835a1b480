"""What investigations and containments answer, as pages show them, and the drawing of what came of a leak."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from api.console.masking import pseudonym

ALIVE = frozenset({"active", "expiring", "not_yet_issued"})
"""States of what still works."""

AWAY = "archive_away"
"""The state of what nothing can be said of."""


CALLED = {
    "access": "access token",
    "refresh": "refresh token",
    "code": "authorization code",
    "session": "browser session",
    "aws_access_key": "AWS access key",
    "github_token": "GitHub token",
    "gitlab_token": "GitLab token",
    "google_api_key": "Google API key",
    "jwt": "signed token (JWT) of another server",
    "slack_token": "Slack token",
    "stripe_key": "Stripe key",
    "checked_token": "token with a checksum like ours, such as another Grantlog's",
}
"""Kinds of secrets in words, where they are not their names."""


def called(kind: str | None) -> str:
    """What a secret of this kind is called."""
    return "secret" if kind is None else CALLED.get(kind, kind.replace("_", " "))


class LeakedVersion(msgspec.Struct, frozen=True):
    """A version of a client's secret."""

    id: str
    version: int


class LeakAddress(msgspec.Struct, frozen=True):
    """From where it was used; `ip` is None for who may not know."""

    first_at: str
    last_at: str
    count: int
    ip: str | None = None
    after_end: int = 0
    refused: int = 0
    told_by: str | None = None


class Came(msgspec.Struct, frozen=True):
    """What was ever issued, and what of it is alive; None where nobody counted. `about` is near that, where it is
    known at all."""

    total: int = 0
    live: int | None = 0
    about: int | None = None

    @property
    def told(self) -> str:
        """How many are alive, as far as that is known."""
        if self.live is not None:
            return f"{self.live:,}"
        # Three digits are as many as a sample is worth.
        return "" if self.about is None else f"≈ {float(f'{self.about:.3g}'):,.0f}"

    @property
    def in_words(self) -> str:
        """The same behind how many there were."""
        return f", {self.told} alive" if self.told else ""


class Derived(msgspec.Struct, frozen=True):
    """What came of a secret, by kind."""

    grants: Came = Came()
    codes: Came = Came()
    access_tokens: Came = Came()
    refresh_tokens: Came = Came()

    @property
    def is_counted(self) -> bool:
        """Whether it is known what of it is alive."""
        return self.grants.live is not None

    @property
    def is_guessed(self) -> bool:
        """Whether it is known about how much of it is alive, and no more."""
        return self.grants.about is not None

    @property
    def tokens(self) -> Came:
        """Codes and tokens together."""
        return _sum([self.codes, self.access_tokens, self.refresh_tokens])


class Ended(msgspec.Struct, frozen=True):
    """What a containment ends, or would."""

    secrets_ended: int = 0
    grants_ended: int = 0
    tokens_ended: int = 0
    people_affected: int = 0

    @property
    def words(self) -> str:
        """As a sentence tells it."""
        ended = (
            some(self.secrets_ended, "secret"),
            some(self.grants_ended, "grant"),
            some(self.tokens_ended, "token"),
        )
        return f"{', '.join(ended)}; {some(self.people_affected, 'person', 'people')} affected"


def some(count: int, one: str, many: str | None = None) -> str:
    """So many of them."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


class LeakedLink(msgspec.Struct, frozen=True):
    """What a link was mailed for."""

    purpose: str


class FoundSecret(msgspec.Struct, frozen=True):
    """One secret, as `POST /leaks/investigate` tells of it."""

    sha256: str
    kind: str | None = None
    problem: str | None = None
    state: str | None = None
    client_id: str | None = None
    client_name: str | None = None
    client_owner: str | None = None
    secret: LeakedVersion | None = None
    account_id: str | None = None
    grant_id: str | None = None
    issued_at: str | None = None
    expires_at: str | None = None
    last_used_at: str | None = None
    uses_after_end: int = 0
    uses_refused: int = 0
    addresses: tuple[LeakAddress, ...] = ()
    derived: Derived | None = None
    containment: Ended | None = None
    link: LeakedLink | None = None
    advice: str | None = None

    @property
    def mailed_to(self) -> str:
        """To whom the link with it was mailed; empty where there is none, or nobody who is known."""
        return "" if self.link is None or self.account_id is None else pseudonym(self.account_id)

    @property
    def known(self) -> bool:
        """Whether it was ever issued here."""
        return self.state not in (None, "unknown", AWAY)

    @property
    def is_away(self) -> bool:
        """Whether nothing can be said of it until its archive is back."""
        return self.state == AWAY

    @property
    def alive(self) -> bool:
        """Whether it still works."""
        return self.state in ALIVE

    @property
    def words(self) -> str:
        """What it is called in a sentence."""
        return called(self.kind)


class Elsewhere(msgspec.Struct, frozen=True):
    """What looks like a secret at a character of the text and is none of ours, or damaged."""

    kind: str
    at: int

    @property
    def title(self) -> str:
        """What it is called at the beginning of a sentence."""
        words = called(self.kind)
        return words[0].upper() + words[1:]


def nothing_found(problem: str) -> str:
    """The sentence that says so, from the words of an investigation."""
    if problem.startswith("no "):
        return f"Found {problem}."
    return f"{problem[0].upper()}{problem[1:]}." if problem.startswith("its ") else f"What was pasted {problem}."


class Investigated(msgspec.Struct, frozen=True):
    """All that a text held."""

    items: tuple[FoundSecret, ...] = ()
    damaged: tuple[Elsewhere, ...] = ()
    foreign: tuple[Elsewhere, ...] = ()
    characters: int | None = None
    problem: str | None = None


class ContainedOfOne(msgspec.Struct, frozen=True):
    """What was ended of one client or person, or would be."""

    contained: Ended
    incident_id: str | None = None
    client_id: str | None = None
    account_id: str | None = None
    offline_until: str | None = None
    client_secret: str | None = None


class Contained(msgspec.Struct, frozen=True):
    """What a containment answers, also one that was only tried."""

    dry_run: bool
    items: tuple[ContainedOfOne, ...]
    archive_away: tuple[str, ...] = ()

    @property
    def together(self) -> Ended:
        """All of it."""
        names = Ended.__struct_fields__
        return Ended(*(sum(getattr(each.contained, name) for each in self.items) for name in names))

    @property
    def offline_until(self) -> str | None:
        """Until when some of it may still be taken by who validates offline."""
        return max((each.offline_until for each in self.items if each.offline_until), default=None)


# The drawing: secret, grants, tokens, people; what lives is filled.

WIDTH, HEIGHT, STEP = 132, 44, 176


class Node(NamedTuple):
    """A box of the drawing. `filled` is how much of its width is alive."""

    x: int
    name: str
    told: str
    filled: float


class Graph(NamedTuple):
    """The boxes from left to right, and the sentence that says the same."""

    nodes: tuple[Node, ...]
    sentence: str


def graph(found: Sequence[FoundSecret], would: Ended | None) -> Graph:
    """What came of these secrets, all together; of what nobody counted, what a containment would end is alive."""
    known = [each for each in found if each.known]
    grants, tokens = _issued(known)
    if would is not None:
        grants, tokens = _alive(grants, would.grants_ended), _alive(tokens, would.tokens_ended)
    secrets = Came(len(known), sum(each.alive for each in known))
    affected = [would] if would is not None else [each.containment for each in known]
    people = sum(each.people_affected for each in affected if each is not None)
    are_counted = any(each is not None for each in affected)
    places = sum(len(each.addresses) for each in known)
    nodes = [
        _node(number, name, came)
        for number, (name, came) in enumerate((("Secrets", secrets), ("Grants", grants), ("Tokens", tokens)))
    ]
    told = f"{people:,} affected" if are_counted else "being counted"
    nodes.append(Node(3 * STEP, "People", told, float(WIDTH if people else 0)))
    counted = ((secrets, "secret"), (grants, "grant"), (tokens, "token"))
    sentence = "; ".join(
        [
            *(f"{some(came.total, name)}{came.in_words}" for came, name in counted),
            f"{some(people, 'person', 'people')} affected" if are_counted else "people being counted",
            f"used from {some(places, 'place')}",
        ]
    )
    return Graph(tuple(nodes), sentence)


def issued_in_words(found: Sequence[FoundSecret]) -> str:
    """What was ever issued for these secrets; nothing where that was not counted."""
    known = [each for each in found if each.known and each.derived is not None]
    grants, tokens = _issued(known)
    return f"{some(grants.total, 'grant')}, {some(tokens.total, 'token')}" if known else ""


def _issued(known: Sequence[FoundSecret]) -> tuple[Came, Came]:
    derived = [each.derived or Derived() for each in known]
    return _sum([each.grants for each in derived]), _sum([each.tokens for each in derived])


def _alive(came: Came, ended: int) -> Came:
    return Came(came.total, min(came.total, ended)) if came.live is None else came


def _sum(parts: Sequence[Came]) -> Came:
    live = [each.live for each in parts if each.live is not None]
    near = [each.about if each.live is None else each.live for each in parts]
    known = [each for each in near if each is not None]
    return Came(
        sum(each.total for each in parts),
        sum(live) if len(live) == len(parts) else None,
        sum(known) if len(known) == len(parts) else None,
    )


def _node(number: int, name: str, came: Came) -> Node:
    if not came.told:
        return Node(number * STEP, name, f"{came.total:,} in all", 0.0)
    alive = (came.live if came.live is not None else came.about) or 0
    filled = round(WIDTH * min(alive / came.total, 1.0), 1) if came.total else 0.0
    return Node(number * STEP, name, f"{came.told} of {came.total:,} alive", filled)
