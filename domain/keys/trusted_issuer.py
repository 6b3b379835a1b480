"""Whose assertions are grants here (RFC 7521 §4.1, RFC 7523 §2.1): all of them in one stream, `trusted_issuer:all`."""

import re
from collections.abc import Container
from typing import Literal

import msgspec
from msgspec.structs import replace

from domain.decision import Conflict, NotFound, Outcome, accept, malformed, refuse
from domain.event import Event, Moment, Recorded
from domain.rules import administrative_scope, built_in_scope
from domain.rules.client_metadata import PublicKey

STREAM = "trusted_issuer:all"

ISSUERS_MAXIMUM = 50
ISSUER_MAXIMUM = 512
NAME_MAXIMUM = 64
SCOPES_MAXIMUM = 50
CLIENTS_MAXIMUM = 50
CLIENT_ID_MAXIMUM = 128

_NAME = re.compile(rf"[a-z0-9][a-z0-9._-]{{0,{NAME_MAXIMUM - 1}}}")
_ISSUER = re.compile(rf"[\x21-\x7e]{{1,{ISSUER_MAXIMUM}}}")
_CLIENT_ID = re.compile(rf"[\x21-\x7e]{{1,{CLIENT_ID_MAXIMUM}}}")

SubjectName = Literal["account_id", "username", "email"]
"""What `sub` of an assertion is to us."""


class Trusted(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What somebody is trusted with: which `jwks` sign for them, how they name people, the scope at most, and for which
    clients; none named is all that have the grant."""

    issuer: str
    jwks: tuple[PublicKey, ...]
    subject: SubjectName = "account_id"
    scope: tuple[str, ...]
    clients: tuple[str, ...] = ()


class IssuerTrusted(Event, frozen=True, kw_only=True):
    """Assertions of an issuer are grants from now on, or under other terms than before."""

    type = "trusted_issuer.trusted"

    name: str
    terms: Trusted


class IssuerDistrusted(Event, frozen=True, kw_only=True):
    """Assertions of an issuer are no grants any more."""

    type = "trusted_issuer.distrusted"
    in_doubt = True

    name: str


EVENTS: tuple[type[Event], ...] = (IssuerTrusted, IssuerDistrusted)


class State(msgspec.Struct, frozen=True):
    """Who is trusted, by the names that administrators gave."""

    issuers: dict[str, Trusted] = {}

    def named(self, issuer: str) -> tuple[str, Trusted] | None:
        """Whose assertions name this issuer, by their name here."""
        return next(((name, each) for name, each in self.issuers.items() if each.issuer == issuer), None)


INITIAL = State()


def put(state: State, *, now: Moment, name: str, terms: Trusted, known: Container[str], own: str) -> Outcome:
    """Trusts an issuer, or under other terms. `known` holds those of the scopes that exist, `own` is this server."""
    if not _NAME.fullmatch(name):
        return malformed("name", f"must have 1 to {NAME_MAXIMUM} lower-case letters, digits and inner . _ -")
    if refused := _problem(terms, known, own):
        return refused
    other = state.named(terms.issuer)
    if other is not None and other[0] != name:
        return refuse(Conflict.NAME_TAKEN, detail="this issuer is trusted under another name", field="issuer")
    if name not in state.issuers and len(state.issuers) >= ISSUERS_MAXIMUM:
        return malformed("name", f"at most {ISSUERS_MAXIMUM} issuers are trusted")
    return accept() if state.issuers.get(name) == terms else accept(IssuerTrusted(name=name, terms=terms))


def _problem(terms: Trusted, known: Container[str], own: str) -> Outcome | None:
    if not _ISSUER.fullmatch(terms.issuer) or terms.issuer == own:
        return malformed("issuer", f"must have 1 to {ISSUER_MAXIMUM} visible characters, and be another's")
    scope = terms.scope
    if (
        not 1 <= len(scope) <= SCOPES_MAXIMUM
        or len(set(scope)) != len(scope)
        or any(each not in known for each in scope)
    ):
        return malformed("scope", f"must name 1 to {SCOPES_MAXIMUM} scopes that exist, each once")
    never = (built_in_scope.ACCOUNT, built_in_scope.OFFLINE_ACCESS)
    if administrative_scope.administrative(scope) or not set(scope).isdisjoint(never):
        return malformed("scope", "must not name administrative scopes, account or offline_access")
    fitting = all(_CLIENT_ID.fullmatch(each) for each in terms.clients)
    if len(terms.clients) > CLIENTS_MAXIMUM or len(set(terms.clients)) != len(terms.clients) or not fitting:
        return malformed("clients", f"must name at most {CLIENTS_MAXIMUM} clients, each once")
    return None


def remove(state: State, *, now: Moment, name: str) -> Outcome:
    """Trusts an issuer no longer."""
    return accept(IssuerDistrusted(name=name)) if name in state.issuers else refuse(NotFound.UNKNOWN)


def evolve(state: State, recorded: Recorded) -> State:
    """Who is trusted after one more event."""
    match recorded.event:
        case IssuerTrusted(name=name, terms=terms):
            return replace(state, issuers=state.issuers | {name: terms})
        case IssuerDistrusted(name=name):
            return replace(state, issuers={other: each for other, each in state.issuers.items() if other != name})
        case _:
            raise AssertionError(f"{recorded.type} is no event of trusted issuers")
