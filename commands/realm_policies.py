"""What realms ask of their people beside a password; and with it, which realms there are."""

from commands.grants import known_scopes
from commands.permissions import CallerScope
from domain.decision import Outcome
from domain.factors import realm_policy
from domain.factors.realm_policy import Demand, RealmPolicy, SelfRegistration
from eventstore.command import Command
from eventstore.view import View


def put(
    name: str,
    *,
    second_factor: Demand | None = None,
    required_for: tuple[str, ...] | None = None,
    registration: SelfRegistration | None = None,
    by: CallerScope,
) -> Command[realm_policy.State]:
    """Sets a realm's policy, and makes the realm where there is none of the name. What is None stays as it is: anyone
    who opens a realm for registration does not mean to ask for fewer second factors."""

    def decide(state: realm_policy.State, view: View) -> Outcome:
        before = state.of(name)
        demand = second_factor or before.second_factor
        kept = before.required_for if demand == before.second_factor else ()
        terms = RealmPolicy(
            second_factor=demand,
            required_for=kept if required_for is None else required_for,
            registration=registration or before.registration,
        )
        known = known_scopes(view, terms.required_for[: realm_policy.SCOPES_MAXIMUM])
        return realm_policy.put(state, now=view.now, name=name, policy=terms, known_scopes=known, caller_scope=by(view))

    return Command(realm_policy.STREAM, decide)
