"""Clients that are described by a document at the address which is their id: fetched, kept for a while, and made into
the client that it describes (draft-ietf-oauth-client-id-metadata-document).

Nobody fetches for a stranger who only opens an address: what is not known yet waits until a person has signed in, or
for a program that pushes its request. Each host is asked once a minute by all workers and nodes together.
"""

import asyncio
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

from msgspec.structs import replace

from api.http import bodies
from api.http.errors import HTTPError, TemporarilyUnavailable, Throttled
from api.http.fetched_documents import freshness
from api.http.load_shedding import away
from api.http.outgoing_requests import NoAnswer, NotAllowed
from api.languages import Words
from api.oauth.client_names import id_of
from api.oauth.sector_identifier import sector_document
from api.registering.registration import AskedRegistration, asked_for, known_scopes, read_metadata, require_vouched
from api.services import Services
from commands import registering
from domain import client
from domain.grants import GRANTS
from domain.rules import client_id_document as rules
from domain.rules import public_key, registration
from domain.rules.pairwise import SectorDocument
from domain.rules.registration import Circumstances
from eventstore import present
from eventstore.execution import Step
from eventstore.pending import client_documents
from eventstore.pending.client_documents import HOST_RESTS, KeptDocument
from security.clock import SECOND

REALM = "platform"
"""Whose people such a client is for."""

ACCEPT = "application/json"
RESTS = Words("The document of this application cannot be fetched at present. Try again in a minute.")
FULL = Words("Too many applications are being looked at. Try again in a minute.")
NOT_HAD = Words("The document that describes this application could not be fetched.")


class DocumentFault(Exception):
    """The document cannot be had or describes no client; the words say why and repeat nothing of it."""

    def __init__(self, words: Words) -> None:
        super().__init__(words)
        self.words = words


def _wrong(fault: str) -> DocumentFault:
    return DocumentFault(
        Words("The document that describes this application is not as it should be: %(fault)s.", fault=fault)
    )


class DescribedClient(NamedTuple):
    """A client as its document describes it now: `state` as if it were registered like that, and what would be."""

    uri: str
    state: client.State
    asked: AskedRegistration
    sector: SectorDocument | None

    def keeping(self, services: Services) -> Step:
        """The command that registers it, or changes what is registered; a repeat is no event."""
        return registering.keep_described(
            self.state.client_id,
            self.uri,
            self.asked.attributes,
            self.asked.keys,
            privacy=services.ledger.privacy,
            issuer=services.settings.issuer,
            sector=self.sector,
        )


def host_of(uri: str) -> str:
    """The host of a document, with a port that is not the usual one."""
    parts = urlsplit(uri)
    return (parts.hostname or "").lower() + (f":{parts.port}" if parts.port not in (None, 443) else "")


_LOCKS: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()


async def described(services: Services, scope: Any, uri: str) -> DescribedClient:
    """The client that the document at this address describes. Raises DocumentFault, and 429 while its host rests."""
    if (problem := rules.uri_problem(uri)) is not None:
        raise DocumentFault(Words("The address that this application calls itself by %(fault)s.", fault=problem))
    with away(scope):
        lock = _LOCKS.setdefault(uri, asyncio.Lock())
        async with lock:
            body = await _document(services, uri)
    asked = await _read(services, uri, body)
    before: client.State = await services.ledger.state(client.stream(id_of(uri)))
    public = asked.attributes.token_endpoint_auth_method == "none"  # noqa: S105 - a method by its RFC 7591 name
    state = replace(
        before,
        **client.named(asked.attributes),
        keys=asked.keys,
        exists=True,
        enabled=before.enabled or not before.exists,
        client_id=id_of(uri),
        type="public" if public else "confidential",
        self_registered="document",
        metadata_uri=uri,
    )
    with away(scope):
        sector = await sector_document(services, asked.attributes, before, kept=True)
    leaked = await services.ledger.look(present.leaked_keys, list(map(public_key.thumbprint, asked.keys.jwks)))
    _require_registrable(services, state, before, sector, leaked)
    return DescribedClient(uri, state, asked, sector)


def _require_registrable(
    services: Services,
    state: client.State,
    before: client.State,
    sector: SectorDocument | None,
    leaked: frozenset[str],
) -> None:
    """Raises DocumentFault for what would be refused once the person has approved it."""
    if before.exists and before.type != state.type:
        raise _wrong("an application stays with keys or without")
    circumstances = Circumstances(
        caller_scope=frozenset(),
        known_scopes=frozenset(state.scope),
        grant_types=GRANTS,
        issuer=services.settings.issuer,
        sector=sector,
        leaked_keys=leaked,
    )
    outcome = registration.refusal(state, before=before, circumstances=circumstances)
    if outcome is not None and outcome.refusal is not None:
        raise _wrong(f"see its {outcome.refusal.field}")


async def _document(services: Services, uri: str) -> bytes:
    """The document as it is kept, or as it is fetched now."""
    ledger = services.ledger
    kept = await ledger.look(client_documents.find, ledger.vault, uri)
    if kept is not None and ledger.clock.now() < kept.fresh_until:
        return kept.body
    claimed = await ledger.maintain(client_documents.claim, host_of(uri), ledger.clock.now())
    if claimed != "claimed":
        # Its host may not be asked just now, which says nothing against what it said before.
        if kept is not None:
            return kept.body
        if claimed == "full":
            raise TemporarilyUnavailable(FULL, retry_after=HOST_RESTS)
        raise Throttled(HOST_RESTS, RESTS)
    try:
        answer = await services.outgoing.send("GET", uri, headers={"Accept": ACCEPT}, largest=rules.MAXIMUM)
        if answer.status != 200:
            raise NoAnswer("the answer is not 200")
        _checked(answer.body, uri)
    except (NoAnswer, NotAllowed) as error:
        await ledger.maintain(client_documents.forget, uri)
        raise DocumentFault(NOT_HAD) from error
    except DocumentFault:
        await ledger.maintain(client_documents.forget, uri)
        raise
    found = KeptDocument(answer.body, ledger.clock.now() + freshness(answer) * SECOND)
    await ledger.maintain(client_documents.keep, ledger.vault, uri, found)
    return found.body


def _checked(body: bytes, uri: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = bodies.read_json_object(body)
    except HTTPError:
        raise _wrong("it is no JSON object") from None
    if (problem := rules.problem(found, uri)) is not None:
        raise _wrong(problem)
    return found


async def _read(services: Services, uri: str, body: bytes) -> AskedRegistration:
    """What the document asks for, as far as it is for such a client."""
    document = _checked(body, uri) | {"client_id": id_of(uri)}
    # Nobody has to say that there is no secret.
    document.setdefault("token_endpoint_auth_method", "none")
    grants = document.get("grant_types")
    if isinstance(grants, list):
        document["grant_types"] = [each for each in grants if each in rules.GRANT_TYPES]
        document.pop("response_types", None)
    try:
        said = read_metadata(document)
        asked = asked_for(services.settings, said, host_of(uri)[:200], await known_scopes(services, said))
        require_vouched("open", asked)
    except HTTPError as error:
        fields = ", ".join(each.field for each in error.errors)
        raise _wrong(f"see its {fields or 'members'}") from None
    return asked
