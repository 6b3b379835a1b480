"""Tokens: what a grant type decides about a request for them, with everything that it decides by."""

from collections.abc import Callable

from commands.grant_context import parties, suspended
from domain import client, grant
from domain.decision import InvalidGrant, Outcome, Reason, Refusal
from domain.event import Moment
from domain.grants.grant_type import Credential, GrantType, Lifetimes, Minted, Request, Subject, admitted
from eventstore.command import Command
from eventstore.issued import judge
from eventstore.view import OfGrant, View
from security.ids import ordered_id


def issue(
    grant_type: GrantType,
    request: Request,
    minted: Minted,
    *,
    client_id: str,
    secret_id: str | None,
    account_id: str | None,
    at: Moment,
    issuer: str,
    lifetimes: Lifetimes,
    admit_person: Callable[[str], None],
) -> Command[grant.State]:
    """Issues tokens to a client that authenticated with this secret version, None for a public one.

    `account_id` is the person whose password was verified; where a credential tells whose grant it is, it is theirs.
    `admit_person` is told the person under the lock, and raises where they are given too many. `at` is about now.
    """
    credential = grant_type.credential
    presented = None if credential is None else bytes.fromhex(request.presented or "")
    goes_on = credential is not None and not credential.of_another

    def decide(state: grant.State, view: View) -> Outcome | Refusal:
        person, subject = account_id, None
        if credential is not None and presented is not None:
            found = _presented(view, credential, presented)
            if found is None:
                # Whoever may not use this grant at all is told that, whatever they present (RFC 6749 §5.2).
                asking = view.state(client.stream(client_id))
                found_secret = admitted(asking, secret_id, grant_type.grant_type, view.now)
                return Refusal(found_secret if isinstance(found_secret, Reason) else InvalidGrant.UNKNOWN)
            person = found.account_id
            subject = found if isinstance(found, Subject) else None
        if person is not None:
            admit_person(person)
        return suspended(view) or grant_type.issue(
            state,
            now=view.now,
            request=request,
            parties=parties(
                view,
                client_id=client_id,
                secret_id=secret_id,
                account_id=person,
                asked=request.scope,
                issuer=issuer,
                with_consent=goes_on,
                subject=subject,
            ),
            minted=minted,
            lifetimes=lifetimes,
        )

    # Only what starts a grant, or presents nothing that was ever issued, is about the grant of this id.
    return Command(f"grant:{ordered_id(at)}", decide, starts=not goes_on, presented=presented if goes_on else None)


def _presented(view: View, credential: Credential, digest: bytes) -> OfGrant | Subject | None:
    """What was stored under the digest; None where that is nothing, or something else than the grant type redeems."""
    if not credential.of_another:
        found = view.grant_of(digest)
        return found if found is not None and found.kind == credential.kind else None
    judged = view.look(judge, (digest,)).get(digest)
    if judged is None or judged.issued.kind != credential.kind:
        return None
    by = judged.issued.by.event
    if not isinstance(by, grant.TokensIssued | grant.TokensRefreshed | grant.CodeIssued):
        return None
    return Subject(judged.standing, by.client_id, by.account_id, grant.names_of(by.scope))
