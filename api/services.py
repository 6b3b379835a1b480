"""What every endpoint works with, put together once for a process."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from api.answers import header
from api.arrival import arrival
from api.credential_memory import CredentialMemory
from api.dashboards.secret import DashboardSecrets
from api.masking import masking
from api.settings import Settings
from api.tallies import Tallies
from api.throttle import Throttle
from api.token_uses import TokenUses
from api.transparency.keeping import Transparency
from api.uses import Uses
from domain.event import ANONYMOUS, Actor
from domain.grants.facts import Lifetimes
from eventstore.commands import Origin
from eventstore.following import Follower
from eventstore.ledger import Ledger
from security.keyring import Keyring
from security.password_strength import StrengthMeter
from security.passwords import Hasher
from security.tokens import Format

if TYPE_CHECKING:
    # Its library may be loaded only once the workers' directory is named, and the command line loads this page earlier.
    from api.measures import Metrics

USER_AGENT_LONGEST = 256
SERVICES = "grantlog.services"
"""Where a request's scope holds what `services` found."""


@dataclass(frozen=True, slots=True)
class Services:
    """The parts; everything that lives as long as the process."""

    settings: Settings
    ledger: Ledger
    keyring: Keyring
    format: Format
    hasher: Hasher
    strength: StrengthMeter
    throttle: Throttle
    credentials: CredentialMemory
    tallies: Tallies
    uses: Uses
    token_uses: TokenUses
    lifetimes: Lifetimes
    follower: Follower
    search_index: Follower
    sightings: Follower
    metrics: "Metrics"
    dashboard_secrets: DashboardSecrets
    transparency: Transparency


def services(connection: Any) -> Services:
    """The services of the app that a request or an ASGI scope belongs to."""
    scope = connection if isinstance(connection, dict) else connection.scope
    found: Services | None = scope.get(SERVICES)
    if found is None:
        found = scope[SERVICES] = scope["litestar_app"].state.services
    return found


def lifetimes(settings: Settings) -> Lifetimes:
    """The lifetimes of the settings, as decisions take them."""
    return Lifetimes(
        code=settings.code_lifetime,
        access=settings.access_token_lifetime,
        refresh_idle=settings.refresh_token_idle_lifetime,
        refresh_absolute=settings.refresh_token_absolute_lifetime,
        grace=settings.refresh_grace,
        dashboard_grace=settings.dashboard_refresh_grace,
    )


def origin(scope: Any, actor: Actor = ANONYMOUS, *, on_device: str | None = None) -> Origin:
    """Who asks and from where, for the events that a request causes."""
    arrived = arrival(scope)
    agent = header(scope, b"user-agent")
    if agent is not None:
        agent = masking(*services(scope).format.prefixes).text(agent)[:USER_AGENT_LONGEST]
    return Origin(actor, arrived.request_id, arrived.address, agent, on_device)
