"""What each realm asks of its people beside their password, all in one stream, `realm_policy:all`.

A realm beyond the two of every installation comes to be with its first policy.
"""

import re
from collections.abc import Collection, Container, Sequence
from typing import Literal

import msgspec
from msgspec.structs import replace

from domain.decision import FactorRefused, Outcome, accept, malformed
from domain.event import Event, Moment, Recorded
from domain.factors.second_factor import Factors
from domain.rules import administrative_scope
from domain.rules.registration import REALMS

STREAM = "realm_policy:all"

REALMS_MAXIMUM = 50
NAME_MAXIMUM = 32
SCOPES_MAXIMUM = 50

_NAME = re.compile(rf"[a-z]([a-z0-9-]{{0,{NAME_MAXIMUM - 2}}}[a-z0-9])?")
_RESERVED = frozenset(("all", "proved"))
"""The name of everybody's session cookie has its realm in it, and these are other cookies and streams."""

Demand = Literal["off", "optional", "required", "required_for"]
"""Nobody is asked; who has a factor is; everybody is; everybody is who would get one of some scopes."""


SelfRegistration = Literal["off", "invitation", "open"]
"""Whether people may register themselves: not at all, by invitation alone, or anyone who reads the mail of an
address."""


class RealmPolicy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who is asked for a second factor; `required_for` names the scopes that nobody gets without. `registration` says
    whether people may register themselves."""

    second_factor: Demand = "optional"
    required_for: tuple[str, ...] = ()
    registration: SelfRegistration = "off"

    def asks(self, factors: Factors) -> bool:
        """Whether somebody with these factors is asked for one at every sign-in."""
        return factors.enrolled and self.second_factor != "off"

    def demands(self, scope: Collection[str]) -> bool:
        """Whether nobody gets this scope by the password alone."""
        if self.second_factor == "required_for":
            return not set(scope).isdisjoint(self.required_for)
        return self.second_factor == "required"

    def lacking(self, factors: Factors, amr: Sequence[str], scope: Collection[str]) -> FactorRefused | None:
        """What a sign-in by the methods `amr` lacks for this scope: a factor to be shown, or first to be enrolled."""
        if "mfa" in amr or not self.demands(scope):
            return None
        return FactorRefused.MISSING if factors.enrolled else FactorRefused.ENROLMENT


class RealmPolicyChanged(Event, frozen=True, kw_only=True):
    """People of a realm are asked for second factors, or may register themselves, in another way.

    With `old` null the realm came to be with it.
    """

    type = "realm_policy.changed"

    name: str
    old: RealmPolicy | None
    new: RealmPolicy


EVENTS: tuple[type[Event], ...] = (RealmPolicyChanged,)


class State(msgspec.Struct, frozen=True):
    """The policies that were ever set, by realm."""

    policies: dict[str, RealmPolicy] = {}

    @property
    def realms(self) -> tuple[str, ...]:
        """Every realm there is: the two of every installation, then others by name."""
        return (*REALMS, *sorted(self.policies.keys() - set(REALMS)))

    def of(self, realm: str) -> RealmPolicy:
        """What holds in a realm."""
        return self.policies.get(realm, OPTIONAL)


OPTIONAL = RealmPolicy()
INITIAL = State()


def put(
    state: State,
    *,
    now: Moment,
    name: str,
    policy: RealmPolicy,
    known_scopes: Container[str],
    caller_scope: frozenset[str],
) -> Outcome:
    """Sets a realm's policy, and makes the realm where there is none of the name.

    That of the realm `administration` is a matter of those who could make administrators.
    """
    if name not in state.realms:
        if not _NAME.fullmatch(name) or name in _RESERVED:
            return malformed("name", f"must have 1 to {NAME_MAXIMUM} lower-case letters, digits and inner hyphens")
        if len(state.realms) >= REALMS_MAXIMUM:
            return malformed("name", f"there are {REALMS_MAXIMUM} realms, and can be no more")
    if name == "administration":
        refused = administrative_scope.handing_out(
            (administrative_scope.PEOPLE_WRITE,), caller_scope=caller_scope, field="name"
        )
        if refused is not None:
            return refused
        if policy.registration == "open":
            return malformed("registration", "must not be open in the realm of the administrators")
    if refused := _problem(policy, state.of(name), known_scopes):
        return refused
    old = state.policies.get(name, OPTIONAL if name in REALMS else None)
    return accept() if old == policy else accept(RealmPolicyChanged(name=name, old=old, new=policy))


def _problem(policy: RealmPolicy, before: RealmPolicy, known_scopes: Container[str]) -> Outcome | None:
    named = policy.required_for
    if (policy.second_factor == "required_for") != bool(named):
        return malformed("required_for", "must name scopes if second_factor is required_for, and none otherwise")
    unknown = any(each not in known_scopes and each not in before.required_for for each in named)
    if len(named) > SCOPES_MAXIMUM or len(set(named)) != len(named) or unknown:
        return malformed("required_for", f"must name at most {SCOPES_MAXIMUM} scopes that exist, each once")
    return None


def evolve(state: State, recorded: Recorded) -> State:
    """The policies after one more event."""
    match recorded.event:
        case RealmPolicyChanged(name=name, new=new):
            return replace(state, policies=state.policies | {name: new})
        case _:
            raise AssertionError(f"{recorded.type} is no event of realms' policies")
