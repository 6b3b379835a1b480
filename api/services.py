"""What every endpoint works with, put together once for a process."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from api.config.settings import Settings
from api.dashboards.secret import DashboardSecrets
from api.http.request_context import header, request_context
from api.log.keeper import Transparency
from api.throttling.tallies import Tallies
from api.throttling.throttle import Throttle
from api.throttling.windowed_counter import SecretUses, TokenUses
from domain.event import ANONYMOUS, Actor
from domain.grants.grant_type import Lifetimes
from eventstore.execution import Origin
from eventstore.ledger import Ledger
from eventstore.projecting.catch_up import CatchUpSubscription
from security.keyring import Keyring
from security.masking import masking
from security.passwords import Hasher, StrengthMeter
from security.tokens import Format

if TYPE_CHECKING:
    from api.oauth.client_authentication import CredentialCache

    # Its library may be loaded only once the workers' directory is named, and the command line loads this page earlier.
    from api.server.metrics import Metrics

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
    credentials: "CredentialCache"
    tallies: Tallies
    uses: SecretUses
    token_uses: TokenUses
    lifetimes: Lifetimes
    follower: CatchUpSubscription
    search_index: CatchUpSubscription
    sightings: CatchUpSubscription
    metrics: "Metrics"
    dashboard_secrets: DashboardSecrets
    transparency: Transparency


def services_of(connection: Any) -> Services:
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
    arrived = request_context(scope)
    agent = header(scope, b"user-agent")
    if agent is not None:
        agent = masking(*services_of(scope).format.prefixes).text(agent)[:USER_AGENT_LONGEST]
    return Origin(actor, arrived.request_id, arrived.address, agent, on_device)
