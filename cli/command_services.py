"""What a command works with: settings, master key, and a ledger that its writes go through as anybody's do."""

import asyncio
import getpass
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any, NamedTuple, Self, TypeVar

import msgspec
import rich_click as click
import structlog

from api.audit.queries.auditor import Auditor
from api.config.settings import Settings, log_origin
from api.environment import SettingsError, load
from api.http.own_tokens import recognise
from api.issuers.registry import IssuerEntry, IssuerRegistry, RegistryError, keyring_of, settings_of
from api.server.presence import TooOld, require_level
from cli.terminal import USAGE, Failure, ProgressBar, refused, unavailable
from commands import servers
from commands.log_keys import settle_mac_key
from commands.servers import install
from domain import server
from domain.event import Actor, Recorded
from eventstore.database import Connection, DBAPIError, Engine, is_missing
from eventstore.database.engines import in_words, migrating, reading
from eventstore.database.schema import UnfitDatabase, is_current, server_role
from eventstore.execution import Origin, Step
from eventstore.ledger import Ledger
from eventstore.mapper import authenticate
from eventstore.may_write import key_problem
from eventstore.personal_data import PersonalData
from eventstore.projecting.catch_up import CatchUpSubscription, EventIndexing
from eventstore.projecting.counting import EventCounting
from eventstore.projecting.rebuild import Outdated, Rebuild, Rebuilt
from eventstore.projecting.refollow import Refollowing
from eventstore.transparency.published import Diverged, is_accepted
from eventstore.unavailable import (
    ArchiveAway,
    DatabaseAway,
    DatabaseUnfit,
    InDoubt,
    LedgerOverloaded,
    WentBack,
    WrongClock,
)
from eventstore.view import View
from projections.tables import RowPage
from security.clock import Moment, SystemClock
from security.keyring import Keyring, MasterKeyError, open_keyring
from security.mac import BlindIndex
from security.masking import masking
from security.sealing import Sealer
from security.tokens import Format
from security.vault import Vault

T = TypeVar("T")
R = TypeVar("R")

PAGE = 200
"""Rows that are read at a time."""

UPGRADE = "run `grantlog database upgrade`"
_KEY_VARIABLES = ("GRANTLOG_MASTER_KEY", "GRANTLOG_DATABASE_URL", "GRANTLOG_MIGRATION_DATABASE_URL")


def system_user() -> str:
    """Who runs this command, by the operating system's name for them, or by number where there is no name."""
    try:
        return getpass.getuser()[:64]
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def actor() -> Actor:
    """The actor of everything that the command line does."""
    return Actor("system", None, {"user": system_user()})


@dataclass(frozen=True, slots=True)
class CommandServices:
    """The parts that a command uses while it runs."""

    settings: Settings
    ledger: Ledger
    format: Format
    origin: Origin

    async def execute(self, *commands: Step) -> tuple[Recorded, ...]:
        """Carries the commands out and gives what was recorded; raises Failure when one is refused."""
        return await self.make(*commands, then=lambda _, recorded: recorded)

    async def make(self, *commands: Step, then: Callable[[View, tuple[Recorded, ...]], T]) -> T:
        """Carries them out and gives what `then` makes of it within the transaction; raises Failure likewise."""
        executed = await self.ledger.execute(*commands, origin=self.origin, then=lambda *made: (then(*made),))
        if executed.refusal is not None:
            raise refused(executed.refusal)
        if executed.value is None:
            raise AssertionError("what was not refused has been made")
        return executed.value[0]

    async def every(self, query: Callable[..., RowPage[R, Any]], *given: Any, **named: Any) -> list[R]:
        """All rows that a projection's list gives in pages, from the first to the last."""
        rows: list[R] = []
        after = None
        while True:
            page = await self.ledger.read(query, *given, after=after, limit=PAGE, **named)
            rows += page.items
            after = page.next
            if after is None:
                return rows

    def masked(self, words: str) -> str:
        """What somebody writes, without the secrets in it."""
        return masking(*self.format.prefixes).text(words)

    # What answers about the log are made of, see `api.audit.queries.auditor.Sources`, and who asks for them.

    def auditor(self, *, personal: bool = True) -> Auditor:
        """The system's user, who sees personal values unless they want them to stay sealed."""
        return Auditor(self, self.origin, personal)

    @property
    def search_index(self) -> CatchUpSubscription:
        """Brings the index that searches need up to date."""
        return CatchUpSubscription(self.ledger, EventIndexing())

    @property
    def event_counts(self) -> CatchUpSubscription:
        """Brings the counts of events up to date."""
        return CatchUpSubscription(self.ledger, EventCounting())

    @property
    def transparency(self) -> Self:
        return self

    async def diverge(self, found: Diverged, /) -> None:
        """Tells anyone who ran the command, and the servers by way of the log."""
        click.echo(str(found), err=True)
        await self.note_divergence(found)

    async def note_divergence(self, found: Diverged) -> None:
        """Records what a command came upon, unless somebody accepted it: no server signs or issues anything then."""
        state: server.State = await self.ledger.state(server.STREAM)
        if not await self.ledger.read(is_accepted, found.position, state.accepted):
            await self.execute(servers.note_divergence(str(found), found.position))


