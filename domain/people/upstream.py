"""OpenID providers at which people of a realm may sign in instead of by their password: all in one stream,
`upstream:all`.

Anyone who signs for one of them says who somebody is. What the realm asks for besides is asked here all the same.
"""

import re
from collections.abc import Container
from typing import Literal

import msgspec
from msgspec.structs import replace

from domain.decision import NotFound, Outcome, accept, malformed, refuse
from domain.event import Event, Moment, Recorded
from domain.rules import administrative_scope, people
from domain.rules.logout import web_problem

STREAM = "upstream:all"

UPSTREAMS_MAXIMUM = 10
"""Of a realm."""

NAME_MAXIMUM = 32
ISSUER_MAXIMUM = 512
CLIENT_ID_MAXIMUM = 256
SECRET_MAXIMUM = 512
TITLE_MAXIMUM = 64
SCOPES_MAXIMUM = 20
SCOPE_MAXIMUM = 64

ADMINISTRATION = "administration"
OPENID = "openid"

_NAME = re.compile(rf"[a-z0-9]([a-z0-9-]{{0,{NAME_MAXIMUM - 2}}}[a-z0-9])?")
_VISIBLE = re.compile(r"[\x21-\x7e]+")
_SCOPE = re.compile(rf"[\x21\x23-\x5b\x5d-\x7e]{{1,{SCOPE_MAXIMUM}}}")

UpstreamAuthentication = Literal["client_secret_basic", "client_secret_post", "none"]
"""How this server authenticates there (RFC 7591 §2)."""

Linking = Literal["verified_address", "administrator"]
"""Who says which account somebody has: they themselves, where both sides know their address to be theirs, or an
administrator alone."""


class UpstreamTerms(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A provider: its issuer identifier, and this server's registration there, whose secret is in the vault under
    `secret_id`. `title` is what people read on the button."""

    issuer: str
    client_id: str
    title: str
    scope: tuple[str, ...] = (OPENID, "email")
    token_endpoint_auth_method: UpstreamAuthentication = "client_secret_basic"  # noqa: S105 - a method
    secret_id: str | None = None
    linking: Linking = "verified_address"


class UpstreamConfigured(Event, frozen=True, kw_only=True):
    """People of a realm may sign in at another OpenID provider, or under other terms than before."""

    type = "upstream.configured"

    realm: str
    name: str
    terms: UpstreamTerms


class UpstreamRemoved(Event, frozen=True, kw_only=True):
    """Nobody of a realm signs in at this OpenID provider any more."""

    type = "upstream.removed"
    in_doubt = True

    realm: str
    name: str


EVENTS: tuple[type[Event], ...] = (UpstreamConfigured, UpstreamRemoved)


class State(msgspec.Struct, frozen=True):
    """The providers of each realm, by the names that administrators gave."""

    realms: dict[str, dict[str, UpstreamTerms]] = {}

    def of(self, realm: str) -> dict[str, UpstreamTerms]:
        """Those of one realm."""
        return self.realms.get(realm, {})

    def find(self, realm: str, name: str, issuer: str | None = None) -> UpstreamTerms | None:
        """One of them; with `issuer` only if it is still that one."""
        found = self.of(realm).get(name)
        return None if found is None or issuer not in (None, found.issuer) else found


INITIAL = State()


def put(
    state: State,
    *,
    now: Moment,
    realm: str,
    name: str,
    terms: UpstreamTerms,
    new_secret: bool,
    realms: Container[str],
    own: str,
    caller_scope: frozenset[str],
) -> Outcome:
    """Lets people of a realm sign in at a provider, or under other terms. `new_secret` says that one came along, `own`
    is this server. The provider of the administrators' realm could be any of them, so it is a matter of those who hold
    every administrative scope."""
    if realm not in realms:
        return refuse(NotFound.UNKNOWN)
    if refused := _may_not(realm, caller_scope):
        return refused
    before = state.find(realm, name)
    if refused := _name_problem(state, realm, name) or _problem(terms, realm, own):
        return refused
    if refused := _secret_problem(before, terms, new_secret=new_secret):
        return refused
    return accept() if before == terms else accept(UpstreamConfigured(realm=realm, name=name, terms=terms))


def _may_not(realm: str, caller_scope: frozenset[str]) -> Outcome | None:
    if realm != ADMINISTRATION:
        return None
    needed = administrative_scope.ADMINISTRATIVE_SCOPES
    return administrative_scope.handing_out(needed, caller_scope=caller_scope, field="realm")


def _name_problem(state: State, realm: str, name: str) -> Outcome | None:
    if not _NAME.fullmatch(name):
        return malformed("name", f"must have 1 to {NAME_MAXIMUM} lower-case letters, digits and inner hyphens")
    if name not in state.of(realm) and len(state.of(realm)) >= UPSTREAMS_MAXIMUM:
        return malformed("name", f"a realm has at most {UPSTREAMS_MAXIMUM} of them")
    return None


def _problem(terms: UpstreamTerms, realm: str, own: str) -> Outcome | None:
    if problem := web_problem(terms.issuer, ISSUER_MAXIMUM):
        return malformed("issuer", problem)
    if "?" in terms.issuer or "#" in terms.issuer or terms.issuer == own:
        return malformed("issuer", "must be another's, without a query (OpenID Connect Discovery §3)")
    if not _VISIBLE.fullmatch(terms.client_id) or len(terms.client_id) > CLIENT_ID_MAXIMUM:
        return malformed("client_id", f"must have 1 to {CLIENT_ID_MAXIMUM} visible characters")
    if problem := people.text_problem(terms.title, TITLE_MAXIMUM):
        return malformed("title", problem)
    scope = terms.scope
    fitting = all(_SCOPE.fullmatch(each) for each in scope) and len(set(scope)) == len(scope) <= SCOPES_MAXIMUM
    if OPENID not in scope or not fitting:
        return malformed("scope", f"must name openid and at most {SCOPES_MAXIMUM} scopes, each once")
    if realm == ADMINISTRATION and terms.linking != "administrator":
        return malformed("linking", "must be administrator in the realm of the administrators")
    return None


def _secret_problem(before: UpstreamTerms | None, terms: UpstreamTerms, *, new_secret: bool) -> Outcome | None:
    """A secret that was given for one provider is sent to no other."""
    method = terms.token_endpoint_auth_method
    if method == "none":
        return malformed("client_secret", "is not for none") if new_secret else None
    same = before is not None and (before.issuer, before.client_id) == (terms.issuer, terms.client_id)
    if not new_secret and not (same and terms.secret_id):
        return malformed("client_secret", "is missing: one that is kept is for the same issuer and client_id alone")
    return None


def remove(state: State, *, now: Moment, realm: str, name: str, caller_scope: frozenset[str]) -> Outcome:
    """Lets nobody sign in there any more; who is linked stays so, for when it is there again."""
    if state.find(realm, name) is None:
        return refuse(NotFound.UNKNOWN)
    return _may_not(realm, caller_scope) or accept(UpstreamRemoved(realm=realm, name=name))


def evolve(state: State, recorded: Recorded) -> State:
    """The providers after one more event."""
    match recorded.event:
        case UpstreamConfigured(realm=realm, name=name, terms=terms):
            return replace(state, realms=state.realms | {realm: state.of(realm) | {name: terms}})
        case UpstreamRemoved(realm=realm, name=name):
            left = {other: each for other, each in state.of(realm).items() if other != name}
            return replace(state, realms=state.realms | {realm: left})
        case _:
            raise AssertionError(f"{recorded.type} is no event of upstream providers")
