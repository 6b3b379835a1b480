"""Every setting of the server: one frozen struct, which `api.environment` reads and checks before any start."""

import ast
import inspect
import re
from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from eventstore import database

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
    webauthn_rp_id: Annotated[str, unset("the issuer's host")] = ""
    """Relying party of passkeys: the issuer's host or a domain above it. Those that were made under another are lost:
    the log of the first start under a new name says how many, and their owners see which."""
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
    replica_url: Annotated[str, NONE, SECRET_IN_URL] = ""
    """URL of standbys of that PostgreSQL, of which tokens are validated where they have what the primary had, see
    [operations](operations.md#several-postgresql-servers)."""
    issuers_file: Annotated[Path | None, unset("`issuers.json` in the data directory")] = None
    """File that names the further issuers of this server, which `grantlog issuer` keeps, see [issuers](issuers.md)."""
    open_issuers: Annotated[int, within(1, 10000)] = 16
    """Further issuers whose logs one worker has open at a time; requests to others wait until one of them is idle."""
    issuer_connections: Annotated[int, within(8, 10000)] = 48
    """Connections to PostgreSQL that one worker has for the logs of all further issuers, beside five for each database,
    and as many to standbys; anyone who finds none waits."""
    issuer_idle: Annotated[int, within(1, 86400)] = 300
    """The log of a further issuer that nobody asks for so long is closed."""
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
    jwt_access_token_lifetime: Annotated[int, within(10, 86400)] = 300
    """No JWT access token lives longer: anyone who validates offline takes it until it expires, whatever was ended."""
    refresh_token_idle_lifetime: Seconds = 30 * 86400
    """A refresh token that nobody uses for this long is dead."""
    refresh_token_absolute_lifetime: Seconds = 90 * 86400
    """A grant cannot be refreshed longer than this after it began."""
    id_token_lifetime: Annotated[int, within(10, 86400)] = 600
    """Lifetime of an id_token (OpenID Connect Core §2)."""
    signing_key_lead: Annotated[int, within(0, 30 * 86400)] = 86400
    """How long a key that signs tokens is published before it is used: longer than anybody keeps the answer of
    `/.well-known/jwks.json`. The first one, and what takes the place of a compromised one, is used at once."""
    dpop_nonces: Literal["none", "resources", "everywhere"] = "resources"
    """Where a DPoP proof must hold a nonce of this server (RFC 9449 §8, §9): with access tokens at `/oauth/userinfo`
    and the API, or at `/oauth/token` and `/oauth/par` too."""
    require_pushed_authorization_requests: bool = False
    """Whether every client must push its authorization requests (RFC 9126 §5)."""
    session_idle_lifetime: Seconds = 12 * 3600
    """A browser session that nobody uses for this long has ended."""
    session_absolute_lifetime: Seconds = 7 * 86400
    """A browser session ends this long after its sign-in."""
    refresh_grace: Annotated[int, within(0, 30)] = 0
    """Window in which a refresh token may be used again after a lost answer."""
    dashboard_refresh_grace: Annotated[int, within(0, 30)] = 10
    """The same window for dashboards, whose second tabs share a cookie."""
    recent_authentication: Seconds = 300
    """How long ago a person may have signed in for what is dangerous, such as ending a secret or erasing somebody."""
    erasure_delay: Annotated[int, within(0, 7_776_000)] = 604_800
    """How long people who want to be erased have to think it over. Administrators erase at once."""
    idempotency_lifetime: Seconds = 86400
    """How long an `Idempotency-Key` is remembered with its answer."""
    home: Annotated[bool | None, unset("only in the demo")] = None
    """Whether the page at `/` lists the dashboards and what else there is to do here."""
    console: bool = True
    """Whether there is the console at `/console`."""
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
    one_processor: bool = True
    """Whether a busy worker keeps its threads on one processor, where there are more of them than workers (Linux)."""
    huge_pages: bool = True
    """Whether workers keep their memory in pages of 2 MiB, which costs each some 50 MiB (Linux 6.1)."""
    trusted_proxies: Annotated[tuple[str, ...], NONE] = ()
    """Networks (separated by commas) whose `X-Request-Id` and `GRANTLOG_PROXY_HEADER` count."""
    client_certificate_header: Annotated[
        str, Meta(pattern="^([A-Za-z][A-Za-z0-9-]{0,63})?$"), unset("none: clients do not authenticate so")
    ] = ""
    """The header in which these tell of the certificate that a client showed: URL-encoded PEM, or RFC 9440
    `Client-Cert`. They have to remove it from what callers send."""
    client_ca_file: Annotated[Path | None, NONE] = None
    """File of the authorities (PEM) whose certificates clients may show (`tls_client_auth`)."""
    mtls_url: Annotated[str, Meta(pattern="^(https://[!-~]{1,200}[!-.0-~])?$"), NONE] = ""
    """The server's URL under which certificates are asked for, where that is another port than the issuer's."""
    proxy_header: Literal["x-forwarded-for", "forwarded"] = "x-forwarded-for"
    """The header in which these write a caller's address. The other one is ignored."""
    in_flight: Annotated[int, within(1, 100000)] = 256
    """Requests that one worker has in hand at most; further ones get 503, half a second later, and others earlier when
    they would wait for more than 150 ms."""
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
    """Who is notified of incidents, replays and the use of dead secrets: a JSON list, see
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
    """Types of events that are told by e-mail, separated by commas; `incident.*` is several, `security` a set."""

    mail: Annotated[
        Literal["off", "file", "smtp"] | None,
        unset("`smtp` with GRANTLOG_SMTP_HOST, else `file` in the demo and `off` in production"),
    ] = None
    """How mail to people is sent, such as links to a new password: not at all, into files in the data directory, or by
    the mail server of `GRANTLOG_SMTP_…`."""
    smtp_host: Annotated[str, NONE] = ""
    """Mail server that takes mail to people."""
    smtp_port: Annotated[int, within(1, 65535)] = 587
    """Its port."""
    smtp_tls: Literal["starttls", "tls", "none"] = "starttls"
    """`starttls` insists on it, `tls` begins with it, `none` is for a relay on the same machine."""
    smtp_username: Annotated[str, unset("none: it asks for none")] = ""
    """User name there."""
    smtp_password: Annotated[str, NONE, SECRET] = ""
    """Password there."""
    smtp_from: Annotated[str, Meta(max_length=254), unset("`no-reply@` and the issuer's host")] = ""
    """Sender of mail to people."""

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
    leaks_contain: tuple[Literal["at", "rt", "ac", "dc", "cs", "ss", "ia", "ra", "none"], ...] = (
        *("at", "rt", "ac", "dc", "ss", "ia", "ra"),
    )
    """Kinds of secrets (separated by commas; `none` for none) that are ended, with what came of them, as soon as GitHub
    reports one; of others only an incident is opened. With `cs` a client's private key ends as well. A report by GitLab
    ends any."""

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

    registration: Literal["off", "token", "open"] = "off"
    """Whether clients may register themselves (RFC 7591): not at all, with an initial access token, or anybody."""
    registration_scope: Annotated[str, Meta(pattern="^[!#-\\[\\]-~]{1,128}( [!#-\\[\\]-~]{1,128}){0,99}$")] = (
        "openid profile email address phone offline_access"
    )
    """Scope of a client that registers itself and names none, with spaces between."""
    registration_resources: Annotated[tuple[Annotated[str, Meta(max_length=512)], ...], NONE] = ()
    """Resources (separated by commas) that the tokens of such a client may be for if it names none (RFC 8707)."""
    registrations_per_hour: Annotated[int, within(1, 1000000)] = 3600
    """Clients that may register themselves within an hour where anybody may, on each node; those of one address may
    be a tenth of it."""

    client_id_metadata_documents: bool = False
    """Whether a client may call itself by the https address of a document that describes it, unknown before (Client ID
    Metadata Documents, as agents do by MCP)."""

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
    client_ids_kept: Annotated[int, within(10, 10000000)] = 100000
    """Identifiers (`jti`) of assertions, proofs and request objects that are remembered of one client at a time. Each
    is as long as it could be used again; a client that has more gets 429."""
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


PREFIX = "GRANTLOG_"


def variable(field: str) -> str:
    """The environment variable of a field."""
    return PREFIX + field.upper()


MAILBOX = re.compile(r"[!-?A-~]+@[!-?A-~]+", re.ASCII)


def is_mailbox(text: str) -> bool:
    """Whether it can stand as an address in a letter's head and on the way to a mail server."""
    return MAILBOX.fullmatch(text) is not None


