"""How the pages of realms and dashboards look and speak."""

from collections.abc import Collection

from commands.permissions import CallerScope
from domain.decision import Outcome
from domain.people import branding
from domain.people.branding import BrandingTerms
from eventstore import present
from eventstore.command import Command
from eventstore.view import View
from security.vault import Vault


def logo_name(target: str) -> str:
    """Names the logo of a realm or a dashboard in the vault."""
    return f"logo:{target}"


def put(
    target: str,
    terms: BrandingTerms,
    *,
    picture: bytes | None = None,
    languages: Collection[str],
    vault: Vault,
    by: CallerScope,
) -> Command[branding.State]:
    """Gives a realm, or the dashboard of this slug, this look; the server's own with no terms. `picture` is the logo of
    the terms where it is a new one."""

    def decide(state: branding.State, view: View) -> Outcome:
        dashboard = view.look(present.dashboard_by_slug, target)
        outcome = branding.put(
            state,
            now=view.now,
            target=target,
            branding=terms,
            realms=view.look(present.realms),
            dashboard_scope=None if dashboard is None else dashboard.scope,
            languages=languages,
            caller_scope=by(view),
        )
        if outcome.refusal is None and picture is not None:
            vault.put_secret(view.connection, logo_name(target), picture, view.now)
        elif outcome.refusal is None and terms.logo is None:
            vault.delete_secret(view.connection, logo_name(target))
        return outcome

    return Command(branding.STREAM, decide)
