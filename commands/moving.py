"""Moving people and clients in from other systems: who is there already stays as they are."""

from msgspec.structs import replace

from commands import people
from commands.people import PersonRegistration
from commands.permissions import CallerScope
from domain import account
from domain.decision import Outcome, Refusal, accept, malformed
from domain.moving import transfer
from eventstore import present
from eventstore.command import Command
from eventstore.personal_data import PersonalData
from eventstore.present import TakenLogins
from eventstore.view import View


def move_in(
    account_id: str, person: PersonRegistration, *, enabled: bool = True, privacy: PersonalData, by: CallerScope
) -> Command[account.State]:
    """Makes a person known, unless somebody has one of their login names: then they are there, and nothing changes."""
    registering = people.register(account_id, person, privacy=privacy, by=by, taken=TakenLogins(False, False))

    def decide(state: account.State, view: View) -> Outcome | Refusal:
        there = view.look(present.ids_by_logins, privacy, person.realm, person.username, person.email)
        if len(there) > 1:
            return malformed("email", "is that of somebody else than who has the username")
        if there:
            return accept()
        outcome = registering.decide(state, view)
        if enabled or not isinstance(outcome, Outcome) or outcome.refusal is not None:
            return outcome
        return replace(outcome, events=(*outcome.events, account.AccountDisabled()))

    return Command(account.stream(account_id), decide, starts=True)


def rehearsed(command: Command[account.State]) -> Command[account.State]:
    """The same command, which records nothing; what would come of it is the `result` of its outcome."""

    def decide(state: account.State, view: View) -> Outcome:
        return accept(result=command.decide(state, view))

    return replace(command, decide=decide)


def record(transfer_id: str, transferred: transfer.Imported) -> Command[transfer.State]:
    """Tells of a whole transfer."""
    return Command(
        transfer.stream(transfer_id),
        lambda state, view: transfer.record(state, now=view.now, transferred=transferred),
    )
