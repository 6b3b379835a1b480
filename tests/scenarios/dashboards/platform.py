"""Dashboards to play scenarios at, and what their pages' scripts do."""

import re
from collections.abc import Sequence
from typing import Any

import httpx

from commands import clients
from commands.permissions import operator
from domain import client
from domain.client import Registration
from domain.event import Recorded
from eventstore.execution import Step
from eventstore.view import View
from security.tokens import Secret, new_id
from tests.scenarios.world import Person, World

PAGE = "http://127.0.0.1:3000"
"""Where a dashboard's own pages may stand: another origin than the issuer's, of the same site."""

ADMINISTRATION = ("clients:read", "clients:write")
PLATFORM = ("orders", "catalog:read")


class Dashboard:
    """A dashboard and every secret that it ever had. No answer of the server may hold any of them."""

    def __init__(self, world: World, slug: str, client_id: str, origin: str, secret: Secret, secret_id: str) -> None:
        self.world = world
        self.slug = slug
        self.client_id = client_id
        self.origin = origin
        self.secrets = [secret]
        self.secret_ids = [secret_id]

    @property
    def stream(self) -> str:
        return client.stream(self.client_id)

    @property
    def cookie_name(self) -> str:
        secure = self.world.settings.issuer.startswith("https:")
        return f"__Host-grantlog-{self.slug}" if secure else f"grantlog-{self.slug}"

    # -- commands -----------------------------------------------------------------------------------------------------
    async def rotate(self, others_expire_in: int | None = None) -> Secret:
        """A new secret version, in the log and in the vault."""
        secret, new = clients.mint_secret(self.world.services.format)
        command = clients.rotate_secret(self.client_id, new, others_expire_in=others_expire_in, by=operator)
        await self.world.execute(command, then=keeping(self.world, self.client_id, secret))
        self.secrets.append(secret)
        self.secret_ids.append(new.secret_id)
        return secret

    async def do(self, command: Step) -> None:
        await self.world.execute(command)

    # -- the page's script --------------------------------------------------------------------------------------------
    async def call(
        self,
        method: str,
        path: str,
        *,
        origin: str | None = "",
        cookie: str | None = None,
        bearer: str | None = None,
        headers: dict[str, str] | None = None,
        by: httpx.AsyncClient | None = None,
        **given: Any,
    ) -> httpx.Response:
        """A call from this dashboard's page, from the page of another origin, or from none (None)."""
        fields = dict(headers or {})
        if origin is not None:
            fields["origin"] = origin or self.origin
        if cookie is not None:
            fields["cookie"] = f"{self.cookie_name}={cookie}"
        if bearer is not None:
            fields["authorization"] = f"Bearer {bearer}"
        caller = self.world.caller() if by is None else by
        answer = await caller.request(method, f"/dashboards/{self.slug}{path}", headers=fields, **given)
        self.check(answer)
        return answer

    async def login(self, person: Person, *, password: str | None = None, **given: Any) -> httpx.Response:
        body = {"username": person.username, "password": password or person.password}
        return await self.call("POST", "/login", json=body, **given)

    async def sign_in(self, person: Person, **given: Any) -> tuple[str, str]:
        """The access token, and the cookie's value."""
        answer = await self.login(person, **given)
        assert answer.status_code == 200, answer.text
        return answer.json()["access_token"], self.cookie(answer)

    async def refresh(self, cookie: str | None, **given: Any) -> httpx.Response:
        return await self.call("POST", "/refresh", cookie=cookie, **given)

    async def logout(self, **given: Any) -> httpx.Response:
        return await self.call("DELETE", "/logout", **given)

    # -- answers ------------------------------------------------------------------------------------------------------
    def cookie(self, answer: httpx.Response) -> str:
        """The value that the answer sets the cookie to."""
        return self.set_cookie(answer)[0]

    def set_cookie(self, answer: httpx.Response) -> tuple[str, dict[str, str]]:
        """The cookie's value and its attributes, their names in lower case; there is no other cookie."""
        (field,) = answer.headers.get_list("set-cookie")
        pair, *rest = (part.strip() for part in field.split(";"))
        name, _, value = pair.partition("=")
        assert name == self.cookie_name
        attributes = (part.partition("=") for part in rest)
        return value.strip('"'), {name.lower(): value for name, _, value in attributes}

    def assert_cleared(self, answer: httpx.Response) -> None:
        """The answer takes the cookie back."""
        value, attributes = self.set_cookie(answer)
        assert value == ""
        assert int(attributes["max-age"]) <= 0
        assert attributes["path"] == "/"
        assert attributes["samesite"] == "Strict"
        assert "httponly" in attributes
        assert "domain" not in attributes

    def check(self, answer: httpx.Response) -> None:
        """What every answer keeps: nothing of the client in it, the cookie out of the body, and never cacheable."""
        fields = " ".join(f"{name}: {value}" for name, value in answer.headers.multi_items())
        whole = f"{fields}\n{answer.text}"
        for hidden in (self.client_id, *self.secret_ids, *(secret.reveal() for secret in self.secrets)):
            assert hidden not in whole
        assert not re.search(r"glog_(cs|rt)_", answer.text)
        assert "refresh_token" not in answer.text
        assert "Basic" not in answer.headers.get("www-authenticate", "")
        assert answer.headers["vary"] == "Origin"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-request-id"]


