"""The server: what an empty database gets, what starts it, what keeps it from issuing, what was found about its log."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from commands import clients, permissions
from commands.console import console_client
from commands.permissions import operator
from domain import client, server
from domain.client import Registration
from domain.client_secret import NewSecret
from domain.decision import Outcome
from domain.event import Moment, Recorded
from domain.moving import demo_history
from domain.rules import origin as origins
from domain.rules.administrative_scope import CONSOLE
from eventstore.command import Command
from eventstore.database import nodes
from eventstore.execution import Origin, Step
from eventstore.ledger import Ledger
from eventstore.may_write import put_proof
from eventstore.projecting.rebuild import Outdated, outdated
from eventstore.transparency.published import is_accepted
from eventstore.view import View
from projections import PROJECTIONS
from projections import scopes as scope_rows
from security.keyring import Keyring
from security.tokens import Format, Secret, new_id

# What an empty database gets, so that people can sign in and be given something: scopes, roles, two dashboards, and the
# client of the console.
# Nothing here is special afterwards. What an administrator changes or removes stays as they left it.

PLATFORM_SCOPES = {"catalog:read": "Look through the catalog for you"}
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
    "keys:read": "See the server's keys, settings and state",
    "keys:write": "Change the server's keys",
    "introspect": "Check any access token",
}
"""Completed after "It asks to:", in a person's words."""

MEMBER = ("profile", *PLATFORM_SCOPES)
READING = ("clients:read", "people:read", "grants:read")
AUDITING = ("audit:read", "audit:personal")
LEAKS = ("leaks:read", "leaks:write")
MARK = "clients:read"
"""The scope by which an installed database is known: an administrative one, which nobody can retire."""


class InitialRole(NamedTuple):
    """A role that is there from the beginning."""

    realm: str
    name: str
    scopes: tuple[str, ...]
    default: bool = False


ADMINISTRATOR = InitialRole("administration", "administrator", ("profile", *ADMINISTRATION_SCOPES))
ROLES = (
    InitialRole("platform", "member", MEMBER, default=True),
    InitialRole("administration", "reader", ("profile", *READING), default=True),
    ADMINISTRATOR,
    InitialRole("administration", "auditor", (*AUDITING, *READING)),
    InitialRole("administration", "security", (*LEAKS, *AUDITING, "clients:read", "grants:read", "grants:write")),
)


class InitialDashboard(NamedTuple):
    """A dashboard that is there from the beginning."""

    slug: str
    client_name: str
    realm: str
    scopes: tuple[str, ...]


DASHBOARDS = (
    InitialDashboard("administration", "Administration", "administration", ADMINISTRATOR.scopes),
    InitialDashboard("client", "Client Dashboard", "platform", MEMBER),
)


async def install(ledger: Ledger, keyring: Keyring, format: Format, issuer: str, origin: Origin) -> bool:
    """Fills an empty database in one transaction; whether it did. Several processes may start at once: what decides is
    whether the slugs are free under the lock, so that all but one are refused as a whole and leave nothing. Raises
    `Outdated` when there is a log whose rows are yet to be made."""
    if await ledger.read(scope_rows.find, MARK) is not None:
        return False
    if old := await ledger.read(outdated, PROJECTIONS):
        # The log was carried here: it has its clients, and a second installation could not be rebuilt beside them.
        raise Outdated(old)
    described = PLATFORM_SCOPES | ADMINISTRATION_SCOPES
    commands: list[Step] = [permissions.put_scope(name, words, by=operator) for name, words in described.items()]
    commands += [
        permissions.put_role(each.realm, each.name, scopes_allowed=each.scopes, default=each.default, by=operator)
        for each in ROLES
    ]
    secrets: dict[str, Secret] = {}
    for dashboard in DASHBOARDS:
        client_id, (secret, made) = new_id(), clients.mint_secret(format)
        secrets[client_id] = secret
        commands.append(_dashboard(dashboard, client_id, made, issuer))
    secrets[CONSOLE], made = clients.mint_secret(format)
    commands.append(console_client.put(issuer, made))

    def keep(view: View, _: tuple[Recorded, ...]) -> None:
        # From the first wrap on, another master key is noticed.
        put_proof(view.connection, ledger.vault, keyring, view.now)
        for client_id, secret in secrets.items():
            clients.keep_in_vault(ledger.vault, view, client_id, secret)

    executed = await ledger.execute(*commands, origin=origin, then=keep)
    if executed.refusal is None:
        return True
    if executed.refusal.field != "slug":
        raise AssertionError(f"the installation contradicts the rules: {executed.refusal.detail}")
    return False


