"""The parties of flows that use secrets, and a watch over every answer that they get."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import httpx

from tests.scenarios.asking import APPROVE, CONSENT, SIGN_IN, VERIFIER, Scene
from tests.scenarios.browser import Browser
from tests.scenarios.dashboards.platform import Dashboard
from tests.scenarios.secrecy.traces import found
from tests.scenarios.world import Client, Person, World

PERSONAL = ("/admin/", "/audit/", "/leaks/", "/oauth/introspect", "/account/", "/oauth/authorize")
"""What shows names and addresses when all is well: to administrators, to a client, and to the person themselves."""


HANDED_OUT = (
    *("access_token", "refresh_token", "client_secret"),
    *("initial_access_token", "registration_access_token"),
)
"""Members of answers in which a secret is handed out."""


class Kept(NamedTuple):
    """An answer, the secrets that it may hold, and whether it may hold personal values."""

    what: str
    text: bytes
    allowed: set[str]
    personal: bool


@dataclass
class Watch:
    """Every secret and personal value that was used, and every answer with what it may show.

    A value is shown by the one answer that hands it out; personal values by those to whoever may see them.
    """

    secrets: set[str] = field(default_factory=set)
    personal: set[str] = field(default_factory=set)
    answers: list[Kept] = field(default_factory=list)
    echoed: set[str] = field(default_factory=set)
    """What the answer in hand may repeat, because its request says so (the `state` of an authorization request)."""

    def client(self, world: World, **given: Any) -> httpx.AsyncClient:
        """A caller whose every answer is kept."""
        return world.caller(event_hooks={"response": [self._keep]}, **given)

    async def _keep(self, answer: httpx.Response) -> None:
        body = await answer.aread()
        head = "\n".join(f"{name}: {value}" for name, value in answer.headers.multi_items()).encode()
        what = f"{answer.request.method} {answer.request.url.path} {answer.status_code}"
        handed_out = self._handed_out(answer)
        # Handed out by this very answer: none before it could know the value, and none after it may say it.
        self.secrets |= handed_out
        # A refused sign-in shows what was typed as the name to whoever typed it.
        fine = answer.is_success or answer.request.url.path == SIGN_IN
        personal = fine and answer.request.url.path.startswith(PERSONAL)
        self.answers.append(Kept(what, head + b"\n\n" + body, handed_out | self.echoed, personal))

    def _handed_out(self, answer: httpx.Response) -> set[str]:
        found: set[str] = set()
        if answer.headers.get("content-type", "").partition(";")[0] == "application/json":
            body = answer.json()
            members = body if isinstance(body, dict) else {}
            found |= {members[name] for name in HANDED_OUT if members.get(name)}
        for name, value in answer.cookies.items():
            assert "session" in name or name.startswith("grantlog-"), name
            found.add(value.strip('"'))
        found |= set(parse_qs(urlsplit(answer.headers.get("location", "")).query).get("code", ()))
        return {value for value in found if len(value) > 12}

    def leaks(self) -> list[tuple[str, str]]:
        """Answers that say what they should not."""
        return [
            (answer.what, value)
            for number, value in found([answer.text for answer in self.answers], self.secrets | self.personal)
            if value not in (answer := self.answers[number]).allowed and (value in self.secrets or not answer.personal)
        ]


@dataclass
class Flows:
    """The parties, and what each step may use."""

    world: World
    scene: Scene
    watch: Watch
    dashboard: Dashboard
    token: str
    unique: Callable[[str], str]

    def __post_init__(self) -> None:
        self.program = self.watch.client(self.world)
        self.admin = self.watch.client(self.world, headers={"authorization": f"Bearer {self.token}"})

    @property
    def person(self) -> Person:
        return self.scene.person

    @property
    def shop(self) -> Client:
        return self.scene.shop

    def browser(self) -> Browser:
        return Browser(self.watch.client(self.world))

    def known(self) -> list[str]:
        """Secrets that somebody may put into the wrong place."""
        return sorted(self.watch.secrets)

    def misplaced(self) -> list[str]:
        """Some of them, of each kind, and the person's own password and address."""
        kinds = {raw[:8]: raw for raw in self.known()}
        return [*kinds.values(), self.person.password, self.person.email]

    async def ask(self, **parameters: str) -> httpx.Response:
        return await self.program.post("/oauth/token", data=parameters, auth=self.shop.auth)

    async def code(self, browser: Browser, **changes: str) -> str:
        page = await browser.open(self.scene.address(**changes))
        if any(urlsplit(form.action).path == SIGN_IN for form in page.forms):
            page = await browser.press(page, SIGN_IN, username=self.person.email, password=self.person.password)
        if page.status == 200:
            page = await browser.press(page, CONSENT, APPROVE)
        return page.parameters["code"]

    async def redeem(self, code: str, verifier: str = VERIFIER) -> httpx.Response:
        return await self.ask(
            grant_type="authorization_code", code=code, redirect_uri=self.shop.redirect_uri, code_verifier=verifier
        )


Step = Callable[[Flows], Awaitable[None]]