def load_settings(**given: Any) -> Settings:
    """The settings in force, with `--issuer` those of that issuer; raises Failure that names what is at fault."""
    settings = _loaded(**given)
    chosen = chosen_issuer(settings)
    return settings if chosen is None else settings_of(settings, chosen)


def chosen_issuer(settings: Settings) -> IssuerEntry | None:
    """The further issuer that `--issuer` names; None for that of the settings."""
    context = click.get_current_context(silent=True)
    url: str | None = None if context is None else context.find_root().params.get("issuer")
    if url is None:
        return None
    try:
        return IssuerRegistry.of(settings).find(url)
    except RegistryError as error:
        raise Failure(str(error)) from None


def _loaded(**given: Any) -> Settings:
    try:
        return load(**given)
    except SettingsError as error:
        if not given and (settings := _of_the_demo()) is not None:
            return settings
        keys = all(fault.partition(":")[0].removesuffix("_FILE") in _KEY_VARIABLES for fault in error.faults)
        message = "the settings cannot be used\n  " + "\n  ".join(error.faults)
        raise (unavailable(message) if keys else Failure(message, USAGE)) from None


def _of_the_demo() -> Settings | None:
    """The settings with which the demo of this data directory runs, so that its log can be watched without more ado."""
    try:
        settings = load(environment="demo")
    except SettingsError:
        return None
    file = settings.master_key_file
    return settings if not os.environ.get("GRANTLOG_ENVIRONMENT") and file is not None and file.is_file() else None


def open_keys(settings: Settings) -> Keyring:
    """The master keys, with `--issuer` the keys of that issuer; in the demo they are made when missing. Raises Failure
    that says what to do."""
    chosen = chosen_issuer(settings)
    keyring = _opened_keys(settings)
    return keyring if chosen is None else keyring_of(keyring, chosen)


def _opened_keys(settings: Settings) -> Keyring:
    file = settings.master_key_file or settings.data_dir / "master.key"
    try:
        return open_keyring(settings.master_key, file, create=settings.environment == "demo")
    except (MasterKeyError, OSError) as error:
        # An OSError's own words hold the path, which the person who runs the command knows anyway.
        raise unavailable(str(error)) from None


@contextmanager
def connected(settings: Settings, vault: Vault | None = None) -> Iterator[Connection]:
    """A connection past the ledger, which only reads; events are decoded with the keys of `vault`. Raises Failure."""
    engine = reading(settings.database_url, 1)
    if vault is not None:
        authenticate(engine, vault)
    try:
        with engine.connect() as connection:
            yield connection
    except DBAPIError as error:
        raise unavailable(f"the database does not answer: {in_words(error, settings.database_url)}") from None
    finally:
        engine.dispose()


def prove_key(connection: Connection, vault: Vault, keyring: Keyring) -> None:
    """Raises Failure when the vault was made with another master key."""
    problem = key_problem(connection, vault, keyring)
    if problem:
        raise unavailable(problem)


class Owned(NamedTuple):
    """The database as the role sees it that owns its tables, and what it takes to replay the log."""

    settings: Settings
    keyring: Keyring
    engine: Engine
    vault: Vault
    privacy: PersonalData
    now: Moment
    server_role: str | None

    def rebuild(self, title: str, modules: Sequence[ModuleType]) -> Rebuilt:
        """Computes projections again that are written with the log."""
        with ProgressBar(title) as bar:
            return Rebuild(self.engine, modules, self.privacy, self.now, server_role=self.server_role).run(bar)

    def refollow(self, name: str) -> Rebuilt:
        """Computes those again that a follower moves on."""
        with ProgressBar(name) as bar:
            return Refollowing(self.engine, name, self.privacy, server_role=self.server_role).rebuild(bar)


