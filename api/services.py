"""What every endpoint works with, put together once for a process, and what a start checks and records."""

from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from litestar.di import NamedDependency
from litestar.params import SkipValidationMarker

from api.config.settings import Settings, effective
from api.http.certificates import Certificates
from api.http.credential_cache import CredentialCache, DashboardSecrets
from api.http.fetched_documents import FetchedDocuments
from api.http.outgoing_requests import OutgoingRequests
from api.http.private_keys import PrivateKeys
from api.http.refusals import ClientRefusals
from api.http.request_context import header, request_context
from api.http.subjects import Subjects
from api.server.transparency import Transparency
from api.throttling.repeated_facts import RepeatedFacts
from api.throttling.throttle import Throttle
from api.throttling.windowed_counter import SecretUses, TokenUses
from commands import log_keys, servers
from domain import server
from domain.event import ANONYMOUS, Actor
from domain.grants.grant_type import Lifetimes
from domain.keys import mac_key
from domain.rules.origin import of_issuer
from eventstore.execution import Origin, Step
from eventstore.ledger import Ledger
from eventstore.may_write import key_problem, put_proof
from eventstore.projecting.catch_up import CatchUpSubscription
from eventstore.view import View
from security.keyring import Keyring, MasterKeyError
from security.masking import masking
from security.passwords import Hasher, StrengthMeter
from security.tokens import Format

if TYPE_CHECKING:
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
    credentials: CredentialCache
    repeated_facts: RepeatedFacts
    uses: SecretUses
    token_uses: TokenUses
    lifetimes: Lifetimes
    follower: CatchUpSubscription
    search_index: CatchUpSubscription
    sightings: CatchUpSubscription
    event_counts: CatchUpSubscription
    metrics: "Metrics"
    dashboard_secrets: DashboardSecrets
    transparency: Transparency
    private_keys: PrivateKeys
    outgoing: OutgoingRequests
    documents: FetchedDocuments
    certificates: Certificates
    subjects: Subjects
    refusals: ClientRefusals


def web_origin(services: Services) -> str:
    """What browsers send as `Origin` from pages of this server."""
    return of_issuer(services.settings.issuer)


def services_of(connection: Any) -> Services:
    """The services of the app that a request or an ASGI scope belongs to."""
    scope = connection if isinstance(connection, dict) else connection.scope
    found: Services | None = scope.get(SERVICES)
    if found is None:
        found = scope[SERVICES] = scope["litestar_app"].state.services
    return found


def is_of_process(connection: Any) -> bool:
    """Whether a request is to the settings' issuer, who may know of the process as a whole; no further one may."""
    chosen = connection.scope.get(SERVICES)
    return chosen is None or chosen is connection.app.state.services


def lifetimes(settings: Settings) -> Lifetimes:
    """The lifetimes of the settings, as decisions take them."""
    return Lifetimes(
        code=settings.code_lifetime,
        access=settings.access_token_lifetime,
        refresh_idle=settings.refresh_token_idle_lifetime,
        refresh_absolute=settings.refresh_token_absolute_lifetime,
        grace=settings.refresh_grace,
        dashboard_grace=settings.dashboard_refresh_grace,
        jwt=settings.jwt_access_token_lifetime,
    )


def origin(scope: Any, actor: Actor = ANONYMOUS, *, on_device: str | None = None) -> Origin:
    """Who asks and from where, for the events that a request causes."""
    arrived = request_context(scope)
    agent = header(scope, b"user-agent")
    if agent is not None:
        agent = masking(*services_of(scope).format.prefixes).text(agent)[:USER_AGENT_LONGEST]
    return Origin(actor, arrived.request_id, arrived.address, agent, on_device)


T = TypeVar("T")

Injected = NamedDependency[Annotated[T, SkipValidationMarker()]]
"""Marks a parameter of a handler that is given by its name: `ledger: Injected[Ledger]`. The names are in `api.app`.

A handler that names one pays 5 µs for it, and 0.1 ms for several, which the framework resolves as tasks beside each
other. So the hot endpoints (tokens, introspection, revocation, dashboards) read `services` themselves, as do the pages,
whose sessions need most of them.
"""

# What a start checks and records: that the master key is this vault's, and with which settings the server runs.

SYSTEM = Actor("system", None, {"user": "server"})


@cache
def running_version() -> str:
    """The version of Grantlog that was installed when this process first asked."""
    try:
        return version("grantlog")
    except PackageNotFoundError:
        return "unknown"


class IssuerChanged(Exception):
    """The server was told another issuer identifier than its log knows, and nobody has accepted that."""

    def __init__(self, former: str, issuer: str) -> None:
        super().__init__(
            f"the issuer is {issuer}, and this log is that of {former}: clients, tokens and dashboards know it so. "
            f"Put GRANTLOG_ISSUER right, or run: grantlog issuer accept {issuer}"
        )


def require_issuer(state: server.State, issuer: str) -> None:
    """Raises `IssuerChanged`."""
    if state.issuer not in (None, issuer):
        raise IssuerChanged(state.issuer or "", issuer)


def is_recorded(state: server.State, settings: Settings) -> bool:
    """Whether a start with these settings is in the log already, so that it takes no event."""
    return bool(state.settings == effective(settings)) and state.version == running_version()


async def record_start(services: Services, keyring: Keyring) -> None:
    """Proves the master key and records the start, once for each set of settings: workers alike are one fact. Raises
    `MasterKeyError` when the vault was made with another key, and `IssuerChanged`."""
    await log_keys.settle_mac_key(services.ledger, Origin(SYSTEM))
    keys: mac_key.State = await services.ledger.state(mac_key.STREAM)
    state: server.State = await services.ledger.state(server.STREAM)
    require_issuer(state, services.settings.issuer)
    if is_recorded(state, services.settings) and keys.active is not None:
        problem = await services.ledger.read(key_problem, services.ledger.vault, keyring)
        if problem:
            raise MasterKeyError(problem)
        return

    def prove(view: View, _: Any) -> None:
        problem = key_problem(view.connection, services.ledger.vault, keyring)
        if problem:
            raise MasterKeyError(problem)
        put_proof(view.connection, services.ledger.vault, keyring, view.now)

    started: list[Step] = [servers.start(running_version(), effective(services.settings))]
    if keys.active is None:
        started.append(log_keys.tell_of_first_mac_key(services.ledger.ring))
    await services.ledger.execute(*started, origin=Origin(SYSTEM), then=prove)
