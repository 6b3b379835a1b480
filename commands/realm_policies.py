"""What realms ask of their people beside a password; and with it, which realms there are."""

from msgspec.structs import replace

from commands.grants import known_scopes
from commands.permissions import CallerScope
from domain.decision import Outcome
from domain.factors import realm_policy
from domain.factors.realm_policy import RealmPolicy, SelfRegistration
from eventstore.command import Command
from eventstore.view import View


def put(
    name: str, policy: RealmPolicy, *, registration: SelfRegistration | None = None, by: CallerScope
) -> Command[realm_policy.State]:
    """Sets a realm's policy, and makes the realm where there is none of the name. Without a word on `registration` that
    stays as it is."""

    def decide(state: realm_policy.State, view: View) -> Outcome:
        terms = replace(policy, registration=registration or state.of(name).registration)
        known = known_scopes(view, policy.required_for[: realm_policy.SCOPES_MAXIMUM])
        return realm_policy.put(state, now=view.now, name=name, policy=terms, known_scopes=known, caller_scope=by(view))

    return Command(realm_policy.STREAM, decide)
