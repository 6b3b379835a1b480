"""Which realms there are, and what each asks of its people's sign-ins."""

from api.services import Services
from domain.factors import realm_policy
from domain.factors.realm_policy import RealmPolicy
from eventstore.ledger import Ledger


async def policies(ledger: Ledger) -> realm_policy.State:
    """Of every realm, as of everything acknowledged before."""
    found: realm_policy.State = await ledger.state(realm_policy.STREAM)
    return found


async def policy_of(services: Services, realm: str) -> RealmPolicy:
    """Of one realm."""
    return (await policies(services.ledger)).of(realm)
