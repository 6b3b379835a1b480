"""People who register themselves, where their realm lets them: a link is mailed, and followed to an account."""

from commands import people
from commands.people import PersonRegistration
from domain import account
from domain.decision import NotFound, Refusal, Unavailable
from domain.event import SECOND, Moment
from domain.factors import realm_policy
from domain.people.email_address import CONFIRMATION_LASTS
from eventstore.command import Command
from eventstore.database import Connection
from eventstore.pending import letters, mailed_links
from eventstore.pending.letters import Letter
from eventstore.pending.mailed_links import MailedLink
from eventstore.personal_data import PersonalData
from eventstore.view import View
from security.tokens import Secret, new_id
from security.vault import Vault


def ask_for_link(
    connection: Connection,
    vault: Vault,
    subject: bytes,
    known: account.State | None,
    secret: Secret,
    told: dict[str, str],
    now: Moment,
) -> Refusal | None:
    """Keeps a link and the letter with it for the address in `told`; where it is somebody's whom we know, the letter
    says so and the link is sent to nobody. After too many nothing is kept. A refusal where there is no room."""
    if mailed_links.is_full(connection, "registration", now):
        return Refusal(Unavailable.FULL)
    account_id, expires_at = new_id(), now + CONFIRMATION_LASTS * SECOND
    link = MailedLink("registration", account_id, expires_at, told=told)
    if mailed_links.put(connection, vault, secret.sha256, subject, link, now):
        letter = Letter("registration", account_id, expires_at, secret.reveal(), told["email"], told)
        if known is not None:
            letter = Letter("registered_already", known.account_id, expires_at)
        letters.put(connection, vault, new_id(), letter, now)
    return None


def register(
    link: MailedLink, username: str | None, password_hash: str, *, privacy: PersonalData
) -> Command[account.State]:
    """Makes the person known who followed the link, with their realm's default roles, as long as the realm is open."""
    realm = link.told["realm"]
    person = PersonRegistration(
        realm=realm,
        username=username,
        email=link.told["email"],
        password_hash=password_hash,
        claims={"email_verified": True},
    )

    def closed(view: View) -> Refusal | None:
        policies: realm_policy.State = view.state(realm_policy.STREAM)
        return None if policies.of(realm).registration == "open" else Refusal(NotFound.UNKNOWN)

    # Who comes by themselves gets nothing that somebody would have to vouch for.
    command = people.register(link.account_id, person, privacy=privacy, by=lambda view: frozenset())
    return command.guarded(closed)