def owned() -> Owned:
    """That database, by the settings; raises Failure."""
    settings = load_settings()
    require_schema(settings)
    return owned_by(settings, open_keys(settings))


def owned_by(settings: Settings, keyring: Keyring) -> Owned:
    """That of these settings, with these keys."""
    owner = settings.migration_database_url or settings.database_url
    vault = Vault(keyring)
    privacy = PersonalData(Sealer(vault), BlindIndex(keyring))
    role = server_role(settings.database_url, owner)
    return Owned(settings, keyring, migrating(owner), vault, privacy, SystemClock().now(), role)


def require_schema(settings: Settings) -> None:
    """Raises Failure unless the database answers and has the tables that this version needs."""
    if not schema_is_current(settings):
        raise unavailable(f"the database lacks what this version needs: {UPGRADE}")


def schema_is_current(settings: Settings) -> bool:
    """Whether the migrations have run; raises Failure when the database does not answer or is unfit."""
    # A look must not make the file that it looks for.
    if is_missing(settings.database_url):
        return False
    try:
        return is_current(settings.database_url)
    except UnfitDatabase as error:
        raise unavailable(str(error)) from None
    except DBAPIError as error:
        raise unavailable(f"the database does not answer: {in_words(error, settings.database_url)}") from None


def run(work: Callable[[CommandServices], Awaitable[T]]) -> T:
    """Runs `work` with the ledger of the settings' database; raises Failure."""
    _log_beside_the_answer()
    settings = load_settings()
    require_schema(settings)
    keyring = open_keys(settings)

    async def inside() -> T:
        async with opened(settings, keyring) as services:
            return await work(services)

    with in_plain_words(settings):
        return asyncio.run(inside())


def _log_beside_the_answer() -> None:
    """What a server would put into its log goes to standard error here: a script reads the other."""
    if isinstance(structlog.get_config()["logger_factory"], structlog.PrintLoggerFactory):
        structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))


@contextmanager
def in_plain_words(settings: Settings) -> Iterator[None]:
    """Has whatever keeps a ledger from its work end the command, with its exit code."""
    try:
        yield
    except InDoubt:
        words = "the log has diverged and has to be looked at: see `grantlog log accept-divergence`"
        raise unavailable(words) from None
    except (WentBack, ArchiveAway) as error:
        raise unavailable(str(error)) from None
    except WrongClock as error:
        raise unavailable(f"nothing is written while this machine's clock is off: {error}") from None
    except DatabaseUnfit:
        # For a right that is missing there are other words.
        raise
    except (DatabaseAway, LedgerOverloaded) as error:
        raise unavailable(f"the database does not answer: {in_words(error, settings.database_url)}") from None


@asynccontextmanager
async def opened(settings: Settings, keyring: Keyring) -> AsyncIterator[CommandServices]:
    """The ledger, proven to have the right key and installed."""
    try:
        ledger = await Ledger.open(settings.database_url, keyring, SystemClock(), origin=log_origin(settings))
    except MasterKeyError as error:
        raise unavailable(str(error)) from None
    try:
        format = Format(settings.token_prefix, settings.former_token_prefixes)
        services = CommandServices(settings, ledger, format, Origin(actor()))
        require_level(await ledger.state(server.STREAM))
        await ledger.read(prove_key, ledger.vault, keyring)
        await install(ledger, keyring, format, settings.issuer, services.origin)
        await settle_mac_key(ledger, services.origin)
        await recognise(format, ledger)
        yield await _as_served(services)
    except (Outdated, TooOld) as error:
        raise unavailable(str(error)) from None
    finally:
        await ledger.close()


async def _as_served(services: CommandServices) -> CommandServices:
    """With the issuer identifier under which this log is served: what it is called here may be another default."""
    state: server.State = await services.ledger.state(server.STREAM)
    return replace(
        services, settings=msgspec.structs.replace(services.settings, issuer=state.issuer or services.settings.issuer)
    )
