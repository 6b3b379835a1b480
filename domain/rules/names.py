"""Login names: an e-mail address or a username, compared after NFKC and case folding."""

import re
import unicodedata

USERNAME_MAXIMUM = 64
EMAIL_MAXIMUM = 254
DISPLAY_NAME_MAXIMUM = 200

_BIDIRECTIONAL = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})

_EMAIL = re.compile(r"[^\s@]{1,64}@[^\s@.]+(\.[^\s@.]+)*")


def canonical(name: str) -> str:
    """The form under which two login names are one: Unicode's compatibility caseless match (D146), composed."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFD", name).casefold()).casefold()
    return unicodedata.normalize("NFKC", folded)


def text_problem(text: str, maximum: int) -> str | None:
    """Why `text` cannot stand where a person reads it: empty, too long, blank at an end, or with control characters."""
    if not text.strip():
        return "must not be empty"
    if len(text) > maximum:
        return f"must have at most {maximum} characters"
    if text != text.strip():
        return "must not begin or end with a blank"
    # Controls, surrogates and unassigned code points; format characters (Cf) stay, some scripts need them.
    if any(unicodedata.category(character) in ("Cc", "Cs", "Cn", "Zl", "Zp") for character in text):
        return "must not contain control characters"
    # Whoever reads it would see other letters in another order than those that are compared (UAX #9).
    if any(unicodedata.bidirectional(character) in _BIDIRECTIONAL for character in text):
        return "must not contain bidirectional controls"
    return None


def username_problem(username: str) -> str | None:
    """Why this is no username. The canonical form counts: a full-width @ folds to an ordinary one."""
    problem = text_problem(username, USERNAME_MAXIMUM)
    if problem:
        return problem
    form = canonical(username)
    if "@" in form:
        return "must not contain @"
    if any(character.isspace() or unicodedata.category(character) == "Cf" for character in form):
        return "must not contain blanks or invisible characters"
    return None


def email_problem(email: str) -> str | None:
    """Why this is no e-mail address. Only the shape counts: one @, no blanks, no empty label (RFC 5321 §4.5.3.1)."""
    problem = text_problem(email, EMAIL_MAXIMUM)
    if problem:
        return problem
    form = canonical(email)
    if not _EMAIL.fullmatch(form) or any(unicodedata.category(character) == "Cf" for character in form):
        return "must be an e-mail address"
    return None