def keeping(world: World, client_id: str, secret: Secret) -> Any:
    """Puts a dashboard's secret into the vault, in the transaction that tells of it."""

    def keep(view: View, _: tuple[Recorded, ...]) -> None:
        value = secret.reveal().encode("ascii")
        world.services.ledger.vault.put_secret(view.connection, clients.vault_name(client_id), value, view.now)

    return keep


async def make_dashboard(
    world: World,
    slug: str = "client",
    *,
    realm: str = "platform",
    scope: Sequence[str] = PLATFORM,
    origin: str = "",
    origins: Sequence[str] | None = None,
    **attributes: Any,
) -> Dashboard:
    """A dashboard whose pages stand on `origin` (the issuer's own where none is named)."""
    await world.define_scopes(*scope)
    origin = origin or world.settings.issuer
    client_id, (secret, made) = new_id(), clients.mint_secret(world.services.format)
    asked = client.Attributes(
        realm=realm,
        scope=tuple(scope),
        allowed_origins=(origin,) if origins is None else tuple(origins),
        **{"client_name": f"The {slug} dashboard"} | attributes,
    )
    registration = Registration(attributes=asked, slug=slug, secret=made)
    command = clients.register(client_id, registration, issuer=world.settings.issuer, by=operator)
    await world.execute(command, then=keeping(world, client_id, secret))
    return Dashboard(world, slug, client_id, origin, secret, made.secret_id)


class Platform:
    """The two dashboards of an ordinary installation, with a person of each realm."""

    def __init__(self, client: Dashboard, administration: Dashboard, paul: Person, ada: Person) -> None:
        self.client = client
        self.administration = administration
        self.paul = paul
        self.ada = ada


async def make_platform(world: World, **given: Any) -> Platform:
    """Both dashboards, `paul` of the platform and `ada` of the administration."""
    at_client = await make_dashboard(world, "client", **given)
    at_administration = await make_dashboard(
        world, "administration", realm="administration", scope=ADMINISTRATION, **given
    )
    await world.define_role("platform", "member", *PLATFORM, default=True)
    await world.define_role("administration", "administrator", *ADMINISTRATION, default=True)
    paul = await world.register_person("paul")
    ada = await world.register_person("ada", realm="administration")
    return Platform(at_client, at_administration, paul, ada)


async def introspect(world: World, at: Dashboard, token: str) -> dict[str, Any]:
    """What the dashboard is told of a token by the introspection endpoint (RFC 7662)."""
    answer = await world.client.post(
        "/oauth/introspect", data={"token": token}, auth=(at.client_id, at.secrets[-1].reveal())
    )
    found: dict[str, Any] = answer.json()
    return found
