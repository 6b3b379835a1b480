"""What holds for people: what they may be called, which roles they get, and that an administrator is always left."""

import re
import unicodedata
from collections.abc import Mapping, Sequence

from domain.decision import Conflict, Outcome, malformed, refuse
from domain.rules import administrative_scope

# Login names: an e-mail address or a username, compared after NFKC and case folding.

USERNAME_MAXIMUM = 64
EMAIL_MAXIMUM = 254
DISPLAY_NAME_MAXIMUM = 200

_BIDIRECTIONAL = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})

_SPECIAL = r'\s@()<>\[\]:;,\\"'
"""By which an address would hold a comment, a name, a list or a quotation (RFC 5322 §3.2.3)."""
_EMAIL = re.compile(rf"(?!.*=\?)[^{_SPECIAL}]{{1,64}}@[^{_SPECIAL}.]+(\.[^{_SPECIAL}.]+)*")


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
    # Anyone who reads it would see other letters in another order than those that are compared (UAX #9).
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
    """Why this is no e-mail address. Only the shape counts: one @, no blanks, no empty label (RFC 5321 §4.5.3.1), and
    nothing that would have mail to it go to another one: what was followed there would verify this one."""
    problem = text_problem(email, EMAIL_MAXIMUM)
    if problem:
        return problem
    form = canonical(email)
    if not _EMAIL.fullmatch(form) or any(unicodedata.category(character) == "Cf" for character in form):
        return "must be an e-mail address"
    return None


# People in a realm.

ROLES_MAXIMUM = 50

RoleScopes = Mapping[str, tuple[str, ...]]
"""Role → what it allows, for those of the roles in question that exist in the realm."""


def login_names(username: object | None, email: object | None) -> Outcome | None:
    """Refuses a person who could not say who they are."""
    return None if username or email else malformed("username", "a person needs a username or an e-mail address")


def names_taken(*, username: bool, email: bool) -> Outcome | None:
    """Refuses a login name that somebody else in the realm has."""
    if username or email:
        return refuse(Conflict.NAME_TAKEN, field="username" if username else "email")
    return None


def profile(*, username: str | None, email: str | None, name: str | None) -> Outcome | None:
    """Refuses names that cannot stand; None is nothing to check."""
    for field, problem in (
        ("username", username_problem(username) if username is not None else None),
        ("email", email_problem(email) if email is not None else None),
        ("name", text_problem(name, DISPLAY_NAME_MAXIMUM) if name is not None else None),
    ):
        if problem:
            return malformed(field, problem)
    return None


def roles(
    given: Sequence[str], *, before: Sequence[str], role_scopes: RoleScopes, caller_scope: frozenset[str]
) -> Outcome | None:
    """Refuses roles that do not exist, and new ones that allow an administrative scope which the caller lacks."""
    if len(given) > ROLES_MAXIMUM or len(set(given)) != len(given):
        return malformed("roles", f"must be at most {ROLES_MAXIMUM} roles, each once")
    unknown = [str(place) for place, role in enumerate(given, 1) if role not in role_scopes]
    if unknown:
        return malformed("roles", "names roles that do not exist in this realm, in place " + ", ".join(unknown[:10]))
    added = [role for role in given if role not in before]
    return acting_as(added, role_scopes=role_scopes, caller_scope=caller_scope, field="roles")


def acting_as(
    having: Sequence[str], *, role_scopes: RoleScopes, caller_scope: frozenset[str], field: str = "password"
) -> Outcome | None:
    """Refuses to open the way to these roles to a caller who lacks an administrative scope that they allow."""
    allowed = [scope for role in having for scope in role_scopes.get(role, ())]
    return administrative_scope.handing_out(allowed, caller_scope=caller_scope, field=field)


def makes_administrator(having: Sequence[str], role_scopes: RoleScopes) -> bool:
    """Whether somebody with these roles can make administrators."""
    return any(administrative_scope.PEOPLE_WRITE in role_scopes.get(role, ()) for role in having)


def last_administrator() -> Outcome:
    """The refusal to leave the server without an enabled administrator."""
    return refuse(Conflict.LAST_ADMINISTRATOR, detail="nobody would be left who can make administrators")
