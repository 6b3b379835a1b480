"""What may become a password: nothing too short to hold out, nothing that cannot be hashed."""

from unicodedata import normalize

from api.problems import Invalid
from security.passwords import MAX_BYTES, Unacceptable, unacceptable

_WORDS = {
    Unacceptable.TOO_LONG: f"must have at most {MAX_BYTES} bytes in UTF-8",
    Unacceptable.NOT_TEXT: "must be text",
}


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