def plain(hint: Any) -> Any:
    """A field's type without what is said of it."""
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def log_origin(settings: Settings) -> str:
    """The name that a new log gets: as set, or else the address under which it is published, without a scheme."""
    return settings.log_origin or urlsplit(settings.issuer).netloc + "/log"


# What may be shown of the settings: the documentation page, the command line's table, the `server.started` event.

MASKED = "***"
HEAD = """# Settings

Generated from `api/config/settings.py` by `make docs`; change it there. A setting comes from the
command line, else from the environment, else from a `.env` file in the working directory. An empty variable counts as
unset. Durations are seconds. `grantlog settings` shows the values in force.

| variable | meaning | default | allowed |
|---|---|---|---|
"""


class Shown(msgspec.Struct, frozen=True):
    """One setting as a person may see it; a secret's `value` is masked."""

    name: str
    variable: str
    value: str
    default: str
    meaning: str
    secret: bool


@cache
def _meanings() -> dict[str, str]:
    """What stands below each field of the struct in its source."""
    (struct,) = ast.parse(inspect.getsource(Settings)).body
    found = {}
    for field, below in pairwise(struct.body if isinstance(struct, ast.ClassDef) else ()):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                found[name] = " ".join(text.split())
    return found


def _metas(field: str) -> tuple[msgspec.Meta, ...]:
    return getattr(TYPES[field], "__metadata__", ())


