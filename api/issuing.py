"""Issuing tokens: mints them, decides under the lock, and gives what was issued after the commit."""

from typing import Any, NamedTuple

from api.answers import Scope
from api.credential_memory import Caller
from api.oauth_errors import from_refusal
from api.refused_grants import told
from api.services import Services, origin
from api.throttling.tokens import Counted
from commands.grant_context import parties, suspended
from domain import client
from domain.decision import Reason, Refusal
from domain.event import Actor
from domain.grant import names_of
from domain.grants.facts import Credential, GrantType, Issued, Minted, Request, Subject
from domain.refusal import InvalidGrant
from domain.rules import caller as rules
from eventstore.commands import Command
from eventstore.present.grants import OfGrant
from eventstore.present.tokens import judge
from eventstore.view import View
from security.ids import ordered_id
from security.tokens import Kind, Secret


class Tokens(NamedTuple):
    """What a token request was given. `refresh` is None where the client may have none."""

    issued: Issued
    access: Secret
    refresh: Secret | None


def token_answer(given: Tokens, *, refresh_too: bool) -> dict[str, Any]:
    """The members of a token answer (RFC 6749 §5.1)."""
    members = {
        "access_token": given.access.reveal(),
        "token_type": "Bearer",
        "expires_in": given.issued.expires_in,
        "scope": " ".join(given.issued.scope),
    }
    if refresh_too and given.refresh is not None:
        members["refresh_token"] = given.refresh.reveal()
    return members


async def execute(
    here: Services,
    scope: Scope,
    caller: Caller,
    grant: GrantType,
    request: Request,
    account_id: str | None,
) -> Tokens:
    """Carries out a token request. `account_id` is the person whose password was verified, for the password grant.

    Raises the OAuth error of a refusal, whose events are committed all the same.
    """
    facts: dict[str, Any] = {"request": request, "lifetimes": here.lifetimes}
    credential = grant.credential
    presented = None if credential is None else bytes.fromhex(request.presented or "")
    goes_on = credential is not None and not credential.of_another
    actor = caller.actor if account_id is None else _person(account_id, caller)
    access = here.format.mint(Kind.ACCESS_TOKEN)
    refresh = None
    if goes_on or "refresh_token" in caller.client.grant_types:
        refresh = here.format.mint(Kind.REFRESH_TOKEN)
    facts["minted"] = Minted(access.hex, None if refresh is None else refresh.hex)

    counted = Counted(here, caller)
    if not goes_on and account_id is None:
        await counted.for_itself(origin(scope, actor))

    def under_lock(view: View) -> "dict[str, Any] | Refusal":
        person, subject = account_id, None
        if credential is not None and presented is not None:
            found = _presented(view, credential, presented)
            if found is None:
                # Whoever may not use this grant at all is told that, whatever they present (RFC 6749 §5.2).
                asking = view.state(client.stream(caller.client.client_id))
                admitted = rules.admitted(asking, caller.secret_id, grant.grant_type, view.now)
                return Refusal(admitted if isinstance(admitted, Reason) else InvalidGrant.UNKNOWN)
            person = found.account_id
            subject = found if isinstance(found, Subject) else None
        if person is not None:
            counted.for_person(person)
        return suspended(view) or {
            "parties": parties(
                view,
                client_id=caller.client.client_id,
                secret_id=caller.secret_id,
                account_id=person,
                asked=request.scope,
                issuer=here.settings.issuer,
                with_consent=goes_on,
                subject=subject,
            )
        }

    # Only what starts a grant, or presents nothing that was ever issued, is about the grant of this id.
    stream = f"grant:{ordered_id(here.ledger.clock.now())}"
    with counted:
        executed = await here.ledger.execute(
            Command(
                stream, grant.issue, facts, under_lock, starts=not goes_on, presented=presented if goes_on else None
            ),
            origin=origin(scope, actor, on_device=caller.client.on_device),
        )
        if executed.refusal is not None:
            if caller.secret_id is None:
                raise from_refusal(executed.refusal)
            raise told(executed.refusal, request, credential, caller.client.scope)
    issued: Issued = executed.outcomes[-1].result
    return Tokens(issued, access, refresh if issued.refresh else None)


def _presented(view: View, credential: Credential, digest: bytes) -> OfGrant | Subject | None:
    """What was stored under the digest; None where that is nothing, or something else than the grant type redeems."""
    if not credential.of_another:
        found = view.grant_of(digest)
        return found if found is not None and found.kind == credential.kind else None
    judged = view.look(judge, (digest,)).get(digest)
    if judged is None or judged.issued.kind != credential.kind:
        return None
    by: Any = judged.issued.by.event
    return Subject(judged.standing, by.client_id, by.account_id, names_of(by.scope))


def _person(account_id: str, caller: Caller) -> Actor:
    """A person who signs in through a dashboard: they act with their password, the dashboard with its secret."""
    credential = {"client_id": caller.client.client_id}
    if caller.secret_id is not None:
        credential["secret_id"] = caller.secret_id
    return Actor("person", account_id, credential)
