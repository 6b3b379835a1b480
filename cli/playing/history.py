"""`grantlog demo --history`: a month is played into an empty log through the real commands, before anything is real."""

from api.config import demonstration
from api.config.settings import Settings, log_origin
from cli.command_services import actor
from cli.playing import HistoryWish
from cli.playing.month import DAYS, QUIET, Month
from cli.playing.player import Player
from cli.terminal import Failure
from commands.servers import begin_demo_history, install
from domain.moving.demo_history import STREAM
from domain.moving.demo_history import State as Played
from eventstore.execution import Origin
from eventstore.ledger import Ledger
from security.clock import DAY, ManualClock, SystemClock
from security.keyring import Keyring
from security.passwords import Argon2Parameters, Hasher
from security.tokens import Format, Secret


async def play(settings: Settings, keyring: Keyring, wish: HistoryWish) -> bool:
    """Plays the month that ends about now; whether it did. A log that began with one has it already. Raises Failure
    where one is required and the log is not empty, or stands in a database that is not the demo's own."""
    if not settings.database_url.startswith("sqlite"):
        return _without(wish, "a history is played into the demo's own SQLite file, and never on PostgreSQL")
    now = SystemClock().now()
    clock = ManualClock(now - DAYS * DAY)
    ledger = await Ledger.open(settings.database_url, keyring, clock, origin=log_origin(settings), awaits_disk=False)
    try:
        head, _ = await ledger.head()
        if head:
            played: Played = await ledger.state(STREAM)
            words = "the log has events already, and a history is played before everything else: move it away, or start"
            return played.played_at is None and _without(wish, f"{words} without --history")
        await _play(ledger, settings, keyring, clock, now)
    finally:
        await ledger.close()
    return True


def _without(wish: HistoryWish, why: str) -> bool:
    if wish == "required":
        raise Failure(why)
    return False


async def _play(ledger: Ledger, settings: Settings, keyring: Keyring, clock: ManualClock, now: int) -> None:
    format, origin = Format(settings.token_prefix, settings.former_token_prefixes), Origin(actor())
    hasher = Hasher(Argon2Parameters(settings.argon2_memory, settings.argon2_time, settings.argon2_parallelism))
    try:
        begun = await ledger.execute(begin_demo_history(now), origin=origin)
        if begun.refusal is not None:
            raise Failure("another process began a log here")
        await install(ledger, keyring, format, settings.issuer, origin)
        await demonstration.prepare(ledger, settings, format, hasher, origin)
        third_party = demonstration.read(settings).third_party
        player = Player(ledger, settings, format, clock, hasher, origin)
        known = third_party.client_id, Secret(third_party.client_secret)
        await Month(player, clock.now(), now - QUIET, known).play()
    finally:
        hasher.close()
