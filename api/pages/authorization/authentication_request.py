"""The authentication request (OpenID Connect Core §3.1.2.1): what an authorization request wants of the sign-in."""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from api.http import bodies, errors
from api.http.errors import HTTPError
from api.languages import Words
from api.oauth.id_token_hint import read_hint
from api.oauth.person_authentication import LONGEST_NAME
from domain import session
from domain.event import SECOND, Moment
from domain.grants.authorization_code import RESPONSE_MODES
from domain.keys import signing_key

PROMPTS = ("none", "login", "consent", "select_account")
DISPLAYS = ("page", "popup", "touch", "wap")

NONCE_MAXIMUM = 1024
MAX_AGE_MAXIMUM = 999_999_999
_SECONDS = re.compile(r"[0-9]{1,9}")


class AuthenticationRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a request says of how, when and as whom the person is to sign in, and how its answer is to come.

    `subjects` are the names of whom it is to be about: by the hint, by the claims; two of them are nobody. `claims` are
    those that the client wants at userinfo, by name. `login_hint` is what may be typed already. `acrs` are the classes
    of sign-in that the client wants, and `essential` says that no other will do.
    """

    prompt: frozenset[str] = frozenset()
    max_age: int | None = None
    subjects: frozenset[str] = frozenset()
    login_hint: str = ""
    nonce: str | None = None
    claims: Mapping[str, Any] = {}
    response_mode: str = "query"
    acrs: tuple[str, ...] = ()
    essential: bool = False

    @property
    def silent(self) -> bool:
        """Whether it is to be answered at once, without any page."""
        return "none" in self.prompt

    @property
    def asks(self) -> bool:
        """Whether the person is to see who they are here and what they allow, whatever they allowed before."""
        return not self.prompt.isdisjoint(("consent", "select_account"))

    @property
    def again(self) -> bool:
        """Whether somebody who is signed in may have to sign in once more."""
        return "login" in self.prompt or self.max_age is not None or bool(self.subjects) or bool(self.acrs)

    def is_met(self, acr: str) -> bool:
        """Whether a sign-in of that class is one that the client wants. Two factors are as good as one."""
        better = acr == session.TWO_FACTORS and session.ACR in self.acrs
        return not self.acrs or acr in self.acrs or better

    def is_about(self, subject: str) -> bool:
        """Whether the client means the person whom it knows by this name, or nobody in particular."""
        return self.subjects <= {subject}

    def is_fresh(self, proved_at: Moment, now: Moment) -> bool:
        """Whether a sign-in at that moment is one that the client is content with."""
        # §3.1.2.1: 0 is as good as `login`, also within the microsecond.
        if "login" in self.prompt or self.max_age == 0:
            return False
        return self.max_age is None or now - proved_at <= self.max_age * SECOND


class _Claims(msgspec.Struct, frozen=True):
    """The `claims` parameter (§5.5): by each of the two places, what is wanted of each claim."""

    userinfo: dict[str, dict[str, Any] | None] | None = None
    id_token: dict[str, dict[str, Any] | None] | None = None


def read(
    given: Mapping[str, str], target: str, client_id: str, issuer: str, keys: signing_key.State
) -> tuple[AuthenticationRequest, HTTPError | None]:
    """What the parameters say, as far as they say anything, and the first fault of theirs.

    `target` is where the answer goes; `keys` tell whether an `id_token_hint` is one of ours.
    """
    claims, fault = _claims(given.get("claims"))
    wanted, essential = _acrs(claims)
    hinted = _hinted(given.get("id_token_hint"), client_id, issuer, keys)
    max_age = given.get("max_age", "")
    mode = given.get("response_mode", "query")
    asked = AuthenticationRequest(
        prompt=frozenset(given.get("prompt", "").split(" ")) & frozenset(PROMPTS),
        max_age=int(max_age) if _SECONDS.fullmatch(max_age) else None,
        subjects=frozenset(each for each in (hinted, _value(claims, "sub")) if each is not None),
        login_hint=given.get("login_hint", "")[:LONGEST_NAME],
        nonce=given.get("nonce"),
        claims=claims.userinfo or {},
        response_mode=mode if mode in RESPONSE_MODES and _can_post(target, mode) else "query",
        acrs=wanted or tuple(given.get("acr_values", "").split()),
        essential=essential,
    )
    faults = (*_faults(given, asked, target), fault, _unmet(wanted if essential else ()))
    if "id_token_hint" in given and hinted is None:
        faults = (errors.InvalidRequest("id_token_hint is not one of this server for this client."), *faults)
    return asked, next((each for each in faults if each is not None), None)


def _faults(given: Mapping[str, str], asked: AuthenticationRequest, target: str) -> Iterator[HTTPError]:
    prompt = [each for each in given.get("prompt", "").split(" ") if each]
    if not frozenset(prompt) <= frozenset(PROMPTS):
        yield errors.InvalidRequest(Words("prompt is of %(values)s.", values=", ".join(PROMPTS)))
    if asked.silent and len(prompt) > 1:
        yield errors.InvalidRequest("prompt is none together with others.")
    if "max_age" in given and asked.max_age is None:
        yield errors.InvalidRequest("max_age is no number of seconds.")
    if len(asked.nonce or "") > NONCE_MAXIMUM:
        yield errors.InvalidRequest(Words("nonce has more than %(maximum)s characters.", maximum=NONCE_MAXIMUM))
    mode = given.get("response_mode", "query")
    if mode not in RESPONSE_MODES:
        yield errors.InvalidRequest(Words("response_mode is of %(values)s.", values=", ".join(RESPONSE_MODES)))
    elif not _can_post(target, mode):
        yield errors.InvalidRequest("response_mode form_post is for web addresses.")


def _can_post(target: str, mode: str) -> bool:
    return not mode.startswith("form_post") or urlsplit(target).scheme in ("https", "http")


def _claims(text: str | None) -> tuple[_Claims, HTTPError | None]:
    if text is None:
        return _Claims(), None
    try:
        return msgspec.convert(bodies.read_json_object(text.encode()), _Claims), None
    except (HTTPError, msgspec.ValidationError):
        return _Claims(), errors.InvalidRequest("claims is not as OpenID Connect Core section 5.5 has it.")


def _value(claims: _Claims, name: str) -> str | None:
    # What is no text is the id of nobody: passed over, it would let anybody answer.
    found = ((claims.id_token or {}).get(name) or {}).get("value")
    return found if found is None or isinstance(found, str) else ""


def _acrs(claims: _Claims) -> tuple[tuple[str, ...], bool]:
    """The classes of which the sign-in is to be one, and whether it has to (§5.5.1.1); none where any will do."""
    acr = (claims.id_token or {}).get("acr") or {}
    listed = acr.get("values", acr.get("value"))
    values = listed if isinstance(listed, list) else [] if listed is None else [listed]
    # What is no text is the name of no class.
    wanted = tuple(each if isinstance(each, str) else "" for each in values)
    return wanted, bool(wanted) and acr.get("essential") is True


def _unmet(essential: tuple[str, ...]) -> HTTPError | None:
    """What is wrong where a class is essential that no sign-in here can have."""
    if essential and not any(each in session.ACRS for each in essential):
        return errors.UnmetAuthenticationRequirements()
    return None


def _hinted(hint: str | None, client_id: str, issuer: str, keys: signing_key.State) -> str | None:
    """Of whom a hint tells that was issued to the client; None for any other text."""
    found = None if hint is None else read_hint(hint, issuer, keys)
    return found.sub if found is not None and found.client_id == client_id else None
