"""What is done to clients, dashboards among them, and to their secrets, by hand and on schedule."""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from commands.permissions import CallerScope, operator
from domain import client, client_secret
from domain.client import Registration
from domain.client_secret import NewSecret, SecretVersion
from domain.decision import Forbidden, NotFound, Outcome, Refusal, accept, malformed
from domain.event import Recorded
from domain.grants import GRANTS
from domain.keys.client_keys import KeyChanges
from domain.rules import public_key
from domain.rules import registration as rules
from domain.rules.administrative_scope import CONSOLE
from domain.rules.client_metadata import NO_KEYS, SECRET_METHODS, ClientKeys, PublicKey
from domain.rules.pairwise import SectorDocument
from domain.rules.registration import Circumstances
from eventstore import present
from eventstore.command import Command
from eventstore.execution import Origin
from eventstore.issued import find
from eventstore.ledger import Ledger
from eventstore.personal_data import PersonalData
from eventstore.view import View
from projections import rotations
from security.tokens import Format, Kind, Secret, new_id
from security.vault import Vault

NEEDED = ("client_name", "realm")
"""What a new dashboard cannot do without."""


def register(
    client_id: str, registration: Registration, *, issuer: str, by: CallerScope, sector: SectorDocument | None = None
) -> Command[client.State]:
    """Registers a client (RFC 7591 §2), with a slug a dashboard. `sector` is what its `sector_identifier_uri` has."""

    def decide(state: client.State, view: View) -> Outcome:
        taken = registration.slug is not None and view.look(present.dashboard_by_slug, registration.slug) is not None
        circumstances = _circumstances(
            view, registration.attributes, issuer, by, keys=registration.keys.jwks, slug_taken=taken, sector=sector
        )
        return client.register(state, now=view.now, registration=registration, circumstances=circumstances)

    return Command(client.stream(client_id), decide)


def update(
    client_id: str,
    changes: client.Attributes,
    *,
    owner: str | None | UnsetType = UNSET,
    keys: KeyChanges = client.UNCHANGED,
    privacy: PersonalData,
    issuer: str,
    by: CallerScope,
    sector: SectorDocument | None = None,
) -> Command[client.State]:
    """Changes what is named and differs. `sector` is what its `sector_identifier_uri` gave, where that was asked."""

    def decide(state: client.State, view: View) -> Outcome | Refusal:
        # What is sealed cannot be compared by the verb, and a repeat is to be no event.
        same = owner is not UNSET and owner == privacy.open(view.connection, state.owner)
        others = client.named(changes) or keys != client.UNCHANGED
        refused = _gone(state) or (_of_console(client_id) if others else None)
        opened = replace(state, keys=privacy.open_keys(view.connection, state.keys))
        return refused or client.update(
            opened,
            now=view.now,
            changes=changes,
            owner=UNSET if same else owner,
            keys=keys,
            circumstances=_circumstances(
                view, changes, issuer, by, keys=() if keys.jwks is UNSET else keys.jwks, sector=sector
            ),
        )

    return Command(client.stream(client_id), decide)


def put_dashboard(
    client_id: str, slug: str, attributes: client.Attributes, *, secret: NewSecret, issuer: str, by: CallerScope
) -> Command[client.State]:
    """Changes the dashboard of this slug, or makes it under this id and with this secret where there is none."""

    def existing(view: View) -> str | None:
        found = view.look(present.dashboard_by_slug, slug)
        return None if found is None else client.stream(found.client_id)

    def decide(state: client.State, view: View) -> Outcome:
        circumstances = _circumstances(view, attributes, issuer, by)
        if state.exists:
            return client.update(state, now=view.now, changes=attributes, circumstances=circumstances)
        for name in NEEDED:
            if getattr(attributes, name) is UNSET:
                return malformed(name, "is required of a new dashboard")
        registration = Registration(attributes=attributes, slug=slug, secret=secret)
        return client.register(state, now=view.now, registration=registration, circumstances=circumstances)

    return Command(client.stream(client_id), decide, elsewhere=existing)


