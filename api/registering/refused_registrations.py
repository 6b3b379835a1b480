"""What clients were refused that register themselves (RFC 7591) or change what they registered (RFC 7592), as facts:
the first of its kind at once, what follows as a count. Of what they sent the names of members alone are recorded.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NamedTuple, get_args

from api.http.errors import HTTPError, InvalidClientMetadata, InvalidToken
from api.services import Services, origin
from commands import registering
from domain import client, server
from domain.event import ANONYMOUS, Actor
from domain.registering.refusals import MEMBERS_MAXIMUM, DeadInitialToken, RegistrationError
from eventstore.execution import Step

MakeRefusal = Callable[[tuple[str, ...], Any, int, int], Step]
"""Builds the command that records it, of the members and the reason."""


class NotedBy(NamedTuple):
    """Under which subject refusals for these reasons are counted, and how they become facts."""

    subject: str
    reasons: tuple[str, ...]
    make: MakeRefusal
    actor: Actor = ANONYMOUS


METADATA: tuple[str, ...] = get_args(RegistrationError)


def by_stranger() -> NotedBy:
    """Refusals of clients for which nobody vouches. Which members were at fault is theirs to choose, and not told."""
    return NotedBy(
        f"{server.STREAM} registrations",
        (*METADATA, InvalidToken.code),
        lambda _, reason, count, seconds: registering.note_strangers(reason, count, seconds),
    )


def by_token(stream: str, actor: Actor) -> NotedBy:
    """Refusals of clients that have the initial access token of this stream."""
    return NotedBy(stream, (*METADATA, *get_args(DeadInitialToken)), partial(registering.note_refusal, stream), actor)


def by_client(client_id: str, actor: Actor) -> NotedBy:
    """Refusals of changes that a client wanted."""
    subject = f"{client.stream(client_id)} registration"
    return NotedBy(subject, METADATA, partial(registering.note_change_refused, client_id), actor)


@asynccontextmanager
async def noting(services: Services, scope: Any, by: NotedBy, known: frozenset[str]) -> AsyncIterator[None]:
    """Records what is refused within. `known` are the members that there are."""
    try:
        yield
    except (InvalidClientMetadata, InvalidToken) as error:
        await note(services, scope, by, error, known)
        raise


async def note(services: Services, scope: Any, by: NotedBy, error: HTTPError, known: frozenset[str]) -> None:
    """Records a refusal."""
    reason = error.cause or error.code if isinstance(error, InvalidToken) else error.code
    if reason not in by.reasons:
        return
    named = (each.field.partition("[")[0].partition(".")[0] for each in error.errors)
    members = tuple(dict.fromkeys(each for each in named if each in known))[:MEMBERS_MAXIMUM]
    await services.repeated_facts.note(by.subject, reason, partial(_made, by, members, reason), origin(scope, by.actor))


def _made(by: NotedBy, members: tuple[str, ...], reason: Any, count: int, seconds: int) -> Step:
    """The first names its members. Those of the others, which are theirs to choose, would be a group each."""
    return by.make(() if seconds else members, reason, count, seconds)
