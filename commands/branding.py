"""How the pages of realms and dashboards look and speak."""

from collections.abc import Collection

from commands.permissions import CallerScope
from domain.decision import Outcome
from domain.people import branding
from domain.people.branding import BrandingTerms
from eventstore import present
from eventstore.command import Command
from eventstore.view import View


def put(target: str, terms: BrandingTerms, *, languages: Collection[str], by: CallerScope) -> Command[branding.State]:
    """Gives a realm, or the dashboard of this slug, this look; the server's own with no terms."""

    def decide(state: branding.State, view: View) -> Outcome:
        dashboard = view.look(present.dashboard_by_slug, target)
        return branding.put(
            state,
            now=view.now,
            target=target,
            branding=terms,
            realms=view.look(present.realms),
            dashboard_scope=None if dashboard is None else dashboard.scope,
            languages=languages,
            caller_scope=by(view),
        )

    return Command(branding.STREAM, decide)