def opens_up(dashboard: client.State, changes: client.Attributes) -> bool:
    """Whether tokens of people who sign in there could get to where they did not before, or let more be done."""
    origins = () if changes.allowed_origins is UNSET else changes.allowed_origins
    scope = () if changes.scope is UNSET else changes.scope
    return not (set(origins).issubset(dashboard.allowed_origins) and set(scope).issubset(dashboard.scope))


def disable(client_id: str) -> Command[client.State]:
    """Ends every token so far, for good, and lets no new one be issued."""
    return _to_known(client_id, lambda state, view: client.disable(state, now=view.now))


def enable(client_id: str, *, by: CallerScope) -> Command[client.State]:
    """Lets new tokens be issued; what was ended stays so."""
    return _to_known(client_id, lambda state, view: client.enable(state, now=view.now, caller_scope=by(view)))


def delete(client_id: str) -> Command[client.State]:
    """Ends a client for good, with every token. The console's stays: its id could never be registered again."""
    return _to_known(client_id, lambda state, view: _of_console(client_id) or client.delete(state, now=view.now))


def _to_known(client_id: str, decide: Callable[[client.State, View], Outcome | Refusal]) -> Command[client.State]:
    """A command to a client, which is refused where it does not exist or is deleted."""
    return Command(client.stream(client_id), lambda state, view: _gone(state) or decide(state, view))


def _gone(state: client.State) -> Refusal | None:
    return None if client.alive(state) else Refusal(NotFound.UNKNOWN, "There is no such client.")


def _of_console(client_id: str) -> Refusal | None:
    if client_id != CONSOLE:
        return None
    return Refusal(
        Forbidden.ADMINISTRATIVE_SCOPE, "This client is the server's own: `grantlog console enable` makes it."
    )


def _circumstances(
    view: View,
    attributes: client.Attributes,
    issuer: str,
    by: CallerScope,
    *,
    keys: Sequence[PublicKey] = (),
    slug_taken: bool = False,
    sector: SectorDocument | None = None,
) -> Circumstances:
    asked = attributes.scope if isinstance(attributes.scope, tuple) else ()
    return Circumstances(
        caller_scope=by(view),
        known_scopes=view.look(present.existing_scopes, asked[: rules.SCOPES_MAXIMUM]),
        grant_types=GRANTS,
        issuer=issuer,
        realms=view.look(present.realms),
        slug_taken=slug_taken,
        sector=sector,
        leaked_keys=view.look(present.leaked_keys, list(map(public_key.thumbprint, keys))) if keys else frozenset(),
    )


# Secrets: they are rotated, by hand and on schedule, and revoked.


def mint_secret(format: Format, lifetime: int | None = None) -> tuple[Secret, NewSecret]:
    """Makes a secret, in clear and as the log learns of it."""
    secret = format.mint(Kind.CLIENT_SECRET)
    return secret, NewSecret(new_id(), secret.hex, lifetime)


def new_registration(
    attributes: client.Attributes,
    format: Format,
    *,
    keys: ClientKeys = NO_KEYS,
    owner: str | None = None,
    lifetime: int | None = None,
) -> tuple[Registration, Secret | None]:
    """Puts together what a client is registered with, and gives its first secret in clear; None where it has none."""
    if attributes.token_endpoint_auth_method not in (UNSET, *SECRET_METHODS):
        return Registration(attributes=attributes, keys=keys, owner=owner), None
    secret, made = mint_secret(format, lifetime)
    return Registration(attributes=attributes, keys=keys, owner=owner, secret=made), secret


def vault_name(client_id: str) -> str:
    """Names a dashboard's secret in the vault."""
    return f"dashboard:{client_id}"


def keep_in_vault(vault: Vault, view: View, client_id: str, secret: Secret) -> None:
    """Lets the server act with a dashboard's secret, in the transaction that makes it known."""
    vault.put_secret(view.connection, vault_name(client_id), secret.reveal().encode("ascii"), view.now)


def keep_if_made(vault: Vault, view: View, client_id: str, secret: Secret) -> bool:
    """Keeps the secret of a dashboard that was put, unless that was there under another id; whether it was made."""
    state: client.State = view.state(client.stream(client_id))
    if state.exists:
        keep_in_vault(vault, view, client_id, secret)
    return state.exists


