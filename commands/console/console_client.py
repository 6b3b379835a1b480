"""The client of the console, which only the one who runs the server makes.

It is a client like any other (RFC 6749 §2.1): confidential, with the code grant, its secret in the vault. What it may
do besides is to hold administrative scopes, which no other client of that kind can.
"""

import base64

from commands.clients import keep_in_vault, mint_secret, vault_name
from commands.permissions import operator
from domain import client, client_secret
from domain.client import Registration
from domain.client_secret import NewSecret
from domain.decision import Outcome, accept
from domain.event import Recorded
from domain.grants import GRANTS
from domain.rules.administrative_scope import ADMINISTRATIVE_SCOPES, CONSOLE
from domain.rules.built_in_scope import OFFLINE_ACCESS, OPENID
from domain.rules.registration import Circumstances
from eventstore import present
from eventstore.command import Command
from eventstore.database import Connection
from eventstore.execution import Origin
from eventstore.ledger import Ledger
from eventstore.view import View
from security.tokens import Format, digest
from security.vault import Vault

SCOPE = (OPENID, OFFLINE_ACCESS, "profile", *sorted(ADMINISTRATIVE_SCOPES))
"""What it asks for; what the person's roles do not allow is left out of what it gets."""

CALLBACK = "/console/callback"
AFTER_SIGN_OUT = "/console/signed-out"
LASTS = 12 * 3_600
"""Seconds for which somebody stays signed in at most."""


def attributes(issuer: str) -> client.Attributes:
    """What its client is registered with at this issuer."""
    return client.Attributes(
        client_name="Console",
        realm="administration",
        redirect_uris=(issuer + CALLBACK,),
        post_logout_redirect_uris=(issuer + AFTER_SIGN_OUT,),
        grant_types=("authorization_code", "refresh_token"),
        scope=SCOPE,
        token_endpoint_auth_method="client_secret_basic",  # noqa: S106 - a method by its RFC 7591 name
        refresh_token_lifetime=LASTS,
    )


def put(issuer: str, secret: NewSecret) -> Command[client.State]:
    """Registers it with this secret, or has it be what it is at this issuer where it exists; a repeat is no event."""

    def decide(state: client.State, view: View) -> Outcome:
        wanted = attributes(issuer)
        circumstances = Circumstances(
            caller_scope=operator(view),
            known_scopes=view.look(present.existing_scopes, SCOPE),
            grant_types=GRANTS,
            issuer=issuer,
            realms=view.look(present.realms),
            console=True,
        )
        if state.exists:
            return client.update(state, now=view.now, changes=wanted, circumstances=circumstances)
        registration = Registration(attributes=wanted, secret=secret)
        return client.register(state, now=view.now, registration=registration, circumstances=circumstances)

    return Command(client.stream(CONSOLE), decide)


def renew_secret(vault: Vault, secret: NewSecret) -> Command[client.State]:
    """Gives it this secret where that of the vault works no more, such as after a leak; else it is no event."""

    def decide(state: client.State, view: View) -> Outcome:
        kept = vault.get_secret(view.connection, vault_name(CONSOLE))
        sha256 = secret.sha256 if kept is None else digest(kept.value.decode("ascii")).hex()
        version = client_secret.matching(state.secrets, sha256)
        if version is not None and client_secret.unusable(version, view.now) is None:
            return accept()
        return client_secret.rotate(state, now=view.now, new=secret, caller_scope=operator(view))

    return Command(client.stream(CONSOLE), decide)


async def enable(ledger: Ledger, format: Format, issuer: str, origin: Origin) -> tuple[Recorded, ...]:
    """Makes the client, or puts right its addresses after the issuer moved, and its secret after that was ended; what
    was recorded."""
    secret, made = mint_secret(format)

    def keep(view: View, recorded: tuple[Recorded, ...]) -> tuple[Recorded, ...]:
        if any(isinstance(each.event, (client.ClientRegistered, client_secret.SecretRotated)) for each in recorded):
            keep_in_vault(ledger.vault, view, CONSOLE, secret)
        return recorded

    executed = await ledger.execute(put(issuer, made), renew_secret(ledger.vault, made), origin=origin, then=keep)
    if executed.refusal is not None:
        raise AssertionError(f"the console contradicts the rules: {executed.refusal.detail}")
    return executed.recorded


async def authorization(ledger: Ledger) -> str | None:
    """With what it authenticates (RFC 6749 §2.3.1), as a header's value; None where the vault has no secret of it."""
    return await ledger.read(_authorization, ledger)


def _authorization(connection: Connection, ledger: Ledger) -> str | None:
    kept = ledger.vault.get_secret(connection, vault_name(CONSOLE))
    if kept is None:
        return None
    pair = f"{CONSOLE}:{kept.value.decode('ascii')}"
    return "Basic " + base64.b64encode(pair.encode()).decode()
