"""What may become a password: nothing that is soon guessed, nothing too short to hold out or that cannot be hashed."""

from collections.abc import Iterable
from unicodedata import normalize
from urllib.parse import urlsplit

from api.problems import Invalid
from api.services import Services
from api.settings import Settings
from domain.rules.registration import REALMS
from eventstore.ledger import Ledger
from projections import clients
from security.password_strength import Weakness
from security.passwords import MAX_CHARACTERS, Unacceptable, unacceptable

_WORDS = {
    Unacceptable.TOO_LONG: f"must have at most {MAX_CHARACTERS} characters",
    Unacceptable.NOT_TEXT: "must be text",
}

_WHY = {
    Weakness.COMMON: "much of it is a password that many people have",
    Weakness.WORDS: "most of it is one common word",
    Weakness.NAMES: "most of it is one common name",
    Weakness.KNOWN: "most of it is a name of the person or of this server",
    Weakness.KEYBOARD: "it follows the keys of a keyboard",
    Weakness.REPEAT: "it repeats itself",
    Weakness.SEQUENCE: "it has characters in their order, like abc or 6543",
    Weakness.DATE: "it has a date or a year",
    Weakness.SHORT: "there is too little to it",
}
ADVICE = "Another uncommon word or two would make it a good one."

PLATFORM = ("grantlog", *REALMS)
"""Words of every installation, which are tried before others."""

DASHBOARDS = 20
"""Dashboards whose names count as known; there are two in an ordinary installation."""


def password_problem(password: str, minimum: int) -> str | None:
    """Why this may not become a password where `minimum` characters are asked for (NIST SP 800-63B §5.1.1.2)."""
    reason = unacceptable(password)
    if reason in _WORDS:
        return _WORDS[reason]
    if reason is not None or len(normalize("NFKC", password)) < minimum:
        return f"must have at least {minimum} characters"
    return None


def check_password(password: str, minimum: int, field: str = "password") -> None:
    """Raises Invalid, which never repeats the password."""
    if problem := password_problem(password, minimum):
        raise Invalid.field(field, problem)


async def check_strength(here: Services, password: str, names: Iterable[str | None], field: str = "password") -> None:
    """Raises Invalid for what is soon guessed of the person with these `names`; the hasher's Overloaded."""
    known = (*names, *await platform_words(here.ledger, here.settings))
    if (weakness := await here.strength.weakness(password, known)) is not None:
        raise Invalid.field(field, strength_problem(weakness))


def strength_problem(weakness: Weakness) -> str:
    """What is wrong with a password that is soon guessed, in words that say nothing of its characters."""
    return f"is too easy to guess: {_WHY[weakness]}. {ADVICE}"


async def platform_words(ledger: Ledger, settings: Settings) -> tuple[str, ...]:
    """What a guesser of this installation's passwords would try first: its host, realms and dashboards."""
    page = await ledger.read(clients.dashboards, limit=DASHBOARDS)
    named = [word for each in page.items for word in (each.slug, each.client_name) if word]
    return (*PLATFORM, urlsplit(settings.issuer).hostname or "", *named)
