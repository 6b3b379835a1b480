"""Letters to people handed on by any number of processes: one letter by one at a time, and again until it is taken."""

import asyncio
from email.message import EmailMessage
from random import SystemRandom
from typing import Any

import structlog

from api.languages import Language
from api.letters.composing import Envelope, compose
from api.letters.words import LINKS, RECOVER, UNKNOWN, language_of
from api.notifications.channels.mail import MailServer, hand_over
from api.notifications.delivering import LEASE, delay
from api.notifications.message import Failed
from api.services import Services
from api.upstreams.flow import titles
from commands.mailing.notices import came_from
from domain import account
from domain.people import branding
from domain.people.email_address import CONFIRMATION_LASTS
from domain.people.mailed import INVITATION_LASTS, RECOVERY_LASTS
from eventstore.database import Connection
from eventstore.pending import letters
from eventstore.pending.letters import ClaimedLetter, Letter
from eventstore.personal_data import PersonalData
from eventstore.search import recorded_at
from eventstore.unavailable import DatabaseAway, LedgerOverloaded
from security.private_files import put_private

FOLDER = "mail"
"""Of the data directory, where letters are put as files."""

AT_ONCE = 8
LONGEST_AGENT = 150
log = structlog.get_logger("api")
_random = SystemRandom()


class Postman:
    """Hands letters to the mail server of the settings, or puts them into files. One per process."""

    def __init__(self, services: Services) -> None:
        self._here = services
        settings = services.settings
        self._server = MailServer(
            settings.smtp_host, settings.smtp_port, settings.smtp_tls, settings.smtp_username, settings.smtp_password
        )

    async def deliver(self) -> None:
        """Tries what is due, until nothing is."""
        ledger = self._here.ledger
        while await ledger.read(letters.is_due, ledger.clock.now()):
            now = ledger.clock.now()
            claimed = await ledger.maintain(letters.claim, ledger.vault, now, now + LEASE, AT_ONCE)
            await asyncio.gather(*map(self._attempt, claimed))

    async def _attempt(self, claimed: ClaimedLetter) -> None:
        ledger = self._here.ledger
        try:
            failed = await self._send(claimed)
        except (DatabaseAway, LedgerOverloaded):
            # It is taken up again when the lease has ended.
            return
        except Exception as error:
            # What nobody foresaw must come to an end, too.
            log.exception("letter failed", letter=claimed.letter.kind)
            failed = Failed(type(error).__name__)
        if failed is None:
            await ledger.maintain(letters.remove, claimed.letter_id)
            return
        again_at = ledger.clock.now() + delay(claimed.attempt, _random.random())
        if failed.final or again_at >= claimed.letter.expires_at:
            log.error("letter given up", letter=claimed.letter.kind, outcome=failed.outcome, attempt=claimed.attempt)
            self._here.metrics.letter_given_up()
            await ledger.maintain(letters.remove, claimed.letter_id)
            return
        log.warning("letter not sent", letter=claimed.letter.kind, outcome=failed.outcome, attempt=claimed.attempt)
        await ledger.maintain(letters.put_off, claimed, again_at)

    async def _send(self, claimed: ClaimedLetter) -> Failed | None:
        letter, settings = claimed.letter, self._here.settings
        if not letter.account_id or letter.expires_at <= self._here.ledger.clock.now():
            return None
        mail = await self._composed(claimed.letter_id, letter)
        if mail is None:
            return None
        if settings.mail == "smtp":
            return await hand_over(mail, self._server)
        if settings.mail == "file":
            folder = settings.data_dir / FOLDER
            folder.mkdir(mode=0o700, exist_ok=True)
            put_private(folder / f"{claimed.letter_id}.eml", mail.as_bytes())
        return None

    async def _composed(self, letter_id: str, letter: Letter) -> EmailMessage | None:
        """The letter in words; None for who has no address any more."""
        ledger, settings = self._here.ledger, self._here.settings
        person: account.State = await ledger.state(account.stream(letter.account_id))
        recipient = letter.to or await ledger.unseal(person.email)
        # Anyone who registers is nobody yet.
        if recipient is None or not (account.alive(person) or letter.kind == "registration"):
            return None
        spoken = language_of(letter.told.get("locale") or await ledger.unseal(person.claims.get("locale")))
        told = {
            "minutes": str(RECOVERY_LASTS // 60),
            "days": str(INVITATION_LASTS // 86_400),
            "hours": str(CONFIRMATION_LASTS // 3_600),
        }
        if letter.position is not None:
            told |= await ledger.read(_happened, ledger.privacy, letter.position, spoken)
        elif "moment" in letter.told:
            unknown = spoken.say(UNKNOWN)
            told |= {
                "at": spoken.moment(int(letter.told["moment"])),
                "address": letter.told["address"] or unknown,
                "agent": (letter.told["agent"] or unknown)[:LONGEST_AGENT],
            }
        told["providers"] = ", ".join(await titles(self._here, person))
        looks: branding.State = await ledger.state(branding.STREAM)
        name: Any = await ledger.unseal(person.name) or await ledger.unseal(person.username)
        return compose(
            letter.kind,
            spoken,
            Envelope(settings.issuer, settings.smtp_from, recipient, letter_id),
            ledger.clock.now(),
            name=name,
            link=self._link(letter, person),
            told={**letter.told, **told},
            look=looks.of(person.realm or letter.told.get("realm", "")),
        )

    def _link(self, letter: Letter, person: account.State) -> str:
        issuer = self._here.settings.issuer
        if letter.link is None or letter.kind not in LINKS:
            return f"{issuer}{RECOVER}?realm={person.realm}"
        return f"{issuer}{LINKS[letter.kind]}?link={letter.link}"


def _happened(connection: Connection, privacy: PersonalData, position: int, spoken: Language) -> dict[str, str]:
    """When, where from and with what it happened that a letter tells of."""
    recorded = recorded_at(connection, position)
    if recorded is None:
        raise AssertionError("a letter tells of what the log holds")
    unknown = spoken.say(UNKNOWN)
    address, agent = came_from(connection, privacy, recorded)
    return {
        "at": spoken.moment(recorded.time),
        "address": address or unknown,
        "agent": (agent or unknown)[:LONGEST_AGENT],
    }
