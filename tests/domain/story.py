"""A story of grants: parties, a small log in memory, and requests that are decided and recorded one after another."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from domain import account, client, consent, grant, role
from domain.client_secret import SecretVersion
from domain.decision import Outcome
from domain.event import ANONYMOUS, SECOND, Event, Moment, Recorded
from domain.grants import authorization_code, client_credentials, password, refresh_token
from domain.grants.grant_type import Lifetimes, Minted, Parties, TokenRequest
from domain.rules import pkce, redirect_uri

DAY = 86_400
START: Moment = 1_750_000_000 * SECOND
VERIFIER = "v" * 43
CALLBACK = "https://app.example.test/callback"


def digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


THIRD_PARTY = client.State(
    exists=True,
    client_id="third",
    redirect_uris=(CALLBACK,),
    grant_types=("authorization_code", "refresh_token"),
    scope=("orders", "catalog:read"),
    enabled=True,
    secrets=(SecretVersion("s1", 1, digest("s1"), START), SecretVersion("s2", 2, digest("s2"), START)),
)
DASHBOARD = replace(
    THIRD_PARTY,
    client_id="dash",
    type="dashboard",
    slug="client",
    redirect_uris=(),
    grant_types=("password", "refresh_token"),
)
SERVICE = replace(THIRD_PARTY, client_id="service", redirect_uris=(), grant_types=("client_credentials",))
PUBLIC = replace(
    THIRD_PARTY,
    client_id="native",
    type="public",
    token_endpoint_auth_method="none",
    secrets=(),
    redirect_uris=(CALLBACK,),
)
PAUL = account.State(exists=True, account_id="paul", realm="platform", roles=("member",), enabled=True)
MEMBER = role.State(exists=True, realm="platform", name="member", scopes=("orders", "catalog:read"))
CONSENTED = consent.State(scope=("orders", "catalog:read"), given=True, origins=(redirect_uri.origin(CALLBACK),))


def parties(of: client.State = THIRD_PARTY, **changes: Any) -> Parties:
    """The usual parties of a client: paul, who allowed everything, and scopes that exist."""
    stated = Parties(
        client=of,
        secret_id=None if of.type == "public" else "s1",
        account=None if of is SERVICE else PAUL,
        consent=CONSENTED,
        roles=(MEMBER,),
        known=frozenset({"orders", "catalog:read", "other"}),
    )
    return replace(stated, **changes)


@dataclass
class Story:
    """One grant and the log it stands in."""

    now: Moment = START
    position: int = 0
    state: grant.State = grant.INITIAL
    events: list[Any] = field(default_factory=list)
    recorded: list[Recorded] = field(default_factory=list)
    lifetimes: Lifetimes = Lifetimes()
    minted: int = 0

    def later(self, seconds: float) -> "Story":
        self.now += int(seconds * SECOND)
        return self

    def elsewhere(self) -> int:
        """Something happened on another stream; its position."""
        self.position += 1
        return self.position

    def decide(self, verb: Callable[..., Outcome], **facts: Any) -> Outcome:
        outcome = verb(self.state, now=self.now, **facts)
        for event in outcome.events:
            self.record(event)
        return outcome

    def record(self, event: Event) -> None:
        self.position += 1
        recorded = Recorded(
            self.position,
            f"e{self.position}",
            "grant:g1",
            len(self.events) + 1,
            self.now,
            ANONYMOUS,
            None,
            None,
            None,
            event,
        )
        self.state = grant.evolve(self.state, recorded)
        self.events.append(event)
        self.recorded.append(recorded)

    def mint(self) -> Minted:
        self.minted += 1
        return Minted(digest(f"at{self.minted}"), digest(f"rt{self.minted}"))

    def code(self, by: Parties | None = None, **facts: Any) -> Outcome:
        stated: dict[str, Any] = {
            "session_id": "browser",
            "uri": CALLBACK,
            "asked": None,
            "challenge": pkce.transform(VERIFIER),
            "code": digest("code"),
        }
        return self.decide(
            authorization_code.issue_code, parties=by or parties(), lifetimes=self.lifetimes, **stated | facts
        )

    def redeem(self, by: Parties | None = None, **request: Any) -> Outcome:
        stated = {"presented": digest("code"), "redirect_uri": CALLBACK, "challenge": pkce.transform(VERIFIER)}
        return self._ask(authorization_code.issue, by or parties(), TokenRequest(**stated | request))

    def refresh(self, presented: str, by: Parties | None = None, **request: Any) -> Outcome:
        """`presented` names a refresh token: `rt1` is the first that was minted."""
        return self._ask(refresh_token.issue, by or parties(), TokenRequest(presented=digest(presented), **request))

    def sign_in(self, by: Parties | None = None, **request: Any) -> Outcome:
        return self._ask(password.issue, by or parties(DASHBOARD), TokenRequest(**request))

    def credentials(self, by: Parties | None = None, **request: Any) -> Outcome:
        return self._ask(client_credentials.issue, by or parties(SERVICE), TokenRequest(**request))

    def _ask(self, verb: Callable[..., Outcome], by: Parties, request: TokenRequest) -> Outcome:
        return self.decide(verb, request=request, parties=by, minted=self.mint(), lifetimes=self.lifetimes)

    @property
    def types(self) -> list[str]:
        return [event.type for event in self.events]


def redeemed(**changes: Any) -> Story:
    """A third party's grant with its first tokens, `at1` and `rt1`."""
    story = Story(**changes)
    story.code()
    story.later(1).redeem()
    return story


def signed_in(**changes: Any) -> Story:
    """A dashboard's grant with its first tokens, `at1` and `rt1`."""
    story = Story(**changes)
    story.sign_in()
    return story
