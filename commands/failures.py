"""Failures that anybody can repeat, as they are counted: a window's first at once, for which `seconds` is 0, and
`count` more within so many seconds.
"""

from typing import cast

from domain import account, client, client_secret, realm, server
from domain.decision import InvalidClient
from eventstore.command import Command


def client_authentication(client_id: str, reason: InvalidClient, count: int, seconds: int) -> Command[client.State]:
    """A known client could not authenticate; for one that is not known see `unknown_client`."""
    why = cast(client.Failure, reason.value)
    return Command(
        client.stream(client_id),
        lambda state, view: client.note_failed_authentication(
            state, now=view.now, reason=why, count=count, window_seconds=seconds
        ),
    )


def dead_secret(
    client_id: str, secret_id: str, via: client_secret.Use, count: int, seconds: int
) -> Command[client.State]:
    """A secret version was presented after its end."""
    return Command(
        client.stream(client_id),
        lambda state, view: client_secret.note_dead_use(
            state, now=view.now, secret_id=secret_id, via=via, count=count, window_seconds=seconds
        ),
    )


def unknown_client(count: int, seconds: int) -> Command[server.State]:
    """Somebody authenticated as a client that does not exist."""
    return Command(
        server.STREAM,
        lambda state, view: server.note_unknown_client(state, now=view.now, count=count, window_seconds=seconds),
    )


def clients(count: int, seconds: int) -> Command[server.State]:
    """Clients could not authenticate that are counted together, known or not."""
    return Command(
        server.STREAM, lambda state, view: server.note_clients(state, now=view.now, count=count, window_seconds=seconds)
    )


def token_limit(client_id: str, limit: int, count: int, seconds: int) -> Command[client.State]:
    """A client was refused tokens beyond its `limit` a minute."""
    return Command(
        client.stream(client_id),
        lambda state, view: client.note_limit_reached(
            state, now=view.now, limit=limit, count=count, window_seconds=seconds
        ),
    )


def sign_in(account_id: str, reason: account.Failure, count: int, seconds: int) -> Command[account.State]:
    """A known person could not sign in."""
    return Command(
        account.stream(account_id),
        lambda state, view: account.note_failed_sign_in(
            state, now=view.now, reason=reason, count=count, window_seconds=seconds
        ),
    )


def unknown_user(name: str, count: int, seconds: int) -> Command[realm.State]:
    """Somebody signed in to the realm `name` as nobody who is there."""
    return Command(
        realm.stream(name),
        lambda state, view: realm.note_unknown_user(state, now=view.now, count=count, window_seconds=seconds),
    )


def sign_ins(name: str, count: int, seconds: int) -> Command[realm.State]:
    """Sign-ins to the realm `name` failed that are counted together, whoever they were about."""
    return Command(
        realm.stream(name),
        lambda state, view: realm.note_sign_ins(state, now=view.now, count=count, window_seconds=seconds),
    )
