"""A link that was mailed to a person, when it leaked: whose it is, whether it is good, who used it, and its end.

No event issued it, see `eventstore.pending.mailed_links`: what is known of one that nobody used is forgotten within an
hour after it is over. What came of a used one stands in the person's stream.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from api.admin.bodies.members import time_or_null
from api.leaks.investigation import (
    InvestigatedSecret,
    InvestigationReader,
    MailedLinkRef,
    Report,
    Use,
    grouped,
    sealed_field,
)
from api.leaks.targets import Target
from commands.mailing import recovery
from domain import account
from domain.event import Moment, Recorded
from domain.incident import Leaked, Numbers
from eventstore import time_travel
from eventstore.database import Connection
from eventstore.ledger import Ledger
from eventstore.pending import mailed_links
from eventstore.pending.mailed_links import KnownLink, LinkPurpose, MailedLink
from eventstore.personal_data import PersonalData
from projections import accounts
from security.clock import format_rfc3339
from security.vault import Vault

KINDS: Mapping[LinkPurpose, str] = {"recovery": "password_reset", "invitation": "password_reset"}
"""What the secrets in links are called by the API, by what they are for; the others confirm an address."""

OTHERS = "email_confirmation"

State = Literal["active", "redeemed", "revoked", "expired", "person_disabled", "person_erased"]


class _Found(NamedTuple):
    known: KnownLink
    person: account.State
    uses: list[Recorded]

    def state(self, now: Moment) -> State:
        link, over_at = self.known.link, self.known.over_at
        if self.uses:
            return "redeemed"
        if self.person.exists and not self.person.enabled:
            return "person_disabled" if account.alive(self.person) else "person_erased"
        if now >= link.expires_at:
            return "expired"
        chooses = link.purpose in KINDS
        is_over = now >= over_at or (chooses and not recovery.is_current(link, self.person))
        return "revoked" if is_over else "active"


async def targets(ledger: Ledger, digests: Sequence[bytes]) -> list[Target]:
    """The targets of those of the digests that are links."""
    return await ledger.read(_targets, ledger.vault, digests)


def _targets(connection: Connection, vault: Vault, digests: Sequence[bytes]) -> list[Target]:
    found = mailed_links.known(connection, vault, digests)
    return [
        Target(
            "secret",
            account_id=_whose(connection, found[digest].link),
            leaked=(Leaked(digest.hex(), KINDS.get(found[digest].link.purpose, OTHERS)),),
            links=(digest,),
        )
        for digest in digests
        if digest in found
    ]


def _whose(connection: Connection, link: MailedLink) -> str | None:
    """The id of the person; None of one by which somebody registers who has not yet."""
    if link.purpose == "registration" and accounts.by_id(connection, link.account_id) is None:
        return None
    return link.account_id


async def answered(ledger: Ledger, asked: InvestigatedSecret) -> Report | None:
    """The answer about one link; None for what is none, or is forgotten."""
    return await ledger.read(_reported, ledger.vault, ledger.privacy, asked)


def _reported(connection: Connection, vault: Vault, privacy: PersonalData, asked: InvestigatedSecret) -> Report | None:
    known = mailed_links.known(connection, vault, (bytes.fromhex(asked.sha256),)).get(bytes.fromhex(asked.sha256))
    if known is None:
        return None
    link, stream = known.link, account.stream(known.link.account_id)
    person, _, told = time_travel.folded(connection, stream, asked.head)
    uses = [each for each in told if (each.actor.credential or {}).get("link_sha256") == asked.sha256]
    reader = InvestigationReader(connection, privacy, asked.personal)
    times = [each.time for each in uses]
    state = _Found(known, person, uses).state(asked.now)
    return Report(
        sha256=asked.sha256,
        kind=KINDS.get(link.purpose, OTHERS),
        state=state,
        account_id=link.account_id if person.exists else None,
        issued_at=format_rfc3339(known.made_at),
        expires_at=format_rfc3339(link.expires_at),
        first_used_at=time_or_null(min(times, default=None)),
        last_used_at=time_or_null(max(times, default=None)),
        addresses=grouped(_uses(reader, uses), personal=asked.personal),
        link=MailedLinkRef(link.purpose, person.realm if person.exists else link.told.get("realm")),
        containment=Numbers(secrets_ended=1, people_affected=int(person.exists)) if state == "active" else Numbers(),
    )


def _uses(reader: InvestigationReader, uses: Sequence[Recorded]) -> list[Use]:
    # All that one click caused is one use.
    first = {each.request_id: each for each in reversed(uses)}
    return [_use(reader, each) for each in first.values()]


def _use(reader: InvestigationReader, recorded: Recorded) -> Use:
    ip, agent = (reader.open(sealed_field(recorded, field)) for field in ("ip", "user_agent"))
    return Use(ip, agent, None, recorded.time, recorded.time, 1, 0)
