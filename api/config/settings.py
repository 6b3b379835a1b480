"""Every setting of the server: one frozen struct, read from the environment and `.env`, checked before any start."""

import os
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

import msgspec
from dotenv import dotenv_values
from msgspec import Meta, Struct

from domain.rules import origin as issuers
from domain.rules.origin import is_loopback
from eventstore import database
from eventstore.database.engines import understood
from eventstore.transparency.keeper import Witness
from eventstore.transparency.note import COSIGNATURE_V1, VerifierKey


class SettingsError(ValueError):
    """The settings cannot be used. The message has one line per variable, each with its name and what to do."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


SECRET = Meta(extra={"secret": "all"})
"""Marks a value that is never shown."""

SECRET_IN_URL = Meta(extra={"secret": "in_url"})
"""Marks a URL that is shown without its password."""


def unset(words: str) -> Meta:
    """Says what an unset setting amounts to, where that does not follow from the default."""
    return Meta(extra={"default": words})


def within(least: float, most: float) -> Meta:
    """Bounds a number, both ends included."""
    return Meta(ge=least, le=most)


NONE = unset("none")
PREFIX_PATTERN = "^[a-z][a-z0-9]{1,11}$"
Seconds = Annotated[int, within(1, 10 * 365 * 86400)]


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an operator may decide. A variable is `GRANTLOG_` and the field's name in capitals; durations are seconds.

    What stands below a field says what it means: `docs/settings.md` and `grantlog settings` have it from here.
    """

    environment: Literal["production", "demo"] = "production"
    """`production`, or `demo`: example people and clients, and a master key made at the first start."""
    host: Annotated[str, Meta(min_length=1, max_length=255)] = "127.0.0.1"
    """Address to listen on."""
    port: Annotated[int, within(1, 65535)] = 8400
    """Port to listen on."""
    health_host: Annotated[str, Meta(min_length=1, max_length=255)] = "127.0.0.1"
    """Address to listen on for those who look after the server: health in detail, and `/metrics`."""
    health_port: Annotated[int, within(0, 65535)] = 8402
    """Port of that listener; 0 for none."""
    demo_port: Annotated[int, within(1, 65535)] = 8401
    """Port of the demo's third-party application."""
    issuer: Annotated[str, unset("`http://` and the host and port, when the host is a loopback address")] = ""
    """The server's public URL and issuer identifier (RFC 8414 §2): https, or http on loopback."""
    data_dir: Path = Path("var")
    """Directory for the SQLite file, the demo's files and the throttle."""
    checkpoint_file: Annotated[Path | None, unset("`checkpoint` in the data directory")] = None
    """Where this node keeps the newest signed checkpoint outside the database, so that it does not start on an older or
    another one. Each node has its own."""
    database_url: Annotated[str, unset("`grantlog.db` in the data directory"), SECRET_IN_URL] = ""
    """URL of the database: `sqlite:///…` or `postgresql://…`, which may name several hosts, see
    [operations](operations.md#several-postgresql-servers)."""
    migration_database_url: Annotated[str, unset("`GRANTLOG_DATABASE_URL`"), SECRET_IN_URL] = ""
    """The same database as the role that owns the tables; migrations run as that role."""
    master_key: Annotated[str, NONE, SECRET] = ""
    """Wraps every key in the vault. Production needs it, or the file."""
    master_key_file: Annotated[
        Path | None, unset("none; in the demo `master.key` in the data directory, made at the first start")
    ] = None
    """File that holds the master key."""
    code_lifetime: Annotated[int, within(1, 600)] = 60
    """Lifetime of an authorization code (RFC 6749 §4.1.2)."""
    access_token_lifetime: Annotated[int, within(10, 86400)] = 600
    """Lifetime of an access token, unless its client has its own."""
    refresh_token_idle_lifetime: Seconds = 30 * 86400
    """A refresh token that nobody uses for this long is dead."""
    refresh_token_absolute_lifetime: Seconds = 90 * 86400
    """A grant cannot be refreshed longer than this after it began."""
    session_idle_lifetime: Seconds = 12 * 3600
    """A browser session that nobody uses for this long has ended."""
    session_absolute_lifetime: Seconds = 7 * 86400
    """A browser session ends this long after its sign-in."""
    refresh_grace: Annotated[int, within(0, 30)] = 0
    """Window in which a refresh token may be used again after a lost answer."""
    dashboard_refresh_grace: Annotated[int, within(0, 30)] = 10
    """The same window for dashboards, whose second tabs share a cookie."""
    idempotency_lifetime: Seconds = 86400
    """How long an `Idempotency-Key` is remembered with its answer."""
    home: Annotated[bool | None, unset("only in the demo")] = None
    """Whether the page at `/` lists the dashboards and what else there is to do here."""
    token_prefix: Annotated[str, Meta(pattern=PREFIX_PATTERN)] = "glog"  # noqa: S105 - the public beginning of secrets
    """First part of every new secret. Name the one before in `GRANTLOG_FORMER_TOKEN_PREFIXES`."""
    former_token_prefixes: Annotated[tuple[Annotated[str, Meta(pattern=PREFIX_PATTERN)], ...], NONE] = ()
    """First parts of former secrets, separated by commas: these are still read, masked in what is logged, and found
    where they leak."""

    argon2_memory: Annotated[int, within(19456, 4194304)] = 19456
    """argon2id memory of one password check, in KiB."""
    argon2_time: Annotated[int, within(1, 100)] = 2
    """argon2id passes."""
    argon2_parallelism: Annotated[int, within(1, 64)] = 1
    """argon2id lanes."""
    password_concurrency: Annotated[int, within(1, 256)] = 2
    """Password checks that one worker runs at a time."""
    password_minimum: Annotated[int, within(8, 128)] = 12
    """Shortest password that may be set."""

    workers: Annotated[int, within(1, 256)] = 1
    """Server processes."""
    trusted_proxies: Annotated[tuple[str, ...], NONE] = ()
    """Networks (separated by commas) whose `X-Request-Id` and `GRANTLOG_PROXY_HEADER` count."""
    proxy_header: Literal["x-forwarded-for", "forwarded"] = "x-forwarded-for"
    """The header in which these write a caller's address. The other one is ignored."""
    in_flight: Annotated[int, within(1, 100000)] = 256
    """Requests that one worker has in hand at most; further ones get 503, and others earlier when they would wait for
    more than 150 ms."""
    connections: Annotated[int, within(16, 1000000)] = 4096
    """Connections that one worker holds at most; further ones get 503."""
    address_share: Annotated[float, within(0.001, 1)] = 0.125
    """Part of a worker's connections, and of its half-sent requests, that one address may hold (of IPv6 one /64).
    Trusted proxies may hold all."""
    metrics_networks: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    """Networks (separated by commas) that `/metrics` answers on the main port too."""
    body_limit: Annotated[int, within(1024, 16 * 1024 * 1024)] = 64 * 1024
    """Largest request body, in bytes."""
    list_body_limit: Annotated[int, within(1024, 64 * 1024 * 1024)] = 1024 * 1024
    """Largest request body that is a list, in bytes."""
    shutdown_timeout: Annotated[int, within(1, 600)] = 20
    """How long a stopping server finishes what it accepted."""
    allow_private_urls: bool = False
    """Whether the server may fetch from private and loopback addresses."""

    webhooks: Annotated[str, NONE, SECRET] = ""
    """Who is told of incidents, replays and the use of dead secrets: a JSON list, see
    [notifications](notifications.md)."""
    notification_attempts: Annotated[int, within(1, 100)] = 12
    """Attempts at a notification before it is a dead letter."""
    mail_host: Annotated[str, NONE] = ""
    """Mail server that takes the same notifications as e-mail."""
    mail_port: Annotated[int, within(1, 65535)] = 587
    """Port of the mail server."""
    mail_tls: Literal["starttls", "tls", "none"] = "starttls"
    """`starttls` insists on it, `tls` begins with it, `none` is for a relay on the same machine."""
    mail_username: Annotated[str, unset("none: it asks for none")] = ""
    """User name at the mail server."""
    mail_password: Annotated[str, NONE, SECRET] = ""
    """Password at the mail server."""
    mail_from: Annotated[str, Meta(max_length=254), NONE] = ""
    """Sender of these e-mails."""
    mail_to: Annotated[tuple[str, ...], NONE] = ()
    """Who gets them, separated by commas."""
    mail_types: tuple[str, ...] = ("*",)
    """Types of events that are told by e-mail, separated by commas; `incident.*` is several."""

    github_keys_url: Annotated[
        str,
        Meta(pattern="^(https?://[!-~]{1,2000})?$"),
        unset("none: without it or the file GitHub's reports are refused"),
    ] = ""
    """Where GitHub publishes the keys that sign its reports of leaked secrets, see [secret
    scanning](secret-scanning.md)."""
    github_keys_file: Annotated[Path | None, NONE] = None
    """File that holds these keys, as GitHub publishes them. It wins."""
    gitlab_token: Annotated[
        str, Meta(pattern="^([!-~]{16,500})?$"), unset("none: GitLab's reports are refused"), SECRET
    ] = ""
    """Shared with a GitLab that reports leaked secrets to be ended; at least 16 characters."""
    leaks_contain: tuple[Literal["at", "rt", "ac", "cs", "ss", "none"], ...] = ("at", "rt", "ac", "ss")
    """Kinds of secrets (separated by commas; `none` for none) that are ended, with what came of them, as soon as GitHub
    reports one; of others only an incident is opened. A report by GitLab ends any."""

    log_origin: Annotated[
        str, Meta(pattern="^([!-*,-~]{1,200})?$"), unset("the issuer's host and port, and `/log`")
    ] = ""
    """Name of the transparency log (C2SP tlog-checkpoint). It counts when the log gets its first key: a log keeps its
    name for ever."""
    witnesses: Annotated[tuple[str, ...], NONE] = ()
    """Witnesses (separated by commas), each its URL, a blank, and its verifier key, that cosign every checkpoint (C2SP
    tlog-witness)."""
    witness_quorum: Annotated[int, within(1, 64)] = 1
    """With fewer cosignatures on a checkpoint than this, an alarm is raised."""
    witness_timeout: Annotated[float, within(0.05, 30)] = 0.5
    """How long a checkpoint waits for witnesses before it is shown."""

    log_format: Literal["auto", "json", "console"] = "auto"
    """`auto` is `console` in a terminal and `json` elsewhere."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least level that is logged."""
    log_requests: bool = True
    """Whether every request gets a log line."""

    throttle: bool = True
    """Whether attempts and public endpoints are throttled."""
    sign_in_free: Annotated[int, within(0, 100)] = 5
    """Failed sign-ins of one account from one address before delays begin."""
    sign_in_longest_delay: Annotated[int, within(1, 3600)] = 60
    """Longest delay; it doubles from 1 second with every further failure."""
    sign_in_burst: Annotated[int, within(1, 10000)] = 30
    """Failed sign-ins from one address at once."""
    sign_in_interval: Annotated[int, within(1, 3600)] = 2
    """One further failed sign-in from that address is free after this long."""
    sign_in_person_burst: Annotated[int, within(1, 10000)] = 20
    """Failed sign-ins of one account at once from addresses from which it was never signed in to."""
    sign_in_person_interval: Annotated[int, within(1, 3600)] = 30
    """One further failed sign-in from such an address is free after this long."""
    client_burst: Annotated[int, within(1, 10000)] = 10
    """Failed authentications of one client from one address at once."""
    client_interval: Annotated[int, within(1, 3600)] = 1
    """One further failed client authentication is free after this long."""
    client_tokens_per_minute: Annotated[int, within(1, 1000000)] = 6000
    """Tokens that a client may obtain for itself within a minute (`client_credentials`), on each node, unless it has a
    number of its own."""
    person_tokens_per_minute: Annotated[int, within(1, 1000000)] = 60
    """Times within a minute that a client may obtain tokens for one person."""
    public_burst: Annotated[int, within(1, 1000000)] = 300
    """Requests of one address to public endpoints at once."""
    public_rate: Annotated[int, within(1, 100000)] = 20
    """Requests of one address to public endpoints per second, in the long run."""

    address_retention: Annotated[int, within(1, 36500)] = 400
    """Days for which network addresses and user agents are kept. A month of them ends when all of it is older, unless a
    hold or an open incident names it, see [audit](audit.md)."""
    prune_interval: Seconds = 60
    """How often rows of expired tokens leave the token table."""
    prune_batch: Annotated[int, within(1, 100000)] = 500
    """Rows that leave in one transaction."""
    usage_flush_interval: Annotated[int, within(1, 3600)] = 10
    """Uses of secrets are gathered for this long before they are recorded."""
    dead_secret_incidents: bool = False
    """Whether somebody who presents an expired or revoked client secret opens an incident."""
    token_usage_interval: Annotated[int, within(1, 86400)] = 600
    """After its first use from an address, further uses of a token from there are one event within this time."""
    grouped_window: Annotated[int, within(10, 86400)] = 600
    """Repeated failures within this window are one event with a count."""

    def __repr__(self) -> str:
        """Names only: a setting's value may be a key or hold a database's password."""
        return f"Settings({self.environment})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """The same for pretty printers, which would otherwise list every field."""
        return [("environment", self.environment)]


FIELDS: tuple[msgspec.structs.FieldInfo, ...] = msgspec.structs.fields(Settings)
TYPES: Mapping[str, Any] = get_type_hints(Settings, include_extras=True)


# How a setting is written in the environment: the name of its variable, and the text that stands for its value.

PREFIX = "GRANTLOG_"


def variable(field: str) -> str:
    """The environment variable of a field."""
    return PREFIX + field.upper()


def plain(hint: Any) -> Any:
    """A field's type without what is said of it."""
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def convert(hint: Any, raw: Any) -> Any:
    """The value of a field of this type that a text stands for; several are separated by commas.

    Anything but a text is only checked. Raises ValueError, msgspec's ValidationError among them.
    """
    kind = plain(hint)
    if get_origin(kind) is tuple and isinstance(raw, str):
        raw = [part.strip() for part in raw.split(",") if part.strip()]
    if isinstance(raw, str) and "\0" in raw:
        raise ValueError("holds a NUL character")
    if kind in (Path, Path | None):
        return Path(raw)
    if kind in (bool, bool | None) and isinstance(raw, str):
        return _switch(raw)
    return msgspec.convert(raw, hint, strict=False)


