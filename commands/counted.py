"""Failures that anybody can repeat, and uses that issue no token, as they are counted: a window's first at once, for
which `seconds` is 0, and `count` more within so many seconds."""

from typing import cast

import msgspec

from domain import account, client, client_secret, realm, server, usage
from domain.decision import InvalidClient
from domain.people import mailed
from domain.rules.client_metadata import ClientFailure
from eventstore.command import Command


def failed_authentication(client_id: str, reason: InvalidClient, count: int, seconds: int) -> Command[client.State]:
    """A known client could not authenticate; for one that is not known see `unknown_client`."""
    why = cast(ClientFailure, reason.value)
    return Command(
        client.stream(client_id),
        lambda state, view: client.note_failed_authentication(
            state, now=view.now, reason=why, count=count, window_seconds=seconds
        ),
    )


def dead_secret(
    client_id: str, secret_id: str, via: client_secret.SecretUse, count: int, seconds: int
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
    refused = server.UnknownClientRefused(count=count, window_seconds=seconds)
    return Command(server.STREAM, lambda state, view: server.note(state, now=view.now, refused=refused))


def failed_authentications(count: int, seconds: int) -> Command[server.State]:
    """Clients could not authenticate that are counted together, known or not."""
    refused = server.ClientsRefused(count=count, window_seconds=seconds)
    return Command(server.STREAM, lambda state, view: server.note(state, now=view.now, refused=refused))


def token_limit(client_id: str, limit: int, count: int, seconds: int) -> Command[client.State]:
    """A client was refused tokens beyond its `limit` a minute."""
    return Command(
        client.stream(client_id),
        lambda state, view: client.note_limit_reached(
            state, now=view.now, limit=limit, count=count, window_seconds=seconds
        ),
    )


def failed_sign_in(account_id: str, reason: account.AccountFailure, count: int, seconds: int) -> Command[account.State]:
    """A known person could not sign in."""
    return Command(
        account.stream(account_id),
        lambda state, view: account.note_failed_sign_in(
            state, now=view.now, reason=reason, count=count, window_seconds=seconds
        ),
    )


def unknown_user(name: str, count: int, seconds: int) -> Command[realm.State]:
    """Somebody signed in to the realm `name` as nobody who is there."""
    refused = realm.UnknownUserRefused(count=count, window_seconds=seconds)
    return Command(realm.stream(name), lambda state, view: realm.note(state, now=view.now, refused=refused))


def failed_sign_ins(name: str, count: int, seconds: int) -> Command[realm.State]:
    """Sign-ins to the realm `name` failed that are counted together, no matter who they were about."""
    refused = realm.SignInsRefused(count=count, window_seconds=seconds)
    return Command(realm.stream(name), lambda state, view: realm.note(state, now=view.now, refused=refused))


def recovery(account_id: str, count: int, seconds: int) -> Command[account.State]:
    """Somebody asked for a link to a new password for a known person."""
    return Command(
        account.stream(account_id),
        lambda state, view: mailed.note_recovery_requested(now=view.now, count=count, window_seconds=seconds),
    )


def unknown_recovery(name: str, count: int, seconds: int) -> Command[realm.State]:
    """The same in the realm `name` under a name that nobody has."""
    asked = realm.UnknownRecoveryRequested(count=count, window_seconds=seconds)
    return Command(realm.stream(name), lambda state, view: realm.note(state, now=view.now, refused=asked))


def recoveries(name: str, count: int, seconds: int) -> Command[realm.State]:
    """The same of requests in the realm `name` that are counted together, no matter who they were about."""
    asked = realm.RecoveriesRequested(count=count, window_seconds=seconds)
    return Command(realm.stream(name), lambda state, view: realm.note(state, now=view.now, refused=asked))


def registrations(name: str, count: int, seconds: int) -> Command[realm.State]:
    """Links were asked for by which people register themselves in the realm `name`."""
    asked = realm.RegistrationsRequested(count=count, window_seconds=seconds)
    return Command(realm.stream(name), lambda state, view: realm.note(state, now=view.now, refused=asked))


class UsedToken(msgspec.Struct, frozen=True):
    """What a token is and came of."""

    kind: usage.SecretKind
    client_id: str | None
    grant_id: str | None
    account_id: str | None
    secret_id: str | None


_WITH_ROWS = frozenset(("access", "refresh", "code"))
"""What has a row of `tokens` while it lives, by which nothing of it is archived."""


class How(msgspec.Struct, frozen=True):
    """How it was used; `seen_by` is the client that asked about it, `told_…` what that one says of the one who brought
    it, `ended` why it was dead already, `unproved` that it was brought without its key."""

    via: usage.TokenVia
    seen_by: str | None
    told_ip: str | None
    told_user_agent: str | None
    ended: str | None
    unproved: bool = False


def use_of_secret(secret_id: str, client_id: str, via: usage.Via, count: int, seconds: int) -> Command[usage.State]:
    """A secret version authenticated its client."""
    return Command(
        usage.stream(secret_id),
        lambda state, view: usage.note(
            state, now=view.now, client_id=client_id, via=via, count=count, window_seconds=seconds
        ),
    )


def use_of_token(sha256: str, token: UsedToken, how: How, count: int, seconds: int) -> Command[usage.State]:
    """A token, by its digest in hex, was brought to a resource server or to this one."""
    use = usage.TokenFirstSeen(
        kind=token.kind,
        client_id=token.client_id,
        grant_id=token.grant_id,
        account_id=token.account_id,
        secret_id=token.secret_id,
        via=how.via,
        seen_by=how.seen_by,
        told_ip=how.told_ip,
        told_user_agent=how.told_user_agent,
        ended=how.ended,
        unproved=how.unproved,
    )
    return Command(
        usage.stream(sha256),
        lambda state, view: usage.note_token(state, now=view.now, use=use, count=count, window_seconds=seconds),
        lives=how.ended is None and token.kind in _WITH_ROWS,
    )
