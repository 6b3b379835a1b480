"""What people and applications do in a played month: each act is the real command, at the time that the clock shows.

Nothing but the clock is made up: secrets and ids are drawn as ever, and every decision is the ledger's own.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from api.config.settings import Settings
from api.leaks.containment import ContainmentRequest, containments
from api.services import lifetimes
from commands import audit, clients, counted, grants, people
from commands.grants import Approval
from commands.permissions import operator
from domain import account, client, session
from domain.audit import Question
from domain.client import Attributes, Registration
from domain.event import ANONYMOUS, Actor, Moment
from domain.grants import GRANTS
from domain.grants.grant_type import Minted, TokenRequest
from domain.rules import pkce
from domain.rules.administrative_scope import ADMINISTRATIVE_SCOPES
from domain.session import PASSWORD_ALONE
from eventstore.execution import Executed, Origin, Step
from eventstore.ledger import Ledger
from eventstore.present import dashboard_by_slug, person_by_login
from security.clock import ManualClock, day_of
from security.passwords import Hasher
from security.tokens import Format, Kind, Secret, new_id


@dataclass(frozen=True)
class Whereabouts:
    """From where somebody asks."""

    ip: str
    user_agent: str


@dataclass
class Person:
    """Somebody of the story. `grant_id` is that of a dashboard sign-in, `session_id` that of a browser's."""

    account_id: str
    place: Whereabouts
    grant_id: str | None = None
    session_id: str | None = None
    signed_in_at: Moment = 0

    @property
    def acting(self) -> Actor:
        """The person with what they signed in with last."""
        if self.grant_id is not None:
            return Actor("person", self.account_id, {"grant_id": self.grant_id})
        return Actor("person", self.account_id, {"session_id": self.session_id or ""})


@dataclass
class Application:
    """A client of the story, with the newest of its secrets."""

    client_id: str
    secret: Secret
    secret_id: str
    place: Whereabouts
    scope: tuple[str, ...] = ()
    redirect_uri: str = ""

    @property
    def acting(self) -> Actor:
        return Actor("client", self.client_id, {"secret_id": self.secret_id})


class MintedTokens(NamedTuple):
    """Two tokens in clear."""

    access: Secret
    refresh: Secret


@dataclass
class Holding:
    """What an application has of a person: its newest tokens, and what it redeemed its code with."""

    person: Person
    application: Application
    grant_id: str
    access: Secret
    refresh: Secret
    redeemed_with: TokenRequest
    over: bool = False


