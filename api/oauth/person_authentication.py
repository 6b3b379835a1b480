"""Verifying a person by login name and password, alike for dashboards and for the server's own pages.

Unknown user, wrong password, wrong realm and disabled person are told apart in the log alone: the answer is the same,
and it takes the same time.
"""

import asyncio
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import NamedTuple

from api.http.errors import HTTPError
from api.services import Services
from api.throttling import limits
from api.throttling.admission import Typed, admitted, forgive
from api.throttling.repeated_facts import Make
from commands import counted
from commands.people import rehash_password
from domain import account, realm
from domain.event import Sealed
from domain.factors import realm_policy
from domain.factors.realm_policy import RealmPolicy
from domain.people.upstream_link import UpstreamProof
from domain.rules import people
from eventstore import present
from eventstore.execution import Origin
from eventstore.ledger import Ledger
from eventstore.unavailable import DatabaseAway, LedgerOverloaded
from security.fair_queue import Asker
from security.mac import normalise
from security.passwords import HasherOverloaded

LONGEST_NAME = people.EMAIL_MAXIMUM

REFUSED_AFTER = 0.05
"""Seconds between a failed check and its answer, during which the failure is recorded. The first one under a name has
to reach the disk, and further ones do not: without this, time would tell which names others have tried."""


class WrongCredentials(Exception):
    """The person is not who they say, or may not sign in here."""


@dataclass(frozen=True, slots=True)
class Verified:
    """Who it is. `password` is the event with the hash that was verified, to be compared again under the lock; None
    where a passkey took its place, or what another provider says, the `upstream`."""

    account: account.State
    password: str | None
    upstream: UpstreamProof | None = None


class KnownDevice(NamedTuple):
    """A device on which a name was typed with its right password, when the log had come to that position."""

    id: str
    position: int


async def verify(
    services: Services, realm_name: str, name: str, password: str, origin: Origin, device: KnownDevice | None = None
) -> Verified:
    """The person of this realm whose password it is. Raises `WrongCredentials`, `Wait`, and `HasherOverloaded`.

    `name` is a username or an e-mail address, `device` one that is known for it, until the person has another password;
    failures become facts, grouped by what was typed and by address.
    """
    # In the very form under which people are found, so that no spelling of a name counts anew.
    typed = Typed(realm_name, normalise(name[:LONGEST_NAME]), origin.ip)
    find = partial(_find, services, realm_name, name)
    found = None
    if device is not None:
        # Once for both: what is decided by it is asked again under the lock.
        found = await find()
        if found.found is not None and found.found.password_cutoff > device.position:
            device = None
    device_id = None if device is None else device.id
    attempt = await admitted(services.throttle, services.ledger, typed, find, device_id)
    asker = Asker(limits.group(origin.ip), f"{realm_name} {typed.name}")
    try:
        login = await find() if found is None else found
        state = login.found
        kept = None if state is None else state.password_hash
        stored = login.encoded if kept else None
        result = await services.hasher.verify(stored, password, asker, like=login.encoded, dearest=login.dearest)
    except (DatabaseAway, LedgerOverloaded, HasherOverloaded):
        # Nobody has judged the password, so it was not a wrong one.
        attempt.take_back()
        raise
    except BaseException:
        # Anyone who goes away gains nothing by it.
        attempt.failed()
        raise
    verified = kept.event_id if result.ok and kept is not None else None
    reason = None if state is None else account.failure(state, realm=realm_name, verified=verified)
    if state is None or reason is not None or kept is None:
        attempt.failed()
        services.metrics.facts.sign_in_failed()
        await asyncio.gather(_record(services, typed, state, reason, origin), asyncio.sleep(REFUSED_AFTER))
        raise WrongCredentials
    attempt.succeeded()
    beside = state.username if _field_of(name) == "email" else state.email
    await forgive(services.throttle, services.ledger, typed, beside)
    renewed = await _rehash(services, state, kept, password, origin, asker) if result.needs_rehash else None
    return Verified(state, renewed or kept.event_id)


async def _find(services: Services, realm_name: str, name: str) -> present.LoginCheck:
    """Whose name it is, and whose password hash the check is to cost as much as.

    What a stored hash costs depends on the settings of its day. A name that nobody has costs what that of some person
    does, and always the same one's: neither is there more to do for it, nor less.
    """
    privacy, looked_for = services.ledger.privacy, name[:LONGEST_NAME]
    login = await services.ledger.look(present.login_check, privacy, _field_of(name), realm_name, looked_for)
    return login if len(name) <= LONGEST_NAME else login._replace(found=None)


def _field_of(name: str) -> present.Login:
    # A full-width @ folds to an ordinary one, so the folded form decides which kind of name it is.
    return "email" if "@" in people.canonical(name[:LONGEST_NAME]) else "username"


async def _record(
    services: Services,
    typed: Typed,
    state: account.State | None,
    reason: account.AccountFailure | None,
    origin: Origin,
) -> None:
    """By the name that was typed and not by the person: of a second name there is as much to be seen as of nobody's."""
    stream = realm.stream(typed.realm)
    if state is None or reason is None:
        make: Make = partial(counted.unknown_user, typed.realm)
    else:
        make = partial(counted.failed_sign_in, state.account_id, reason)
    rest = partial(counted.failed_sign_ins, typed.realm)
    # What was typed may be a password, and is not kept.
    name = sha256(typed.name.encode("utf-8", "surrogatepass")).hexdigest()
    await services.repeated_facts.note_named(stream, name, make, rest, origin)


async def note_failure(services: Services, account_id: str, reason: account.AccountFailure, origin: Origin) -> None:
    """Records that a sign-in of a known person failed: the first time at once, further ones from there as a count."""
    services.metrics.facts.sign_in_failed()
    make = partial(counted.failed_sign_in, account_id, reason)
    await services.repeated_facts.note(account.stream(account_id), reason, make, origin)


async def _rehash(
    services: Services, state: account.State, kept: Sealed, password: str, origin: Origin, asker: Asker
) -> str | None:
    """Keeps the same password as argon2id with the parameters now in force; the event with its present hash.

    None when the password has been changed meanwhile: the one that was verified is none any more, and anyone who
    compares it under the lock must see that.
    """
    encoded = await services.hasher.rehash(password, asker)
    executed = await services.ledger.execute(rehash_password(state.account_id, encoded, kept.event_id), origin=origin)
    if executed.recorded:
        return executed.recorded[0].id
    # Somebody was faster: with the same, signing in at the same time, or with another password.
    fresh: account.State = await services.ledger.state(account.stream(state.account_id))
    if fresh.password_hash is None or fresh.password_cutoff != state.password_cutoff:
        return None
    return fresh.password_hash.event_id


# Which realms there are, and what each asks of its people's sign-ins.


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
