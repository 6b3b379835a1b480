"""What may become a password: nothing that is soon guessed, nothing too short to hold out or that cannot be hashed."""

from collections.abc import Iterable
from unicodedata import normalize
from urllib.parse import urlsplit

from domain.rules.registration import REALMS
from eventstore.ledger import Ledger
from projections import clients
from security.passwords import MAX_CHARACTERS, StrengthMeter, Unacceptable, Weakness, unacceptable

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


async def weakness_problem(
    password: str, names: Iterable[str | None], *, ledger: Ledger, issuer: str, strength: StrengthMeter
) -> str | None:
    """Why it would soon be guessed of the person with these `names`. Raises the meter's Overloaded."""
    weakness = await strength.weakness(password, (*names, *await platform_words(ledger, issuer)))
    return None if weakness is None else strength_problem(weakness)


def strength_problem(weakness: Weakness) -> str:
    """What is wrong with a password that is soon guessed, in words that say nothing of its characters."""
    return f"is too easy to guess: {_WHY[weakness]}. {ADVICE}"


async def platform_words(ledger: Ledger, issuer: str) -> tuple[str, ...]:
    """What a guesser of this installation's passwords would try first: its host, realms and dashboards."""
    page = await ledger.read(clients.dashboards, limit=DASHBOARDS)
    named = [word for each in page.items for word in (each.slug, each.client_name) if word]
    return (*PLATFORM, urlsplit(issuer).hostname or "", *named)
