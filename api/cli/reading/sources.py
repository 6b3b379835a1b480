"""What answers about the log are made of while a command runs, and who asks for them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import rich_click as click

from api.audit.answering.auditor import Auditor
from commands import servers
from domain import server
from eventstore.following import EventIndexing, Follower
from eventstore.transparency.standing import is_accepted

if TYPE_CHECKING:
    from api.cli.opening import Here
    from api.settings import Settings
    from eventstore.ledger import Ledger
    from eventstore.transparency.divergence import Diverged
    from security.tokens import Format


class _Alarm:
    """Tells whoever ran the command, and the servers by way of the log."""

    def __init__(self, here: "Here") -> None:
        self._here = here

    async def diverge(self, found: "Diverged", /) -> None:
        click.echo(str(found), err=True)
        await diverged(self._here, found)


@dataclass(frozen=True, slots=True)
class _Sources:
    settings: "Settings"
    ledger: "Ledger"
    format: "Format"
    search_index: Follower
    transparency: _Alarm


def auditor(here: "Here", *, sealed: bool) -> Auditor:
    """The system's user, who sees personal values unless they want them to stay sealed."""
    index = Follower(here.ledger, EventIndexing())
    sources = _Sources(here.settings, here.ledger, here.format, index, _Alarm(here))
    return Auditor(sources, here.origin, not sealed)


async def diverged(here: "Here", found: "Diverged") -> None:
    """Records what a command came upon, unless somebody accepted it: nothing is signed or issued by any server then."""
    state: server.State = await here.ledger.state(server.STREAM)
    if not await here.ledger.read(is_accepted, found.position, state.accepted):
        await here.execute(servers.note_divergence(str(found), found.position))