def _switch(text: str) -> bool:
    known = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if (value := known.get(text.strip().lower())) is None:
        raise ValueError("must be 1 or 0")
    return value


def words(error: Exception) -> str:
    """What is wrong with a value, without the value."""
    # msgspec repeats an invalid choice's value; a value may be a secret typed into the wrong variable.
    text = str(error)
    return "is none of the allowed values" if text.startswith("Invalid enum value") else text


def log_origin(settings: Settings) -> str:
    """The name that a new log gets: as set, or else the address under which it is published, without a scheme."""
    return settings.log_origin or urlsplit(settings.issuer).netloc + "/log"


def load(environ: Mapping[str, str] | None = None, dotenv: Path | None = Path(".env"), **given: Any) -> Settings:
    """Settings from `given` (the command line), the environment and a `.env` file, in this order of weight.

    An empty variable counts as unset. Raises SettingsError that names every variable at fault, never its value.
    """
    from_file = dotenv_values(dotenv, interpolate=False) if dotenv is not None and dotenv.is_file() else {}
    texts = {**from_file, **(os.environ if environ is None else environ)}
    values: dict[str, Any] = {}
    faults: list[str] = []
    for field in FIELDS:
        raw: Any = given.get(field.name)
        if raw is None:
            raw = texts.get(variable(field.name)) or None
        if raw is None:
            continue
        try:
            values[field.name] = convert(TYPES[field.name], raw)
        except (msgspec.ValidationError, ValueError) as error:
            faults.append(f"{variable(field.name)}: {words(error)}")
    if unknown := given.keys() - {field.name for field in FIELDS}:
        raise TypeError(f"no such setting: {', '.join(sorted(unknown))}")
    if faults:
        raise SettingsError(faults)
    settings = Settings(**values)
    settings = msgspec.structs.replace(settings, **fallbacks(settings))
    if problems := list(cross_check(settings)):
        raise SettingsError([f"{variable(field)}: {text}" for field, text in problems])
    return settings


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """Variables that look like settings and are none, so that a misspelt name can be pointed out."""
    known = {variable(field.name) for field in FIELDS}
    return sorted(name for name in environ if name.startswith(PREFIX) and name not in known)


