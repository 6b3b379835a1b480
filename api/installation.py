"""What an empty database gets, so that people can sign in and be given something: scopes, roles, two dashboards.

Nothing here is special afterwards. What an administrator changes or removes stays as they left it.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from api import issuer as issuers
from api.dashboards.secret import vault_name
from api.key_proof import put_proof
from commands.grant_context import known_scopes
from domain import client, client_registration, role, scope
from domain.event import Recorded
from domain.grants import GRANTS
from domain.rules.administrative_scope import ADMINISTRATIVE_SCOPES
from eventstore.commands import Command, Origin
from eventstore.ledger import Ledger
from eventstore.present import clients as present
from eventstore.rebuilding import Outdated, outdated
from eventstore.view import View
from projections import PROJECTIONS, scopes
from security.ids import new_id
from security.keyring import Keyring
from security.tokens import Format, Kind, Secret

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
    if await ledger.read(scopes.find, MARK) is not None:
        return False
    if old := await ledger.read(outdated, PROJECTIONS):
        # The log was carried here: it has its clients, and a second installation could not be rebuilt beside them.
        raise Outdated(old)
    commands = [*_scopes(), *_roles()]
    secrets: dict[str, Secret] = {}
    for dashboard in DASHBOARDS:
        client_id, secret = new_id(), format.mint(Kind.CLIENT_SECRET)
        secrets[client_id] = secret
        commands.append(_dashboard(dashboard, client_id, secret, issuer))

    def keep(view: View, _: tuple[Recorded, ...]) -> None:
        # From the first wrap on, another master key is noticed.
        put_proof(view.connection, ledger.vault, keyring, view.now)
        for client_id, secret in secrets.items():
            value = secret.reveal().encode("ascii")
            ledger.vault.put_secret(view.connection, vault_name(client_id), value, view.now)

    executed = await ledger.execute(*commands, origin=origin, then=keep)
    if executed.refusal is None:
        return True
    if executed.refusal.field != "slug":
        raise AssertionError(f"the installation contradicts the rules: {executed.refusal.detail}")
    return False


def _scopes() -> list[Command]:
    described = PLATFORM_SCOPES | ADMINISTRATION_SCOPES
    return [
        Command(
            scope.stream(name),
            scope.put,
            {"name": name, "description": description, "caller_scope": ADMINISTRATIVE_SCOPES},
        )
        for name, description in described.items()
    ]


def _roles() -> list[Command]:
    return [
        Command(
            role.stream(each.realm, each.name),
            role.put,
            {
                "realm": each.realm,
                "name": each.name,
                "scopes": each.scopes,
                "default": each.default,
                "caller_scope": ADMINISTRATIVE_SCOPES,
                "known_scopes": frozenset(each.scopes),
            },
        )
        for each in ROLES
    ]


def _dashboard(dashboard: Dashboard, client_id: str, secret: Secret, issuer: str) -> Command:
    attributes = client.Attributes(
        client_name=dashboard.client_name,
        realm=dashboard.realm,
        scope=dashboard.scopes,
        allowed_origins=(issuers.origin(issuer),),
    )
    return registration(client_id, attributes, secret, issuer, slug=dashboard.slug)


def registration(
    client_id: str,
    attributes: client.Attributes,
    secret: Secret | None,
    issuer: str,
    *,
    slug: str | None = None,
    **facts: Any,
) -> Command:
    """The command that registers a client, or with a slug a dashboard, by the system's own hand."""
    named = attributes.scope if isinstance(attributes.scope, tuple) else ()

    def under_lock(view: View) -> Mapping[str, Any]:
        taken = slug is not None and view.look(present.by_slug, slug) is not None
        return {"known_scopes": known_scopes(view, named), "slug_taken": taken}

    if secret is not None:
        facts |= {"secret_id": new_id(), "secret_sha256": secret.hex}
    return Command(
        client.stream(client_id),
        client_registration.register,
        facts
        | {
            "attributes": attributes,
            "slug": slug,
            "caller_scope": ADMINISTRATIVE_SCOPES,
            "grant_types": GRANTS,
            "issuer": issuer,
        },
        under_lock,
    )
