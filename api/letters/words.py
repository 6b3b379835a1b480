"""What letters to people say: in English, with `%(name)s` where something is filled in, and looked up in catalogues."""

from collections.abc import Mapping
from typing import NamedTuple

from api.languages import ENGLISH, LANGUAGES, Language, Words
from eventstore.pending.letters import LetterKind

LINKS: Mapping[LetterKind, str] = {
    "recovery": "/account/recover/password",
    "invitation": "/account/invitation",
}
"""Where the link of a letter leads on this server; the secret follows as `link`."""


class LetterText(NamedTuple):
    """One letter. `button` is what its link says, None where it has none."""

    subject: Words
    paragraphs: tuple[Words, ...]
    button: Words | None = None
    closing: tuple[Words, ...] = ()


GREETING = Words("Hello,")
GREETING_BY_NAME = Words("Hello %(name)s,")
WHY = Words("You get this letter because you have an account at %(issuer)s.")
"""What stands around every letter."""

LETTERS: Mapping[LetterKind, LetterText] = {
    "recovery": LetterText(
        Words("A new password"),
        (Words("Somebody, probably you, asked for a new password for your account at %(issuer)s."),),
        Words("Choose a new password"),
        (
            Words("The link is good for %(minutes)s minutes and once, and takes the place of any before."),
            Words("If it was not you, do nothing: your password stays as it is."),
        ),
    ),
    "invitation": LetterText(
        Words("Your account at %(host)s"),
        (Words("There is an account for you at %(issuer)s. To use it, choose a password."),),
        Words("Choose a password"),
        (Words("The link is good for %(days)s days and once. If you know nothing of it, do nothing."),),
    ),
}


def language_of(locale: str | None) -> Language:
    """The language for somebody with this locale (BCP 47, as in the claim `locale`)."""
    primary = (locale or "").replace("_", "-").partition("-")[0].lower()
    return LANGUAGES.get(primary, LANGUAGES[ENGLISH])
