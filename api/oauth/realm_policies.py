"""Which realms there are, and what each asks of its people's sign-ins."""

from api.http.errors import HTTPError
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


class EnrolmentRequired(HTTPError):
    """Who may have this has no second factor yet, and first needs one. `enrol_url` is where people get it."""

    status = 403
    code = "enrolment_required"
    default = "A second factor is needed for this. Set one up first."

    def __init__(self, realm: str) -> None:
        super().__init__()
        self.enrol_url = "/account/factors" if realm == "platform" else f"/account/factors?realm={realm}"