def _dashboard(dashboard: InitialDashboard, client_id: str, secret: NewSecret, issuer: str) -> Step:
    attributes = client.Attributes(
        client_name=dashboard.client_name,
        realm=dashboard.realm,
        scope=dashboard.scopes,
        allowed_origins=(origins.of_issuer(issuer),),
    )
    registration = Registration(attributes=attributes, slug=dashboard.slug, secret=secret)
    return clients.register(client_id, registration, issuer=issuer, by=operator)


# Starts, suspension, and what was found.


def begin_demo_history(played_at: Moment) -> Command[demo_history.State]:
    """Says that what follows is played, up to `played_at`; refused where the log has events."""
    return Command(
        demo_history.STREAM,
        lambda state, view: demo_history.begin(state, now=view.now, played_at=played_at, head=view.head),
    )


def start(version: str, settings: Mapping[str, server.Setting]) -> Command[server.State]:
    """Records a start with these settings, none of which is secret."""
    return Command(
        server.STREAM, lambda state, view: server.start(state, now=view.now, version=version, settings=dict(settings))
    )


def accept_issuer(issuer: str) -> Command[server.State]:
    """Lets the server start under this issuer identifier from now on."""
    return Command(server.STREAM, lambda state, view: server.accept_issuer(state, now=view.now, issuer=issuer))


def raise_feature_level(level: int) -> Command[server.State]:
    """Lets events be written that take this level, if every process that serves the log knows it."""

    def decide(state: server.State, view: View) -> Outcome:
        known = 0 if level <= state.feature_level else nodes.known_by_all(view.connection, view.now)
        # Where none serves none is older, and one that starts now sees the level.
        return server.raise_feature_level(state, now=view.now, level=level, known_by_all=known or level)

    return Command(server.STREAM, decide)


def suspend_issuance() -> Command[server.State]:
    """Lets nothing more be issued, to anybody."""
    return Command(server.STREAM, lambda state, view: server.suspend_issuance(state, now=view.now))


def resume_issuance() -> Command[server.State]:
    """Lifts that."""
    return Command(server.STREAM, lambda state, view: server.resume_issuance(state, now=view.now))


def note_divergence(reason: str, position: int | None) -> Command[server.State]:
    """Has nothing issued until somebody has looked at what was found in the log; nothing where they have meanwhile."""

    def decide(state: server.State, view: View) -> Outcome:
        accepted = is_accepted(view.connection, position, state.accepted)
        return server.note_divergence(state, now=view.now, reason=reason, position=position, accepted=accepted)

    return Command(server.STREAM, decide)


def accept_divergence(reason: str, misfits: Mapping[str, str] | None = None) -> Command[server.State]:
    """Lifts that; `misfits` are the positions that do not fit, each with the SHA-256 of what stands there."""
    return Command(
        server.STREAM,
        lambda state, view: server.accept_divergence(
            state, now=view.now, misfits=None if misfits is None else dict(misfits), reason=reason
        ),
    )


def note_difference(projection: str, key_sha256: str, stands: Callable[[View], bool]) -> Command[server.State]:
    """A read model differs from the log, if it still `stands` so under the lock; `key_sha256` names the row."""
    return Command(
        server.STREAM,
        lambda state, view: server.note_difference(
            state, now=view.now, projection=projection, key_sha256=key_sha256, head=view.head, stands=stands(view)
        ),
    )
