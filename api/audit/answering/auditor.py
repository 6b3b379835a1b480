"""Who asks, and the event that every answer leaves behind: nobody reads the log unseen."""

from typing import TYPE_CHECKING, NamedTuple, Protocol

from api.masking import masking
from commands.readings import read
from domain import audit
from domain.event import Moment
from eventstore.commands import Origin
from security.clock import day_of
from security.tokens import digest

if TYPE_CHECKING:
    from api.settings import Settings
    from eventstore.following import Follower
    from eventstore.ledger import Ledger
    from eventstore.transparency.divergence import Diverged
    from security.tokens import Format


class Alarm(Protocol):
    """Whoever is told that the log does not fit its tree."""

    async def diverge(self, found: "Diverged", /) -> None: ...


class Sources(Protocol):
    """What answers are made of. A server has it among its services, a command for as long as it runs."""

    @property
    def settings(self) -> "Settings": ...

    @property
    def ledger(self) -> "Ledger": ...

    @property
    def format(self) -> "Format": ...

    @property
    def search_index(self) -> "Follower": ...

    @property
    def transparency(self) -> Alarm: ...


class Auditor(NamedTuple):
    """Somebody who may read the log. `personal` says that they may see personal values too."""

    here: Sources
    origin: Origin
    personal: bool

    @property
    def now(self) -> Moment:
        return self.here.ledger.clock.now()

    @property
    def stream(self) -> str:
        """Where their readings of today are told."""
        return audit.stream(day_of(self.now))

    def words(self, asked: dict[str, str | None]) -> dict[str, str]:
        """What was asked as it may be recorded: a secret in the place of an id is masked."""
        mask = masking(*self.here.format.prefixes).text
        return {name: mask(value) for name, value in asked.items() if value is not None}

    def unknown(self, text: str) -> str:
        """What was asked for and is not there, as it may be recorded: it may be anything, also a secret."""
        return f"sha256:{digest(text).hex()}"

    async def record(
        self,
        question: audit.Question,
        asked: dict[str, str | None],
        count: int,
        *,
        unsealed: bool,
        address: str | None = None,
    ) -> None:
        """Records an answer, which is sent after this: it is committed before anybody sees what they asked for."""
        answered = read(self.stream, question, self.words(asked), count, unsealed=unsealed, address=address)
        await self.here.ledger.execute(answered, origin=self.origin)