def _extra(field: str) -> dict[str, Any]:
    return {name: value for meta in _metas(field) for name, value in (meta.extra or {}).items()}


def _text(value: Any) -> str:
    if value is None or value == "":
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value)


def masked(settings: Settings, field: str) -> str:
    """A setting's value as text; of a secret only whether it is set, of a database URL everything but the password."""
    text = _text(getattr(settings, field))
    concealed = _extra(field).get("secret")
    if concealed == "all":
        return MASKED if text else ""
    if concealed == "in_url" and text:
        return database.shown(text)
    return text


def shown(settings: Settings) -> list[Shown]:
    """Every setting for `grantlog settings`, in the struct's order."""
    return [
        Shown(
            name=field.name,
            variable=variable(field.name),
            value=masked(settings, field.name),
            default=_default(field),
            meaning=_meanings()[field.name],
            secret="secret" in _extra(field.name),
        )
        for field in FIELDS
    ]


def effective(settings: Settings) -> dict[str, str]:
    """Settings for the `server.started` event: name → value, nothing secret, no paths of this machine."""
    kept_out = {"data_dir", "master_key_file", "issuers_file"}
    return {
        field.name: masked(settings, field.name)
        for field in FIELDS
        if field.name not in kept_out and "secret" not in _extra(field.name)
    }


def _default(field: msgspec.structs.FieldInfo) -> str:
    derived = _extra(field.name).get("default")
    return str(derived) if derived else f"`{_text(field.default)}`"


def _allowed(field: str) -> str:
    kind, metas = plain(TYPES[field]), _metas(field)
    if get_origin(kind) is Literal:
        return " ".join(f"`{choice}`" for choice in get_args(kind))
    if kind is bool:
        return "`1` `0`"
    for meta in metas:
        if meta.ge is not None:
            return f"{meta.ge} … {meta.le}"
        if meta.pattern is not None:
            return f"`{meta.pattern}`"
    return ""


def page() -> str:
    """The text of `docs/settings.md`."""
    rows = []
    for field in FIELDS:
        secret = " **Secret**: never shown or logged." if "secret" in _extra(field.name) else ""
        meaning = _meanings()[field.name] + secret
        rows.append(f"| `{variable(field.name)}` | {meaning} | {_default(field)} | {_allowed(field.name)} |")
    return HEAD + "\n".join(rows) + "\n"
