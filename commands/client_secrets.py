"""What is done to a client's secrets: they are rotated, by hand and on schedule, and revoked."""

from typing import Literal, NamedTuple

from commands.callers import Caller, operator
from commands.clients import gone
from domain import client, client_secret
from domain.client import Registration
from domain.client_secret import NewSecret, SecretVersion
from domain.decision import Outcome, accept
from domain.event import Recorded
from eventstore.command import Command
from eventstore.execution import Origin
from eventstore.ledger import Ledger
from eventstore.view import View
from projections import rotations
from security.ids import new_id
from security.tokens import Format, Kind, Secret
from security.vault import Vault


def mint(format: Format, lifetime: int | None = None) -> tuple[Secret, NewSecret]:
    """Makes a secret, in clear and as the log learns of it."""
    secret = format.mint(Kind.CLIENT_SECRET)
    return secret, NewSecret(new_id(), secret.hex, lifetime)


def registration(
    attributes: client.Attributes, format: Format, *, owner: str | None = None, lifetime: int | None = None
) -> tuple[Registration, Secret | None]:
    """Puts together what a client is registered with, and gives its first secret in clear; None for a public one."""
    if attributes.token_endpoint_auth_method == "none":  # noqa: S105 - a method by its RFC 7591 name
        return Registration(attributes=attributes, owner=owner), None
    secret, made = mint(format, lifetime)
    return Registration(attributes=attributes, owner=owner, secret=made), secret


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


class Made(NamedTuple):
    """The version that a rotation made, and the secret in clear where it is to be shown, this only time."""

    version: SecretVersion
    shown: str | None


def made(vault: Vault, view: View, client_id: str, secret: Secret) -> Made:
    """Gives what a rotation made, within its transaction. The secret of a dashboard goes into the vault, unshown."""
    state: client.State = view.state(client.stream(client_id))
    if state.type == "dashboard":
        keep_in_vault(vault, view, client_id, secret)
        return Made(state.secrets[-1], None)
    return Made(state.secrets[-1], secret.reveal())


def rotate(
    client_id: str,
    new: NewSecret,
    *,
    others_expire_in: int | None = None,
    not_before_in: int | None = None,
    by: Caller,
) -> Command[client.State]:
    """Adds a version beside the others and says when they end, in seconds from now."""
    return Command(
        client.stream(client_id),
        lambda state, view: (
            gone(state)
            or client_secret.rotate(
                state,
                now=view.now,
                new=new,
                others_expire_in=others_expire_in,
                not_before_in=not_before_in,
                caller_scope=by(view),
            )
        ),
    )


def revoke(client_id: str, secret_id: str, tokens: Literal["keep", "revoke"] = "keep") -> Command[client.State]:
    """Ends a version, on demand with every token that it authenticated."""
    return Command(
        client.stream(client_id),
        lambda state, view: (
            gone(state) or client_secret.revoke(state, now=view.now, secret_id=secret_id, tokens=tokens)
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
    """Warns of secrets that are about to be too old, and rotates those that only the server holds.

    Any number of processes may: what one has done the others find done under the lock.
    """
    for due in await ledger.read(rotations.due, ledger.clock.now()):
        if due.over:
            await _rotate_when_due(ledger, due.client_id, format, origin)
        else:
            await ledger.execute(announce_rotation(due.client_id), origin=origin)


async def _rotate_when_due(ledger: Ledger, client_id: str, format: Format, origin: Origin) -> None:
    secret, new = mint(format)

    def decide(state: client.State, view: View) -> Outcome:
        if not client_secret.is_due(state, view.now):
            return accept()
        return client_secret.rotate(state, now=view.now, new=new, caller_scope=operator(view))

    def keep(view: View, recorded: tuple[Recorded, ...]) -> None:
        if recorded:
            keep_in_vault(ledger.vault, view, client_id, secret)

    await ledger.execute(Command(client.stream(client_id), decide), origin=origin, then=keep)
