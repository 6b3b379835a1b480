"""What is done to clients, dashboards among them: they are registered, changed, disabled and deleted."""

from msgspec import UNSET, UnsetType

from commands.callers import Caller
from domain import client
from domain.client import Registration
from domain.client_secret import NewSecret
from domain.decision import NotFound, Outcome, Refusal, malformed
from domain.grants import GRANTS
from domain.rules import registration as rules
from domain.rules.registration import Circumstances
from eventstore import present
from eventstore.command import Command
from eventstore.personal_data import PersonalData
from eventstore.view import View

NEEDED = ("client_name", "realm")
"""What a new dashboard cannot do without."""


def register(client_id: str, registration: Registration, *, issuer: str, by: Caller) -> Command[client.State]:
    """Registers a client (RFC 7591 §2), or with a slug a dashboard."""

    def decide(state: client.State, view: View) -> Outcome:
        taken = registration.slug is not None and view.look(present.dashboard_by_slug, registration.slug) is not None
        circumstances = _circumstances(view, registration.attributes, issuer, by, slug_taken=taken)
        return client.register(state, now=view.now, registration=registration, circumstances=circumstances)

    return Command(client.stream(client_id), decide)


def update(
    client_id: str,
    changes: client.Attributes,
    *,
    owner: str | None | UnsetType = UNSET,
    privacy: PersonalData,
    issuer: str,
    by: Caller,
) -> Command[client.State]:
    """Changes what is named and differs."""

    def decide(state: client.State, view: View) -> Outcome | Refusal:
        # What is sealed cannot be compared by the verb, and a repeat is to be no event.
        same = owner is not UNSET and owner == privacy.open(view.connection, state.owner)
        return gone(state) or client.update(
            state,
            now=view.now,
            changes=changes,
            owner=UNSET if same else owner,
            circumstances=_circumstances(view, changes, issuer, by),
        )

    return Command(client.stream(client_id), decide)


def put_dashboard(
    client_id: str, slug: str, attributes: client.Attributes, *, secret: NewSecret, issuer: str, by: Caller
) -> Command[client.State]:
    """Changes the dashboard of this slug, or makes it under this id and with this secret where there is none."""

    def existing(view: View) -> str | None:
        found = view.look(present.dashboard_by_slug, slug)
        return None if found is None else client.stream(found.client_id)

    def decide(state: client.State, view: View) -> Outcome:
        circumstances = _circumstances(view, attributes, issuer, by)
        if state.exists:
            return client.update(state, now=view.now, changes=attributes, circumstances=circumstances)
        for name in NEEDED:
            if getattr(attributes, name) is UNSET:
                return malformed(name, "is required of a new dashboard")
        registration = Registration(attributes=attributes, slug=slug, secret=secret)
        return client.register(state, now=view.now, registration=registration, circumstances=circumstances)

    return Command(client.stream(client_id), decide, elsewhere=existing)


def disable(client_id: str) -> Command[client.State]:
    """Ends every token so far, for good, and lets no new one be issued."""
    return Command(client.stream(client_id), lambda state, view: gone(state) or client.disable(state, now=view.now))


def enable(client_id: str, *, by: Caller) -> Command[client.State]:
    """Lets new tokens be issued; what was ended stays so."""
    return Command(
        client.stream(client_id),
        lambda state, view: gone(state) or client.enable(state, now=view.now, caller_scope=by(view)),
    )


def delete(client_id: str) -> Command[client.State]:
    """Ends a client for good, with every token."""
    return Command(client.stream(client_id), lambda state, view: gone(state) or client.delete(state, now=view.now))


def gone(state: client.State) -> Refusal | None:
    """The refusal of a command to a client that does not exist or is deleted."""
    return None if client.alive(state) else Refusal(NotFound.UNKNOWN, "There is no such client.")


def _circumstances(
    view: View, attributes: client.Attributes, issuer: str, by: Caller, *, slug_taken: bool = False
) -> Circumstances:
    asked = attributes.scope if isinstance(attributes.scope, tuple) else ()
    return Circumstances(
        caller_scope=by(view),
        known_scopes=view.look(present.existing_scopes, asked[: rules.SCOPES_MAXIMUM]),
        grant_types=GRANTS,
        issuer=issuer,
        slug_taken=slug_taken,
    )