@dataclass
class Player:
    """Carries the story out."""

    ledger: Ledger
    settings: Settings
    format: Format
    clock: ManualClock
    hasher: Hasher
    command_line: Origin
    holdings: list[Holding] = field(default_factory=list)

    async def perform(self, by: Origin, *commands: Step, refused: bool = False) -> Executed[None]:
        """Carries commands out. A refusal that the story does not mean is a mistake of the story."""
        executed = await self.ledger.execute(*commands, origin=by)
        if (executed.refusal is not None) != refused:
            raise AssertionError(f"the story has it otherwise: {executed.refusal}")
        return executed

    def origin(self, actor: Actor, place: Whereabouts) -> Origin:
        """A request of its own."""
        return Origin(actor, new_id(), place.ip, place.user_agent)

    def by(self, who: Person | Application) -> Origin:
        """A request of theirs."""
        return self.origin(who.acting, who.place)

    # People -------------------------------------------------------------------------------------------------------

    async def find(self, username: str, realm: str, place: Whereabouts) -> Person:
        """Somebody whom the demo made."""
        found = await self.ledger.look(person_by_login, self.ledger.privacy, "username", realm, username)
        if found is None:
            raise AssertionError(f"the demo has no {username}")
        return Person(found.account_id, place)

    async def register(
        self, by: Origin, username: str, name: str, realm: str, place: Whereabouts, roles: tuple[str, ...] | None = None
    ) -> Person:
        """Somebody becomes known, with a password that nobody knows."""
        registration = people.PersonRegistration(
            realm=realm,
            username=username,
            email=f"{username}@example.test",
            name=name,
            password_hash=await self.hasher.hash(new_id()),
            roles=roles,
        )
        account_id = new_id()
        made = people.register(account_id, registration, privacy=self.ledger.privacy, by=operator)
        await self.perform(by, made)
        return Person(account_id, place)

    async def sign_in(self, person: Person) -> None:
        """Signs them in at the server, with their browser."""
        state: account.State = await self.ledger.state(account.stream(person.account_id))
        session_id, secret = new_id(), self.format.mint(Kind.BROWSER_SESSION)
        started = people.start_session(
            session_id,
            account_id=person.account_id,
            realm=state.realm,
            verified=None if state.password_hash is None else state.password_hash.event_id,
            sha256=secret.hex,
            lifetime=self.settings.session_absolute_lifetime,
            amr=PASSWORD_ALONE,
        )
        person.session_id, person.grant_id, person.signed_in_at = session_id, None, self.clock.now()
        await self.perform(self.by(person), started)

    async def _is_signed_in(self, person: Person) -> bool:
        if person.session_id is None:
            return False
        signed_in: session.State = await self.ledger.state(session.stream(person.session_id))
        state: account.State = await self.ledger.state(account.stream(person.account_id))
        return session.is_live(signed_in, state, self.clock.now())

    async def sign_in_to(self, slug: str, person: Person) -> None:
        """Signs them in to a dashboard, which gets tokens for them."""
        dashboard = await self.ledger.look(dashboard_by_slug, slug)
        if dashboard is None:
            raise AssertionError(f"there is no dashboard {slug}")
        state: account.State = await self.ledger.state(account.stream(person.account_id))
        secret_id = dashboard.secrets[-1].secret_id
        credential = {"client_id": dashboard.client_id, "secret_id": secret_id}
        by = self.origin(Actor("person", person.account_id, credential), person.place)
        request = TokenRequest(password_cutoff=state.password_cutoff)
        executed, _ = await self._tokens(
            "password", request, dashboard.client_id, secret_id, by, account_id=person.account_id
        )
        person.grant_id = executed.recorded[-1].stream.partition(":")[2]

    # Applications -------------------------------------------------------------------------------------------------

    async def register_application(
        self, by: Origin, attributes: Attributes, place: Whereabouts, owner: str | None = None
    ) -> Application:
        """An application becomes known."""
        secret, made = clients.mint_secret(self.format)
        client_id, registration = new_id(), Registration(attributes=attributes, secret=made, owner=owner)
        command = clients.register(client_id, registration, issuer=self.settings.issuer, by=operator)
        await self.perform(by, command)
        return self._application(client_id, secret, made.secret_id, attributes, place)

    def _application(
        self, client_id: str, secret: Secret, secret_id: str, attributes: Attributes, place: Whereabouts
    ) -> Application:
        uris = attributes.redirect_uris or ()
        scope = attributes.scope or ()
        return Application(client_id, secret, secret_id, place, scope, uris[0] if uris else "")

    async def known_application(self, client_id: str, secret: Secret, place: Whereabouts) -> Application:
        """One that the demo made."""
        state: client.State = await self.ledger.state(client.stream(client_id))
        uri = state.redirect_uris[0] if state.redirect_uris else ""
        return Application(client_id, secret, state.secrets[-1].secret_id, place, state.scope, uri)

    async def rotate(self, by: Origin, application: Application, others_expire_in: int | None) -> None:
        """Gives the application a new secret, which it uses from now on."""
        secret, made = clients.mint_secret(self.format)
        rotated = clients.rotate_secret(application.client_id, made, others_expire_in=others_expire_in, by=operator)
        await self.perform(by, rotated)
        application.secret, application.secret_id = secret, made.secret_id

    async def authorize(self, person: Person, application: Application, scope: tuple[str, ...]) -> Holding:
        """The person allows the application this scope, and it redeems its code (RFC 6749 §4.1)."""
        if not await self._is_signed_in(person):
            await self.sign_in(person)
        verifier, code = new_id() * 2, self.format.mint(Kind.AUTHORIZATION_CODE)
        challenge, uri = pkce.transform(verifier), application.redirect_uri
        approval = Approval(
            account_id=person.account_id,
            session_id=person.session_id or "",
            client_id=application.client_id,
            asked=scope,
            resource=(),
            uri=uri,
            redirect_uri=uri,
            challenge=challenge,
            nonce=None,
            claims=None,
        )
        issued = grants.issue_code(
            approval,
            code.hex,
            at=self.clock.now(),
            issuer=self.settings.issuer,
            lifetimes=lifetimes(self.settings),
        )
        await self.perform(self.by(person), grants.give_consent(approval, scope), issued)
        self.clock.advance(1.4)
        request = TokenRequest(presented=code.hex, redirect_uri=uri, challenge=challenge)
        executed, minted = await self._tokens(
            "authorization_code", request, application.client_id, application.secret_id, self.by(application)
        )
        grant_id = executed.recorded[-1].stream.partition(":")[2]
        held = Holding(person, application, grant_id, minted.access, minted.refresh, request)
        self.holdings.append(held)
        return held

    async def refresh(self, held: Holding) -> None:
        """The application goes on with its refresh token (RFC 6749 §6), unless that is worth nothing any more."""
        application = held.application
        executed, minted = await self._tokens(
            "refresh_token",
            TokenRequest(presented=held.refresh.hex),
            application.client_id,
            application.secret_id,
            self.by(application),
            whatever=True,
        )
        held.over = executed.refusal is not None
        held.access, held.refresh = minted

    async def use(self, held: Holding, at: Application) -> None:
        """The access token is brought to a resource server, which asks about it (RFC 7662)."""
        application, person = held.application, held.person
        used = counted.UsedToken(
            "access", application.client_id, held.grant_id, person.account_id, application.secret_id
        )
        how = counted.How("introspection", at.client_id, person.place.ip, person.place.user_agent, None)
        await self.perform(self.by(at), counted.use_of_token(held.access.hex, used, how, 1, 0))

    async def replay(self, held: Holding) -> None:
        """The code comes a second time: it is in two hands (RFC 6749 §4.1.2)."""
        application = held.application
        await self._tokens(
            "authorization_code",
            held.redeemed_with,
            application.client_id,
            application.secret_id,
            self.by(application),
            whatever=True,
        )

    async def act_for_itself(self, application: Application, place: Whereabouts | None = None) -> None:
        """The application gets a token for itself (RFC 6749 §4.4), from another place than its own if one is named."""
        by = self.origin(application.acting, place or application.place)
        await self._tokens("client_credentials", TokenRequest(), application.client_id, application.secret_id, by)

    async def _tokens(
        self,
        grant_type: str,
        request: TokenRequest,
        client_id: str,
        secret_id: str,
        by: Origin,
        *,
        account_id: str | None = None,
        whatever: bool = False,
    ) -> tuple[Executed[None], MintedTokens]:
        """What came of a token request, and the tokens that it gave, or would have given."""
        access, refresh = self.format.mint(Kind.ACCESS_TOKEN), self.format.mint(Kind.REFRESH_TOKEN)
        command = grants.issue_tokens(
            GRANTS[grant_type],
            request,
            Minted(access.hex, refresh.hex),
            client_id=client_id,
            secret_id=secret_id,
            account_id=account_id,
            at=self.clock.now(),
            issuer=self.settings.issuer,
            lifetimes=lifetimes(self.settings),
            admit_person=lambda _: None,
            vault=self.ledger.vault,
            privacy=self.ledger.privacy,
        )
        executed: Executed[None] = await self.ledger.execute(command, origin=by)
        if executed.refusal is not None and not whatever:
            raise AssertionError(f"the story has it otherwise: {executed.refusal}")
        return executed, MintedTokens(access, refresh)

    # Anyone who looks after it
    # -----------------------------------------------------------------------------------------

    async def ask(self, auditor: Person, question: Question, count: int, **asked: str) -> None:
        """Somebody reads the log, which is an event."""
        stream = f"audit:{day_of(self.clock.now())}"
        await self.perform(self.by(auditor), audit.read(stream, question, asked, count, unsealed=False))

    async def contain(self, by: Origin, application: Application, evidence: str) -> str:
        """Ends the application's leaked secret and all that came of it, and gives it another; the incident's id."""
        leaked = application.secret.hex
        asked = ContainmentRequest({"sha256": leaked}, None, rotate=True, disable_client=False, evidence=evidence)
        (found,), _ = await containments(
            self.ledger, self.format, asked, source="administrator", caller_scope=ADMINISTRATIVE_SCOPES
        )
        await found.prepare()
        await self.perform(by, *found.commands())
        if found.wanted.secret is not None:
            application.secret, application.secret_id = found.wanted.secret, found.secret_id
        return found.incident_id


def stranger(place: Whereabouts) -> Origin:
    """Somebody unknown."""
    return Origin(ANONYMOUS, new_id(), place.ip, place.user_agent)
