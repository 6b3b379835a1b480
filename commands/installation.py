"""What an empty database gets, so that people can sign in and be given something: scopes, roles, two dashboards.

Nothing here is special afterwards. What an administrator changes or removes stays as they left it.
"""

from typing import NamedTuple

from commands import client_secrets, clients, roles, scopes
from commands.callers import operator
from domain import client
from domain.client import Registration
from domain.client_secret import NewSecret
from domain.event import Recorded
from domain.rules import origin as origins
from eventstore.execution import Origin, Step
from eventstore.ledger import Ledger
from eventstore.may_write import put_proof
from eventstore.projecting.rebuild import Outdated, outdated
from eventstore.view import View
from projections import PROJECTIONS
from projections import scopes as scope_rows
from security.ids import new_id
from security.keyring import Keyring
from security.tokens import Format, Secret

PLATFORM_SCOPES = {
    "profile": "See your name",
    "catalog:read": "Look through the catalog for you",
}
ADMINISTRATION_SCOPES = {
    "clients:read": "See the applications that are registered",
    "clients:write": "Register and change applications, their secrets and scopes",
    "people:read": "See people, their names and e-mail addresses",
    "people:write": "Add and change people, their passwords and roles",
    "grants:read": "See what people have allowed which application",
    "grants:write": "Withdraw what people have allowed",
    "audit:read": "Read the log of everything that happened",
    "audit:personal": "See names and addresses in the log",
    "leaks:read": "Look into leaked secrets",
    "leaks:write": "End leaked secrets and what came of them",
    "keys:write": "Change the server's keys",
    "introspect": "Check any access token",
}
"""Completed after "It asks to:", in a person's words."""

READING = ("clients:read", "people:read", "grants:read")
AUDITING = ("audit:read", "audit:personal")
LEAKS = ("leaks:read", "leaks:write")
MARK = "clients:read"
"""The scope by which an installed database is known: an administrative one, which nobody can retire."""


class Role(NamedTuple):
    """A role that is there from the beginning."""

    realm: str
    name: str
    scopes: tuple[str, ...]
    default: bool = False


ADMINISTRATOR = Role("administration", "administrator", ("profile", *ADMINISTRATION_SCOPES))
ROLES = (
    Role("platform", "member", tuple(PLATFORM_SCOPES), default=True),
    Role("administration", "reader", ("profile", *READING), default=True),
    ADMINISTRATOR,
    Role("administration", "auditor", (*AUDITING, *READING)),
    Role("administration", "security", (*LEAKS, *AUDITING, "clients:read", "grants:read", "grants:write")),
)


class Dashboard(NamedTuple):
    """A dashboard that is there from the beginning."""

    slug: str
    client_name: str
    realm: str
    scopes: tuple[str, ...]


DASHBOARDS = (
    Dashboard("administration", "Administration", "administration", ADMINISTRATOR.scopes),
    Dashboard("client", "Client Dashboard", "platform", tuple(PLATFORM_SCOPES)),
)


async def install(ledger: Ledger, keyring: Keyring, format: Format, issuer: str, origin: Origin) -> bool:
    """Fills an empty database in one transaction; whether it did.

    Several processes may start at once: what decides is whether the slugs are free under the lock, so that all but
    one are refused as a whole and leave nothing. Raises `Outdated` when there is a log whose rows are yet to be made.
    """
    if await ledger.read(scope_rows.find, MARK) is not None:
        return False
    if old := await ledger.read(outdated, PROJECTIONS):
        # The log was carried here: it has its clients, and a second installation could not be rebuilt beside them.
        raise Outdated(old)
    described = PLATFORM_SCOPES | ADMINISTRATION_SCOPES
    commands: list[Step] = [scopes.put(name, words, by=operator) for name, words in described.items()]
    commands += [
        roles.put(each.realm, each.name, scopes_allowed=each.scopes, default=each.default, by=operator)
        for each in ROLES
    ]
    secrets: dict[str, Secret] = {}
    for dashboard in DASHBOARDS:
        client_id, (secret, made) = new_id(), client_secrets.mint(format)
        secrets[client_id] = secret
        commands.append(_dashboard(dashboard, client_id, made, issuer))

    def keep(view: View, _: tuple[Recorded, ...]) -> None:
        # From the first wrap on, another master key is noticed.
        put_proof(view.connection, ledger.vault, keyring, view.now)
        for client_id, secret in secrets.items():
            client_secrets.keep_in_vault(ledger.vault, view, client_id, secret)

    executed = await ledger.execute(*commands, origin=origin, then=keep)
    if executed.refusal is None:
        return True
    if executed.refusal.field != "slug":
        raise AssertionError(f"the installation contradicts the rules: {executed.refusal.detail}")
    return False


def _dashboard(dashboard: Dashboard, client_id: str, secret: NewSecret, issuer: str) -> Step:
    attributes = client.Attributes(
        client_name=dashboard.client_name,
        realm=dashboard.realm,
        scope=dashboard.scopes,
        allowed_origins=(origins.of_issuer(issuer),),
    )
    registration = Registration(attributes=attributes, slug=dashboard.slug, secret=secret)
    return clients.register(client_id, registration, issuer=issuer, by=operator)
