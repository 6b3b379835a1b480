"""Other OpenID providers: which a realm has, who is linked to whom there, and sign-ins by what they say."""

import msgspec

from commands.people import UNKNOWN, acting_as, session_is_live
from commands.permissions import CallerScope
from domain import account, session
from domain.decision import AccessDenied, NotFound, Outcome, Refusal, accept
from domain.people import upstream, upstream_link
from domain.people.upstream import UpstreamTerms
from domain.people.upstream_link import UpstreamProof
from eventstore import present
from eventstore.command import Command
from eventstore.personal_data import PersonalData
from eventstore.view import Folds, View
from security.tokens import new_id
from security.vault import Vault

# Which there are.


def vault_name(realm: str, name: str) -> str:
    """Names the secret of this server at a provider in the vault."""
    return f"upstream:{realm}/{name}"


def put(
    realm: str, name: str, terms: UpstreamTerms, *, secret: str | None, issuer: str, vault: Vault, by: CallerScope
) -> Command[upstream.State]:
    """Lets people of a realm sign in at a provider. Without a `secret` the one that is kept stays, as far as it is for
    the same; `issuer` is this server."""
    secret_id = new_id()

    def decide(state: upstream.State, view: View) -> Outcome:
        before = state.find(realm, name)
        method = terms.token_endpoint_auth_method
        kept = None if before is None or method == "none" else before.secret_id
        outcome = upstream.put(
            state,
            now=view.now,
            realm=realm,
            name=name,
            terms=msgspec.structs.replace(terms, secret_id=kept if secret is None else secret_id),
            new_secret=secret is not None,
            realms=view.look(present.realms),
            own=issuer,
            caller_scope=by(view),
        )
        if outcome.refusal is None and outcome.events and secret is not None:
            vault.put_secret(view.connection, vault_name(realm, name), secret.encode(), view.now)
        return outcome

    return Command(upstream.STREAM, decide)


def remove(realm: str, name: str, *, vault: Vault, by: CallerScope) -> Command[upstream.State]:
    """Lets nobody of a realm sign in there any more, and forgets the secret."""

    def decide(state: upstream.State, view: View) -> Outcome:
        outcome = upstream.remove(state, now=view.now, realm=realm, name=name, caller_scope=by(view))
        if outcome.refusal is None:
            vault.delete_secret(view.connection, vault_name(realm, name))
        return outcome

    return Command(upstream.STREAM, decide)


# Who is linked to whom.


def link(account_id: str, name: str, sub: str, *, privacy: PersonalData, by: CallerScope) -> Command[account.State]:
    """An administrator links a person to who they are at a provider: anyone who is that one signs in as the person, so
    the administrator needs the administrative scopes that the person may have."""

    def decide(state: account.State, view: View) -> Outcome | Refusal:
        terms = _terms(view, state.realm, name)
        if not account.alive(state) or terms is None:
            return Refusal(NotFound.UNKNOWN, UNKNOWN if terms is not None else None)
        return acting_as(state, view, by) or _link(state, view, privacy, name, terms.issuer, sub)

    return Command(account.stream(account_id), decide)


def _link(state: account.State, view: View, privacy: PersonalData, name: str, issuer: str, sub: str) -> Outcome:
    other = view.look(present.person_by_upstream, privacy, state.realm, issuer, sub)
    return upstream_link.link(
        state.upstreams,
        now=view.now,
        realm=state.realm,
        upstream=name,
        issuer=issuer,
        sub=sub,
        is_same=view.look(present.is_linked, privacy, state, name, issuer, sub),
        taken=other is not None and other.account_id != state.account_id,
    )


def unlink(account_id: str, name: str, *, by: CallerScope | None) -> Command[account.State]:
    """Takes a link away. `by` is None when people do so themselves, which must leave them a way to sign in."""

    def decide(state: account.State, view: View) -> Outcome | Refusal:
        if not account.alive(state):
            return Refusal(NotFound.UNKNOWN, UNKNOWN)
        refused = None if by is None else acting_as(state, view, by)
        is_only_way = by is None and state.password_hash is None and not state.factors.passkeys
        return refused or upstream_link.unlink(state.upstreams, now=view.now, upstream=name, is_only_way=is_only_way)

    return Command(account.stream(account_id), decide)


def unlink_all(account_id: str) -> Command[account.State]:
    """Takes every link away that a person has: somebody else may have made them, or was them there."""

    def decide(state: account.State, view: View) -> Outcome | Refusal:
        return upstream_link.unlink_all(state.upstreams, now=view.now)

    return Command(account.stream(account_id), decide)


def _terms(view: View, realm: str, name: str) -> UpstreamTerms | None:
    providers: upstream.State = view.state(upstream.STREAM)
    return providers.find(realm, name)


# Signing in.


def candidate(folds: Folds, privacy: PersonalData, proof: UpstreamProof) -> account.State | None:
    """Who may link themselves by the address that a provider has verified: whose own address that is, verified here
    too. Else somebody could have registered it before its owner came."""
    if proof.email is None:
        return None
    person = present.person_by_login(folds, privacy, "email", proof.realm, proof.email)
    if person is None or not person.enabled:
        return None
    verified = privacy.open(folds.connection, person.claims.get("email_verified")) == "true"
    linked = upstream_link.named(person.upstreams, proof.upstream, proof.issuer)
    return person if verified and linked is None else None


def prove(account_id: str, proof: UpstreamProof, *, privacy: PersonalData) -> Command[account.State]:
    """The person proved at a provider who they are; where they said that they want to be linked, they are with this.
    Refused where the provider is no longer one of the realm's. The sign-in itself is the command that follows."""

    def decide(state: account.State, view: View) -> Outcome | Refusal:
        providers: upstream.State = view.state(upstream.STREAM)
        terms = providers.find(proof.realm, proof.upstream, proof.issuer)
        if terms is None or not account.alive(state) or state.realm != proof.realm:
            return Refusal(AccessDenied.ACCOUNT)
        told = (privacy, state, proof.upstream, proof.issuer, proof.sub)
        if view.look(present.is_linked, *told):
            return _verify(state.upstreams, view, proof)
        person = view.look(candidate, privacy, proof)
        if terms.linking != "verified_address" or person is None or person.account_id != account_id:
            return Refusal(AccessDenied.ACCOUNT)
        linked = _link(state, view, privacy, proof.upstream, proof.issuer, proof.sub)
        if linked.refusal is not None:
            return Refusal(AccessDenied.ACCOUNT)
        return accept(*linked.events, upstream_link.UpstreamVerified(upstream=proof.upstream, issuer=proof.issuer))

    return Command(account.stream(account_id), decide)


def _verify(links: upstream_link.Links, view: View, proof: UpstreamProof) -> Outcome:
    return upstream_link.verify(links, now=view.now, upstream=proof.upstream, issuer=proof.issuer)


def hand_over(session_id: str, *, ends: bool) -> Command[session.State]:
    """A dashboard's sign-in takes the place of the browser's, which was made for it alone if it `ends`; refused unless
    that is live."""

    def decide(state: session.State, view: View) -> Outcome | Refusal:
        if not session_is_live(view, session_id):
            return Refusal(AccessDenied.ACCOUNT)
        return session.end(state, now=view.now, reason="replaced") if ends else accept()

    return Command(session.stream(session_id), decide)
