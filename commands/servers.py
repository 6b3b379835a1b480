"""The server: what starts it, what keeps it from issuing, and what was found about its log."""

from collections.abc import Callable, Mapping

from domain import server
from eventstore.command import Command
from eventstore.view import View


def start(version: str, settings: Mapping[str, server.Setting]) -> Command[server.State]:
    """Records a start with these settings, none of which is secret."""
    return Command(
        server.STREAM, lambda state, view: server.start(state, now=view.now, version=version, settings=dict(settings))
    )


def accept_issuer(issuer: str) -> Command[server.State]:
    """Lets the server start under this issuer identifier from now on."""
    return Command(server.STREAM, lambda state, view: server.accept_issuer(state, now=view.now, issuer=issuer))


def suspend_issuance() -> Command[server.State]:
    """Lets nothing more be issued, to anybody."""
    return Command(server.STREAM, lambda state, view: server.suspend_issuance(state, now=view.now))


def resume_issuance() -> Command[server.State]:
    """Lifts that."""
    return Command(server.STREAM, lambda state, view: server.resume_issuance(state, now=view.now))


def note_divergence(reason: str, position: int | None) -> Command[server.State]:
    """Has nothing issued until somebody has looked at what was found in the log."""
    return Command(
        server.STREAM,
        lambda state, view: server.note_divergence(state, now=view.now, reason=reason, position=position),
    )


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