class MadeSecret(NamedTuple):
    """The version that a rotation made, and the secret in clear where it is to be shown, this only time."""

    version: SecretVersion
    shown: str | None


def made_secret(vault: Vault, view: View, client_id: str, secret: Secret) -> MadeSecret:
    """Gives what a rotation made, within its transaction. What the server itself acts with goes into the vault,
    unshown: the secrets of dashboards and of its console."""
    state: client.State = view.state(client.stream(client_id))
    if state.type == "dashboard" or client_id == CONSOLE:
        keep_in_vault(vault, view, client_id, secret)
        return MadeSecret(state.secrets[-1], None)
    return MadeSecret(state.secrets[-1], secret.reveal())


def rotate_secret(
    client_id: str,
    new: NewSecret,
    *,
    others_expire_in: int | None = None,
    not_before_in: int | None = None,
    by: CallerScope,
) -> Command[client.State]:
    """Adds a version beside the others and says when they end, in seconds from now."""

    def decide(state: client.State, view: View) -> Outcome:
        if client_id == CONSOLE and not_before_in:
            return malformed("not_before_in", "the console uses its newest secret at once")
        return client_secret.rotate(
            state,
            now=view.now,
            new=new,
            others_expire_in=others_expire_in,
            not_before_in=not_before_in,
            caller_scope=by(view),
        )

    return _to_known(client_id, decide)


def revoke_secret(client_id: str, secret_id: str, tokens: Literal["keep", "revoke"] = "keep") -> Command[client.State]:
    """Ends a version, on demand with every token that it authenticated."""
    return _to_known(
        client_id, lambda state, view: client_secret.revoke(state, now=view.now, secret_id=secret_id, tokens=tokens)
    )


def adopt_secret(client_id: str, new: NewSecret, *, verified: str) -> Command[client.State]:
    """Makes a version of a secret that another system made and the client has shown; `verified` is the event with the
    hash that was right."""
    return _to_known(
        client_id,
        lambda state, view: client_secret.adopt(
            state,
            now=view.now,
            new=new,
            verified=verified,
            known=view.query(find, bytes.fromhex(new.sha256)) is not None,
        ),
    )


# On schedule ------------------------------------------------------------------------------------------------------


def set_rotation_policy(client_id: str, *, maximum_age: int, overlap: int, warning: int) -> Command[client.State]:
    """Sets how old a secret may become, how long it overlaps with the next, and how early that is announced."""
    return Command(
        client.stream(client_id),
        lambda state, view: client_secret.set_policy(
            state, now=view.now, maximum_age=maximum_age, overlap=overlap, warning=warning
        ),
    )


def remove_rotation_policy(client_id: str) -> Command[client.State]:
    """Lets the secrets become as old as they like."""
    return Command(client.stream(client_id), lambda state, view: client_secret.remove_policy(state, now=view.now))


def announce_rotation(client_id: str) -> Command[client.State]:
    """Warns that the newest secret is about to be too old."""
    return Command(client.stream(client_id), lambda state, view: client_secret.announce(state, now=view.now))


async def rotate_due(ledger: Ledger, format: Format, origin: Origin) -> None:
    """Warns of secrets that are about to be too old, and rotates those that only the server holds. Any number of
    processes may: what one has done the others find done under the lock."""
    for due in await ledger.read(rotations.due, ledger.clock.now()):
        if due.over:
            await _rotate_when_due(ledger, due.client_id, format, origin)
        else:
            await ledger.execute(announce_rotation(due.client_id), origin=origin)


async def _rotate_when_due(ledger: Ledger, client_id: str, format: Format, origin: Origin) -> None:
    secret, new = mint_secret(format)

    def decide(state: client.State, view: View) -> Outcome:
        if not client_secret.is_due(state, view.now):
            return accept()
        return client_secret.rotate(state, now=view.now, new=new, caller_scope=operator(view))

    def keep(view: View, recorded: tuple[Recorded, ...]) -> None:
        if recorded:
            keep_in_vault(ledger.vault, view, client_id, secret)

    await ledger.execute(Command(client.stream(client_id), decide), origin=origin, then=keep)