# What settings must satisfy together, and what an unset one follows from.

NO_MASTER_KEY = (
    "is missing. In production every key in the database is wrapped by a master key that is kept elsewhere. Make "
    "one with `openssl rand -base64 32 | tr '+/' '-_'`, keep a copy safe (without it sealed data is lost), and "
    "set GRANTLOG_MASTER_KEY to it or GRANTLOG_MASTER_KEY_FILE to a file that holds it"
)


def fallbacks(settings: Settings) -> dict[str, Any]:
    """Values of the settings that are unset and follow from others."""
    derived: dict[str, Any] = {}
    if not settings.issuer and is_loopback(settings.host):
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        derived["issuer"] = f"http://{host}:{settings.port}"
    database_url = understood(settings.database_url or f"sqlite:///{settings.data_dir.absolute() / 'grantlog.db'}")
    derived["database_url"] = database_url
    if settings.checkpoint_file is None:
        derived["checkpoint_file"] = settings.data_dir / "checkpoint"
    derived["migration_database_url"] = understood(settings.migration_database_url or database_url)
    if settings.home is None:
        derived["home"] = settings.environment == "demo"
    if settings.environment == "demo" and not settings.master_key and settings.master_key_file is None:
        derived["master_key_file"] = settings.data_dir / "master.key"
    return derived


