"""The file that names the further issuers of a server, and the settings and keys with which each of them is served.

The settings' own issuer stands in no file, and its log has the master key itself. It is served as ever, beside them.
"""

import fcntl
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from api.config.settings import Settings
from domain.rules import origin as issuers
from eventstore import database
from eventstore.database.citus import CitusNode
from eventstore.database.engines import at, in_schema, is_sqlite, understood, with_settings
from security.keyring import Keyring
from security.passkeys import covers
from security.private_files import put_private

SCHEMA = re.compile(r"(?!pg_)[a-z][a-z0-9_]{0,62}", re.ASCII)
ISSUER_ID_BYTES = 16

CITUS = {"citus.enable_schema_based_sharding": "on", "citus.enable_unsafe_triggers": "on"}
"""What makes a schema one of Citus, and lets it take our triggers, which look at nothing but their own table."""

IssuerStanding = Literal["adding", "enabled", "disabled"]
"""`adding` until its database is ready; anyone who adds it again goes on with that."""


class IssuerPlace(Struct, frozen=True, omit_defaults=True):
    """Where an issuer's log is: without URLs in the settings' own database, on SQLite in a file of its own then; the
    other URL is that of the role that owns the tables. With `citus` both are those of its coordinator, and `node` is
    the one that holds the schema, as `host:port`, to which who serves connects."""

    database_url: str | None = None
    migration_database_url: str | None = None
    schema: str | None = None
    citus: bool = False
    node: str | None = None


class IssuerEntry(Struct, frozen=True):
    """An issuer. Its id, from which its keys come, never changes, whatever its URL and wherever its log is.
    `moving_to` is where the log is on its way to, which nobody is served from meanwhile."""

    id: Annotated[str, Meta(pattern="^[0-9a-f]{32}$")]
    issuer: str
    standing: IssuerStanding
    place: IssuerPlace = IssuerPlace()
    moving_to: IssuerPlace | None = None

    @property
    def host(self) -> str:
        """What `Host` must say, port and all."""
        return host_of(self.issuer)


class _Kept(Struct, frozen=True, forbid_unknown_fields=True):
    format: Literal["grantlog-issuers/1"]
    issuers: tuple[IssuerEntry, ...]


class RegistryError(Exception):
    """The file cannot be read, or what is asked of it is refused; says why, without what stands in it."""


def host_of(issuer: str) -> str:
    """What `Host` says in requests to this issuer."""
    return urlsplit(issuer).netloc


def new_issuer_id() -> str:
    """The id of a new issuer: 128 random bits."""
    return secrets.token_hex(ISSUER_ID_BYTES)


