"""Resolves what is to end, by whichever name it is known: text, digest, client, person, version, address."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import NamedTuple

from api.http.errors import InvalidRequest, Missing, Unprocessable
from api.http.request_context import normalise
from api.leaks import issuer_keys, key_target, mailed_target
from api.leaks.address_target import AddressTarget
from api.leaks.targets import Target, of_secret, together
from domain import account, client
from domain.event import Moment
from domain.incident import Leaked
from eventstore import issued, present
from eventstore.database import Connection
from eventstore.ledger import Ledger
from eventstore.recorder import store
from eventstore.unavailable import ArchiveAway
from eventstore.view import Folds
from security import pasted_keys
from security.pasted_keys import Names
from security.scanning import MOST, Extract, ForeignSecret, extract, foreign
from security.tokens import RANDOM_LENGTH, Format, Kind, digest

# A string that somebody found: whether it is one of ours, and if not, what is wrong with it. Never a correction.

KINDS = {
    Kind.ACCESS_TOKEN: "access",
    Kind.REFRESH_TOKEN: "refresh",
    Kind.AUTHORIZATION_CODE: "code",
    Kind.CLIENT_SECRET: "client_secret",
    Kind.BROWSER_SESSION: "session",
    Kind.DEVICE_CODE: "code",
    Kind.INITIAL_ACCESS_TOKEN: "initial_access_token",
    Kind.REGISTRATION_ACCESS_TOKEN: "registration_access_token",
    Kind.PASSWORD_RESET: "password_reset",
    Kind.EMAIL_CONFIRMATION: "email_confirmation",
}
"""The kinds of secrets as the API names them."""

INLINE = 4_096
"""Characters that are looked through at once: less work than to hand them to a thread."""

_HEAD = re.compile(r"([a-z]{2})_(.*)", re.DOTALL)
_LENGTH = RANDOM_LENGTH + 6


class Candidate(NamedTuple):
    """`kind` is what the format says, None where it is none of ours; `problem` says why it is not."""

    sha256: str
    kind: str | None
    problem: str | None = None


async def secrets_in(text: str, format: Format) -> Extract:
    """Every secret of ours in it. A long text is looked through in a thread."""
    return extract(text, format) if len(text) <= INLINE else await asyncio.to_thread(extract, text, format)


async def keys_in(text: str) -> tuple[Names, ...]:
    """The names of the keys and certificates in it. A long text is looked through in a thread."""
    return pasted_keys.found_in(text) if len(text) <= INLINE else await asyncio.to_thread(pasted_keys.found_in, text)


async def foreign_in(text: str, format: Format) -> tuple[ForeignSecret, ...]:
    """What in it others handed out. A long text is looked through in a thread."""
    return foreign(text, format) if len(text) <= INLINE else await asyncio.to_thread(foreign, text, format)


def nothing_in(text: str, format: Format) -> str:
    """Why a text names no secret: what is wrong with a single word, or that in so many characters none was found. It is
    no all-clear: who knows what else it may be."""
    if text.split() == [text]:
        return _problem(text, format)
    return f"no Grantlog secret in {len(text):,} characters"


def questions(found: Extract, text: str, format: Format) -> list[Candidate]:
    """What is to be asked about a text: each secret in it, or what is wrong with all of it."""
    if found.secrets:
        return [Candidate(each.hex, None if each.kind is None else KINDS[each.kind]) for each in found.secrets]
    return [Candidate(digest(text).hex(), None, nothing_in(text, format))]


async def asked_about(ledger: Ledger, found: Extract, text: str, format: Format) -> list[Candidate]:
    """The same with the keys in the text, and with the thumbprint of one that is known here if the text is such."""
    names, word = await keys_in(text), pasted_keys.thumbprint_in(text)
    if word is not None and not found.secrets and await _is_known(ledger, word):
        names = ((word,),)
    keys = [Candidate(pasted_keys.hex_of(each), key_target.KIND) for each in dict.fromkeys(chain.from_iterable(names))]
    return [*(questions(found, text, format) if found.secrets or not keys else ()), *keys]


async def _is_known(ledger: Ledger, thumbprint: str) -> bool:
    """Whether a key with this thumbprint is one that this server has to do with."""
    own = await issuer_keys.find(ledger, thumbprint)
    return own is not None or bool(await key_target.targets(ledger, ((thumbprint,),), None))


def _problem(raw: str, format: Format) -> str:
    head = f"{format.prefix}_"
    if not raw.startswith(head):
        return "does not begin like a secret of this server"
    parts = _HEAD.fullmatch(raw[len(head) :])
    if parts is None or parts[1] not in {kind.value for kind in Kind}:
        return "its kind is unknown"
    if len(parts[2]) != _LENGTH:
        return f"has {len(parts[2])} characters after its kind, not {_LENGTH}"
    if not (parts[2].isascii() and parts[2].isalnum()):
        return "has a character that no secret has"
    return "its checksum differs: it was mistyped or altered"


# What is to end, by whichever name it is known: the secret, its digest, a client, a person, a version, an address.

NAMING = ("secret", "sha256", "digests", "client_id", "account_id", "secret_id", "address")
"""The names under which a target is asked for; exactly one is given."""


class Resolved(NamedTuple):
    """What is to end, and by their digests the secrets that were issued here of which nothing can be told at present:
    their archive cannot be read, and why."""

    targets: list[Target]
    away: Mapping[str, ArchiveAway] = {}


async def find(ledger: Ledger, format: Format, named: Mapping[str, str], since: Moment | None) -> Resolved:
    """The target of one of the names above; of a text with several secrets one for each client. Raises the problem that
    says what is wrong with it, and `ArchiveAway` where of none of them anything can be told."""
    if len(named) != 1:
        raise InvalidRequest.field(list(named)[1] if named else "secret", "give exactly one of " + ", ".join(NAMING))
    ((name, value),) = named.items()
    match name:
        case "secret":
            return await _of_text(ledger, format, value, since)
        case "sha256" | "digests":
            return await _of_digests(ledger, value.split(), since)
        case "secret_id":
            return _or_missing([await ledger.read(of_secret_version, value)], "secret version")
        case "client_id":
            known: client.State = await ledger.state(client.stream(value))
            return _or_missing([Target("client", client_id=value) if known.exists else None], "client")
        case "account_id":
            person: account.State = await ledger.state(account.stream(value))
            return _or_missing([Target("account", account_id=value) if person.exists else None], "person")
    address = normalise(value)
    if address is None:
        raise InvalidRequest.field("address", "must be an IP address")
    return Resolved([Target("address", gathered=AddressTarget(address, since))])


async def _of_text(ledger: Ledger, format: Format, text: str, since: Moment | None) -> Resolved:
    found, names = (await secrets_in(text, format)).secrets, await keys_in(text)
    if len(found) > MOST:
        raise Unprocessable(f"At most {MOST:,} secrets at a time.")
    word = pasted_keys.thumbprint_in(text)
    leaked = await of_keys(ledger, names if word is None else ((word,),), since)
    if not (found or names or leaked) and (word is None or await issuer_keys.find(ledger, word) is None):
        raise InvalidRequest.field("secret", nothing_in(text, format))
    resolved = await _issued_or_mailed(ledger, [each.sha256 for each in found])
    return await _with_keys(ledger, resolved, leaked)


async def _issued_or_mailed(ledger: Ledger, digests: Sequence[bytes]) -> Resolved:
    found, away = await ledger.read(issued_targets, digests)
    known = {*away, *_leaked(found)}
    rest = [digest for digest in digests if digest.hex() not in known]
    links = await mailed_target.targets(ledger, rest) if rest else []
    return Resolved(together([*found, *links]) if links else found, away)


def _leaked(targets: Sequence[Target]) -> set[str]:
    return {leaked.sha256 for target in targets for leaked in target.leaked}


async def _of_digests(ledger: Ledger, digests: Sequence[str], since: Moment | None) -> Resolved:
    """The targets of digests, of which some may be thumbprints."""
    found = await _issued_or_mailed(ledger, list(map(bytes.fromhex, digests)))
    known = {*found.away, *_leaked(found.targets)}
    rest = [(pasted_keys.of_hex(each),) for each in dict.fromkeys(digests) if each not in known]
    return await _with_keys(ledger, found, await of_keys(ledger, rest, since))


async def _with_keys(ledger: Ledger, found: Resolved, leaked: Sequence[Target]) -> Resolved:
    targets = [*found.targets, *leaked]
    if found.away and not targets:
        raise next(iter(found.away.values()))
    return _or_missing(targets, "secret")._replace(away=found.away)


async def of_keys(
    ledger: Ledger, found: Sequence[Names], since: Moment | None, *, steps: int | None = None
) -> list[Target]:
    """The targets of those of the keys that were ever named here, each by itself. Raises `IndexBehind` where that
    takes the search index more than so many `steps`."""
    return [
        Target("key", each.holders[0] if len(each.holders) == 1 else None, leaked=each.leaked, gathered=each)
        for each in await key_target.targets(ledger, found, since, steps=steps)
    ]


def issued_targets(connection: Connection, digests: Sequence[bytes]) -> Resolved:
    """The targets of those of the digests that were issued here, one for each client, and which of them cannot be told
    of."""
    found, unread = issued.find_each(connection, digests)
    targets = []
    for sha256 in (each for each in digests if each in found):
        try:
            targets.append(_readable(connection, of_secret(connection, found[sha256])))
        except ArchiveAway as error:
            unread[sha256] = error
    return Resolved(together(targets), {sha256.hex(): error for sha256, error in unread.items()})


def _readable(connection: Connection, target: Target) -> Target:
    """A target with all that is folded to end it. A grant may stand in several segments."""
    for each in target.grants:
        store(connection).recorder.select_events(f"grant:{each}")
    return target


def _or_missing(targets: Sequence[Target | None], what: str) -> Resolved:
    found = [target for target in targets if target is not None]
    if not found:
        raise Missing(f"There is no such {what}.")
    return Resolved(found)


def require_fit(targets: Sequence[Target], *, rotate: bool, disable_client: bool, since: bool) -> None:
    """Raises InvalidRequest for what is asked for besides and has nothing to be done to."""
    if rotate and all(target.kind == "key" for target in targets):
        raise InvalidRequest.field("rotate", "a key is its client's to replace, in jwks or at jwks_uri")
    if (rotate or disable_client) and not any(target.clients for target in targets):
        raise InvalidRequest.field("rotate" if rotate else "disable_client", "needs a client, and this names none")
    if since and not all(target.gathered or target.cuts_off for target in targets):
        raise InvalidRequest.field("since", "means nothing for a single token: its grant ends as a whole")


def open_incident(folds: Folds, target: Target) -> str | None:
    """The id of the incident that a containment of this goes on with."""
    if target.leaked:
        return present.open_incident_about(folds, sha256=[each.sha256 for each in target.leaked])
    if target.kind == "address":
        return None
    return present.open_incident_about(
        folds, client_id=target.client_id, account_id=target.account_id, target=target.kind
    )


def of_secret_version(connection: Connection, secret_id: str) -> Target | None:
    """The target of a version's id; None when there is none."""
    digest = issued.digest_of_secret_version(connection, secret_id)
    found = None if digest is None else issued.find(connection, digest)
    if found is None or found.kind != "client_secret" or found.secret_id != secret_id:
        return None
    leaked = (Leaked(found.sha256, "client_secret"),)
    return Target("secret_version", found.client_id, secret_ids=(secret_id,), leaked=leaked)