def cross_check(settings: Settings) -> Iterator[tuple[str, str]]:
    """Every rule that is broken, as the field to name and the words that say what to do."""
    if not settings.issuer:
        yield (
            "issuer",
            "is missing: the host is not a loopback address, so say under which https URL clients reach the server",
        )
    elif text := issuers.fault(settings.issuer):
        yield "issuer", text
    for field in ("trusted_proxies", "metrics_networks"):
        if not all(_is_network(network) for network in getattr(settings, field)):
            yield field, "must be networks such as 10.0.0.0/8 or addresses, separated by commas"
    yield from _databases(settings)
    yield from _master_key(settings)
    yield from _witnesses(settings)
    yield from _notifications(settings)
    if settings.refresh_token_idle_lifetime > settings.refresh_token_absolute_lifetime:
        yield "refresh_token_idle_lifetime", "must not be longer than GRANTLOG_REFRESH_TOKEN_ABSOLUTE_LIFETIME"
    if settings.session_idle_lifetime > settings.session_absolute_lifetime:
        yield "session_idle_lifetime", "must not be longer than GRANTLOG_SESSION_ABSOLUTE_LIFETIME"
    if settings.argon2_memory < 8 * settings.argon2_parallelism:
        yield "argon2_memory", "must be at least 8 KiB for each lane of GRANTLOG_ARGON2_PARALLELISM"