class IssuerRegistry:
    """The issuers of one file. Reading takes no lock: the file is replaced as a whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._entries: tuple[IssuerEntry, ...] = ()

    @classmethod
    def of(cls, settings: Settings) -> "IssuerRegistry":
        """That of the settings."""
        if settings.issuers_file is None:
            raise AssertionError("an unset file follows from the data directory")
        return cls(settings.issuers_file.absolute())

    def entries(self) -> tuple[IssuerEntry, ...]:
        """All of them, read again if the file has changed. Raises RegistryError, also where it was there and is gone:
        anyone who removes the last issuer leaves a file."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            if self._seen is not None:
                raise RegistryError(f"the file of issuers {self._path.name} is gone") from None
            return ()
        seen = (found.st_ino, found.st_mtime_ns, found.st_size)
        if seen != self._seen:
            self._entries = self._read()
            self._seen = seen
        return self._entries

    def _read(self) -> tuple[IssuerEntry, ...]:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=_Kept).issuers
        except (OSError, msgspec.DecodeError) as error:
            # A decoder repeats what it was given, which may be a database's password.
            raise RegistryError(f"the file of issuers {self._path.name} cannot be read") from error

    def find(self, issuer: str) -> IssuerEntry:
        """The issuer with this URL; raises RegistryError."""
        for each in self.entries():
            if each.issuer == issuer:
                return each
        raise RegistryError(f"there is no issuer {issuer}; `grantlog issuer list` shows those that there are")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._path.with_name(self._path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def put(self, entry: IssuerEntry) -> None:
        """Adds an issuer, or puts it in the place of the one with its id, on the disk when this returns. Raises
        RegistryError where another one has its host name or its place."""
        self.put_all((entry,))

    def put_all(self, entries: Iterable[IssuerEntry]) -> None:
        """The same of several, or of none of them."""
        with self._locked():
            kept = {each.id: each for each in self.entries()}
            kept |= {each.id: each for each in entries}
            _require_distinct(tuple(kept.values()))
            self._write(tuple(kept.values()))

    def change(self, issuer_id: str, change: Callable[[IssuerEntry], IssuerEntry]) -> None:
        """Puts what `change` makes of an issuer as it is by now in its place: what others changed meanwhile stays.
        Nothing where it is there no more. Raises RegistryError."""
        with self._locked():
            kept = tuple(change(each) if each.id == issuer_id else each for each in self.entries())
            _require_distinct(kept)
            self._write(kept)

    def drop(self, entry: IssuerEntry) -> None:
        """Forgets an issuer; its log stays where it is."""
        with self._locked():
            self._write(tuple(each for each in self.entries() if each.id != entry.id))

    def _write(self, entries: tuple[IssuerEntry, ...]) -> None:
        kept = msgspec.json.encode(_Kept("grantlog-issuers/1", entries))
        put_private(self._path, msgspec.json.format(kept, indent=1) + b"\n")


def _require_distinct(entries: Sequence[IssuerEntry]) -> None:
    hosts: dict[str | None, IssuerEntry] = {}
    places: dict[IssuerPlace, IssuerEntry] = {}
    for each in entries:
        # Browsers send cookies to every port of a host.
        first = hosts.setdefault(urlsplit(each.issuer).hostname, each)
        if first is not each:
            raise RegistryError(f"{first.issuer} has that host name, whose cookies every port would get")
        for where in (each.place, each.moving_to):
            # A schema of Citus is one wherever it is.
            place = None if where is None else msgspec.structs.replace(where, node=None)
            if place is not None and place != IssuerPlace() and places.setdefault(place, each) is not each:
                raise RegistryError(f"{places[place].issuer} has its log there")


def refusal(settings: Settings, issuer: str, place: IssuerPlace) -> str | None:
    """Why this can be no further issuer with a log there, in words; None when it can."""
    if text := issuers.fault(issuer):
        return f"the URL {text}"
    if host_of(issuer) != _sent_host(issuer):
        return "the URL must have its host in small letters and no port that is the usual one, as browsers send it"
    if urlsplit(issuer).hostname == urlsplit(settings.issuer).hostname:
        return f"{settings.issuer}, which the settings name, has that host name"
    for url in (place.database_url, place.migration_database_url):
        if url is not None and (text := database.problem(understood(url))):
            return f"the database's URL {text}"
    return _refused_place(is_sqlite(_database(settings, place)), place)


def _refused_place(sqlite: bool, place: IssuerPlace) -> str | None:
    if sqlite:
        if place.citus or place.schema is not None:
            return "SQLite has no schemas: each issuer has a file"
        return None
    if place.schema is None:
        return "on PostgreSQL an issuer's log is in a schema of its own"
    if SCHEMA.fullmatch(place.schema) is None:
        return "a schema's name is a small letter, and small letters, digits and `_`, and does not begin with `pg_`"
    return None


def _sent_host(issuer: str) -> str:
    """What browsers send as `Host` (URL Standard §4.2, §4.4)."""
    usual = ":443" if issuer.startswith("https:") else ":80"
    return host_of(issuer).lower().removesuffix(usual).removesuffix(":")


def _database(settings: Settings, place: IssuerPlace) -> str:
    return settings.database_url if place.database_url is None else understood(place.database_url)


def default_place(settings: Settings, issuer_id: str, place: IssuerPlace) -> IssuerPlace:
    """The place, with a schema where PostgreSQL needs one and none is named."""
    if place.schema is not None or is_sqlite(_database(settings, place)):
        return place
    return msgspec.structs.replace(place, schema=f"issuer_{issuer_id}")


def settings_of(settings: Settings, entry: IssuerEntry, place: IssuerPlace | None = None) -> Settings:
    """The settings with which an issuer is served: what is no matter of a place or a name is as for all; `place` is
    where its log is, if not where the entry says."""
    place = place or entry.place
    folder = settings.data_dir / "issuers" / entry.id
    url = _database(settings, place)
    owner = place.migration_database_url or place.database_url
    owner = settings.migration_database_url if owner is None else understood(owner)
    if is_sqlite(url):
        if place.database_url is None:
            url = f"sqlite:///{folder.absolute() / 'grantlog.db'}"
        owner = url
    elif place.schema is not None:
        url, owner = in_schema(url, place.schema), in_schema(owner, place.schema)
        if place.citus:
            owner = with_settings(owner, CITUS)
        if place.node is not None and (node := CitusNode.of(place.node)) is not None:
            url = at(url, *node)
    replica = settings.replica_url if place.database_url is None and not place.citus else ""
    if replica and place.schema is not None:
        replica = in_schema(replica, place.schema)
    host = urlsplit(entry.issuer).hostname or ""
    return msgspec.structs.replace(
        settings,
        issuer=entry.issuer,
        database_url=url,
        migration_database_url=owner,
        replica_url=replica,
        master_key_file=None if settings.master_key else _master_key_file(settings),
        data_dir=folder,
        checkpoint_file=folder / "checkpoint",
        log_origin="",
        webauthn_rp_id=settings.webauthn_rp_id if covers(settings.webauthn_rp_id, host) else "",
        mtls_url="",
        smtp_from=_sender(settings, host),
    )


def _master_key_file(settings: Settings) -> Path:
    return settings.master_key_file or settings.data_dir / "master.key"


def _sender(settings: Settings, host: str) -> str:
    """The one that was set for all; where none was, one of the issuer's own host."""
    derived = f"no-reply@{urlsplit(settings.issuer).hostname}"
    local = issuers.is_loopback(urlsplit(settings.issuer).hostname)
    if settings.smtp_from not in (derived, "no-reply@localhost" if local else derived):
        return settings.smtp_from
    return f"no-reply@{'localhost' if issuers.is_loopback(host) else host}"


def keyring_of(keyring: Keyring, entry: IssuerEntry) -> Keyring:
    """The keys of an issuer's log, of the server's keyring."""
    return keyring.of_issuer(entry.id)
