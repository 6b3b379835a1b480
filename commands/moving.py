"""Moving people and clients in from other systems: who is there already stays as they are."""

from typing import TypeVar

from msgspec.structs import replace

from commands import clients, people, permissions
from commands.people import PersonRegistration
from commands.permissions import CallerScope
from domain import account, client, role
from domain.client import Registration
from domain.decision import Outcome, Refusal, accept, malformed
from domain.moving import transfer
from eventstore import present
from eventstore.command import Command
from eventstore.issued import find
from eventstore.personal_data import PersonalData
from eventstore.present import TakenLogins
from eventstore.time_travel import exists
from eventstore.view import View

S = TypeVar("S")

TWO_PEOPLE = malformed("email", "is that of somebody else than who has the username")
SECRET_OF_ANOTHER = malformed("secret", "is another client's too")


def move_in(
    account_id: str, person: PersonRegistration, *, enabled: bool = True, privacy: PersonalData, by: CallerScope
) -> Command[account.State]:
    """Makes a person known, unless somebody has one of their login names: then they are there, and nothing changes."""
    registering = people.register(account_id, person, privacy=privacy, by=by, taken=TakenLogins(False, False))

    def decide(state: account.State, view: View) -> Outcome | Refusal:
        there = view.look(present.ids_by_logins, privacy, person.realm, person.username, person.email)
        if len(there) > 1:
            return TWO_PEOPLE
        if there:
            return accept()
        outcome = registering.decide(state, view)
        if enabled or not isinstance(outcome, Outcome) or outcome.refusal is not None:
            return outcome
        return replace(outcome, events=(*outcome.events, account.AccountDisabled()))

    return Command(account.stream(account_id), decide, starts=True)


def move_client_in(
    client_id: str, registration: Registration, *, enabled: bool = True, issuer: str, by: CallerScope
) -> Command[client.State]:
    """Registers a client under the id that it has, unless there is one of that id: then it is there."""
    registering = clients.register(client_id, registration, issuer=issuer, by=by)

    def decide(state: client.State, view: View) -> Outcome | Refusal:
        if state.exists:
            return accept()
        secret = registration.secret
        if secret is not None and view.query(find, bytes.fromhex(secret.sha256)) is not None:
            return SECRET_OF_ANOTHER
        outcome = registering.decide(state, view)
        if enabled or not isinstance(outcome, Outcome) or outcome.refusal is not None:
            return outcome
        return replace(outcome, events=(*outcome.events, client.ClientDisabled()))

    return Command(client.stream(client_id), decide)


def move_role_in(realm: str, name: str, *, by: CallerScope) -> Command[role.State]:
    """Defines a role that allows nothing yet, unless there is one of that name: then it is there."""
    putting = permissions.put_role(realm, name, scopes_allowed=(), default=False, by=by)
    return replace(putting, decide=lambda state, view: accept() if state.exists else putting.decide(state, view))


def once_more(command: Command[S]) -> Command[S]:
    """The same command, which may have been carried out already: its stream is looked at, though its id was new."""
    return replace(command, starts=False)


def rehearsed(command: Command[S]) -> Command[S]:
    """The same command, which records nothing; what would come of it is the `result` of its outcome."""

    def decide(state: S, view: View) -> Outcome:
        return accept(result=command.decide(state, view))

    return replace(command, decide=decide)


def record(transfer_id: str, transferred: transfer.Imported | transfer.Exported) -> Command[transfer.State]:
    """Tells of a whole transfer, once."""
    stream = transfer.stream(transfer_id)

    def decide(state: transfer.State, view: View) -> Outcome:
        told = view.query(exists, stream)
        return accept() if told else transfer.record(state, now=view.now, transferred=transferred)

    return Command(stream, decide)