def _databases(settings: Settings) -> Iterator[tuple[str, str]]:
    urls = {"database_url": settings.database_url}
    if settings.migration_database_url != settings.database_url:
        urls["migration_database_url"] = settings.migration_database_url
    for field, url in urls.items():
        if text := database.problem(url):
            yield field, text


def _master_key(settings: Settings) -> Iterator[tuple[str, str]]:
    if settings.master_key and settings.master_key_file is not None:
        yield "master_key", "is set together with GRANTLOG_MASTER_KEY_FILE: keep one of them"
    if settings.environment != "production":
        return
    if not settings.master_key and settings.master_key_file is None:
        yield "master_key", NO_MASTER_KEY
    if settings.master_key_file is not None and not settings.master_key_file.is_file():
        yield "master_key_file", "names no file that can be read"


def _witnesses(settings: Settings) -> Iterator[tuple[str, str]]:
    if not settings.witnesses:
        return

    try:
        found = configured(settings.witnesses)
    except ValueError as error:
        yield "witnesses", str(error)
        return
    if settings.witness_quorum > len(found):
        yield "witness_quorum", "must not be more than there are in GRANTLOG_WITNESSES"


def _notifications(settings: Settings) -> Iterator[tuple[str, str]]:
    # What the channels need takes half a second to import, which nobody pays for who uses none.
    if settings.webhooks or settings.mail_host:
        from api.notifications.channels import faults

        yield from faults(settings)


def _is_network(text: str) -> bool:
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return True


# The configured witnesses: where each is reached, and by which key it is known.


def configured(texts: Sequence[str]) -> list[Witness]:
    """Reads `<URL> <verifier key>` for each; ValueError that says in words what is wrong, without repeating it."""
    found = [_witness(text) for text in texts]
    if len({witness.key.name for witness in found}) < len(found):
        raise ValueError("names a witness twice")
    return found


def _witness(text: str) -> Witness:
    url, _, vkey = text.partition(" ")
    try:
        parts = urlsplit(url)
        reachable = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc
    except ValueError:
        reachable = False
    if not reachable or not vkey.strip():
        raise ValueError("must be `https://… name+id+key`, a witness's URL and its verifier key, separated by commas")
    key = VerifierKey.parse(vkey.strip())
    if key.algorithm != COSIGNATURE_V1:
        raise ValueError("holds a key that is no witness's: it signs no cosignatures")
    return Witness(url, key)
