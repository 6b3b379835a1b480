"""What Laravel Passport has: the tables `users` and `oauth_clients`, each a file of its columns, CSV or JSON lines.

Until version 12 a client says by flags what it is for, since version 13 by its `grant_types`
(github.com/laravel/passport, database/migrations).
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from cli.command_services import CommandServices
from cli.moving.client_secrets import KeptSecret, kept_secret, require_id, sole
from cli.moving.import_lines import ImportLine, Passed, Unfit
from cli.moving.people_file import hashed_elsewhere, named
from cli.moving.records import Record, read_records
from cli.terminal import USAGE, Failure
from commands import moving
from commands.people import PersonRegistration
from commands.permissions import operator
from domain import client
from domain.client import Registration
from eventstore.execution import Single
from security.tokens import new_id

USERS, CLIENTS = "users", "oauth_clients"
SUFFIXES = (".csv", ".jsonl", ".ndjson", ".json")

CODE = ("authorization_code", "refresh_token")
MACHINE = ("client_credentials",)
TAKEN_OVER = frozenset((*CODE, *MACHINE, "urn:ietf:params:oauth:grant-type:device_code"))

DELETED = "was deleted there"
PERSONAL = "makes personal access tokens, which Grantlog has not"
NO_USE = "has no grant that Grantlog has"


def tables(dump: Path) -> dict[str, Path]:
    """The files of a dump by their table: those of a directory, or a single one by its name. Raises Failure."""
    files = sorted(dump.iterdir()) if dump.is_dir() else [dump]
    found: dict[str, Path] = {}
    for file in files:
        if file.suffix.lower() in SUFFIXES and file.stem in (USERS, CLIENTS):
            if file.stem in found:
                raise Failure(f"{dump} has the table {file.stem} twice", USAGE)
            found[file.stem] = file
    if not found:
        raise Failure(f"{dump} has neither {USERS} nor {CLIENTS}, as .csv or .jsonl", USAGE)
    return found


class PassportDump:
    """People and clients of a dump. The people go to one realm, and clients may ask for the scopes that are named."""

    def __init__(self, services: CommandServices, dump: Path, realm: str, scope: Sequence[str]) -> None:
        self._services = services
        self._tables = tables(dump)
        self._realm = realm
        self._scope = tuple(scope)

    @property
    def files(self) -> tuple[Path, ...]:
        """What is read, in this order."""
        return tuple(self._tables[table] for table in (USERS, CLIENTS) if table in self._tables)

    def import_lines(self) -> Iterator[ImportLine | Passed]:
        """Each row's person, then each row's client."""
        for file in self.files:
            make = self._person if file.stem == USERS else self._client
            for record in read_records(file):
                yield make(record._replace(members=_filled(record.members)), file.name)

    def _person(self, record: Record, file: str) -> ImportLine | Passed:
        if record.problem is not None:
            return Passed(record.line, record.problem, file=file)
        members = record.members
        name, email, encoded = (_word(members.get(field)) for field in ("name", "email", "password"))
        if _moment(members, "deleted_at"):
            # Eloquent's soft deletes keep the row, and nobody signs in by it.
            return Passed(record.line, DELETED, "left", "person", email or "?", file)

        async def make() -> Single:
            person = PersonRegistration(
                realm=self._realm,
                username=None,
                email=email,
                name=name,
                password_hash=encoded,
                foreign_hash=None if encoded is None else hashed_elsewhere(encoded, "password"),
                claims={"email_verified": True} if _moment(members, "email_verified_at") else {},
            )
            return moving.move_in(new_id(), person, privacy=self._services.ledger.privacy, by=operator)

        return ImportLine(record.line, "person", email or "?", named(self._realm, None, email), make, file)

    def _client(self, record: Record, file: str) -> ImportLine | Passed:
        if record.problem is not None:
            return Passed(record.line, record.problem, file=file)
        members = record.members
        client_id, name = _word(members.get("id")) or "", _word(members.get("name"))
        shown = client_id if name is None else f"{client_id} ({name})"
        grants = _grants(members)
        if not grants:
            why = PERSONAL if _is(members, "personal_access_client") or _personal(members) else NO_USE
            return Passed(record.line, why, "left", "client", shown, file)

        async def make() -> Single:
            require_id(client_id, "id")
            secret = _word(members.get("secret"))
            if secret is None and _is(members, "confidential"):
                raise Unfit("secret: is not there, and the client has one")
            kept = KeptSecret() if secret is None else kept_secret(secret)
            asked = client.Attributes(
                client_name=name or client_id,
                grant_types=grants,
                redirect_uris=_redirect_uris(members) if "authorization_code" in grants else (),
                scope=tuple(dict.fromkeys((*_listed(members.get("scopes")), *self._scope))),
                token_endpoint_auth_method="none" if secret is None else "client_secret_basic",
                # Its clients that have a secret were never asked for PKCE.
                require_pkce=secret is None,
                first_party=_is(members, "password_client") or "password" in _listed(members.get("grant_types")),
                realm=self._realm,
            )
            registration = Registration(attributes=asked, secret=kept.known, foreign_secret=kept.hashed)
            return moving.move_client_in(
                client_id,
                registration,
                enabled=not _is(members, "revoked"),
                issuer=self._services.settings.issuer,
                by=operator,
            )

        keys, secret = frozenset((f"client {client_id}",)), sole(_word(members.get("secret")))
        return ImportLine(record.line, "client", shown, keys, make, file, secret)


def _filled(members: Mapping[str, Any]) -> dict[str, Any]:
    """Without what the databases' own exports write for nothing."""
    return {name: value for name, value in members.items() if value not in ("\\N", "NULL")}


def _word(value: Any) -> str | None:
    return None if value is None else str(value)


def _is(members: Mapping[str, Any], flag: str) -> bool:
    return str(members.get(flag)).lower() in ("1", "true", "t")


def _moment(members: Mapping[str, Any], column: str) -> bool:
    """Whether a moment is told. MySQL may have one of nothing but zeros for none."""
    return any(digit in "123456789" for digit in str(members.get(column)))


def _listed(value: Any) -> tuple[str, ...]:
    """A list, as one or as JSON of one, or separated by commas as until version 12."""
    if isinstance(value, str) and value.startswith("["):
        try:
            value = msgspec.json.decode(value)
        except (msgspec.DecodeError, RecursionError):
            return ()
    if isinstance(value, str):
        return tuple(dict.fromkeys(each.strip() for each in value.split(",") if each.strip()))
    return tuple(dict.fromkeys(map(str, value))) if isinstance(value, list) else ()


def _redirect_uris(members: Mapping[str, Any]) -> tuple[str, ...]:
    return _listed(members.get("redirect_uris") or members.get("redirect"))


def _personal(members: Mapping[str, Any]) -> bool:
    return "personal_access" in _listed(members.get("grant_types"))


def _grants(members: Mapping[str, Any]) -> tuple[str, ...]:
    """The grants that it goes on with. Who asked people for their password goes on with a code (OAuth for First-Party
    Applications §5); a client of former versions could have had every grant, and has those that it can use."""
    if "grant_types" in members:
        had = _listed(members["grant_types"])
        found = dict.fromkeys(name for name in had if name in TAKEN_OVER)
        return tuple(found | dict.fromkeys(CODE if "password" in had else ()))
    if _is(members, "personal_access_client"):
        return ()
    if _is(members, "password_client") or _redirect_uris(members):
        return CODE
    return MACHINE if members.get("secret") is not None else ()
