"""Every setting of the server: one frozen struct, read from the environment and `.env`, checked before any start."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_origin, get_type_hints
from urllib.parse import urlsplit

import msgspec
from dotenv import dotenv_values
from msgspec import Meta, Struct

from api.config.setting_rules import SettingsError, cross_check, fallbacks
from domain.rules import origin as issuers

# How a setting is written in the environment: the name of its variable, and the text that stands for its value.

PREFIX = "GRANTLOG_"


def variable(field: str) -> str:
    """The environment variable of a field."""
    return PREFIX + field.upper()


def convert(hint: Any, raw: Any) -> Any:
    """The value that a text stands for; several are separated by commas. Anything but a text is only checked.

    `hint` is the field's `Annotated` type. Raises ValueError, msgspec's ValidationError among them.
    """
    kind = hint.__origin__
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


# The first of the settings: where a server is, under which name, and where it keeps its data and its keys.

SECRET = {"secret": "all"}
SECRET_IN_URL = {"secret": "in_url"}


class Deployment(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What differs from one server to the next; a part of `Settings`, which says how the fields are annotated."""

    environment: Annotated[
        Literal["production", "demo"],
        Meta(
            description="`production`, or `demo`: example people and clients, and a master key made at the first start."
        ),
    ] = "production"
    host: Annotated[str, Meta(description="Address to listen on.", min_length=1, max_length=255)] = "127.0.0.1"
    port: Annotated[int, Meta(description="Port to listen on.", ge=1, le=65535)] = 8400
    health_host: Annotated[
        str,
        Meta(
            description="Address to listen on for those who look after the server: health in detail, and `/metrics`.",
            min_length=1,
            max_length=255,
        ),
    ] = "127.0.0.1"
    health_port: Annotated[int, Meta(description="Port of that listener; 0 for none.", ge=0, le=65535)] = 8402
    demo_port: Annotated[int, Meta(description="Port of the demo's third-party application.", ge=1, le=65535)] = 8401
    issuer: Annotated[
        str,
        Meta(
            description="The server's public URL and issuer identifier (RFC 8414 §2): https, or http on loopback.",
            extra={"default": "`http://` and the host and port, when the host is a loopback address"},
        ),
    ] = ""
    data_dir: Annotated[Path, Meta(description="Directory for the SQLite file, the demo's files and the throttle.")] = (
        Path("var")
    )
    checkpoint_file: Annotated[
        Path | None,
        Meta(
            description="Where this node keeps the newest signed checkpoint outside the database, so that it does not "
            "start on an older or another one. Each node has its own.",
            extra={"default": "`checkpoint` in the data directory"},
        ),
    ] = None
    database_url: Annotated[
        str,
        Meta(
            description="URL of the database: `sqlite:///…` or `postgresql://…`, which may name several hosts, see "
            "[operations](operations.md#several-postgresql-servers).",
            extra={"default": "`grantlog.db` in the data directory", **SECRET_IN_URL},
        ),
    ] = ""
    migration_database_url: Annotated[
        str,
        Meta(
            description="The same database as the role that owns the tables; migrations run as that role.",
            extra={"default": "`GRANTLOG_DATABASE_URL`", **SECRET_IN_URL},
        ),
    ] = ""
    master_key: Annotated[
        str,
        Meta(
            description="Wraps every key in the vault. Production needs it, or the file.",
            extra={"default": "none", **SECRET},
        ),
    ] = ""
    master_key_file: Annotated[
        Path | None,
        Meta(
            description="File that holds the master key.",
            extra={"default": "none; in the demo `master.key` in the data directory, made at the first start"},
        ),
    ] = None


Seconds = Annotated[int, Meta(ge=1, le=10 * 365 * 86400)]


class Settings(Deployment, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an operator may decide. A variable is `GRANTLOG_` and the field's name in capitals; durations are seconds.

    `Meta.description` says what the setting means, `Meta.extra["default"]` how an unset one is derived, and
    `Meta.extra["secret"]` that its value is never shown. `docs/settings.md` and `grantlog settings` come from here.
    """

    code_lifetime: Annotated[
        int, Meta(description="Lifetime of an authorization code (RFC 6749 §4.1.2).", ge=1, le=600)
    ] = 60
    access_token_lifetime: Annotated[
        int, Meta(description="Lifetime of an access token, unless its client has its own.", ge=10, le=86400)
    ] = 600
    refresh_token_idle_lifetime: Annotated[
        Seconds, Meta(description="A refresh token that nobody uses for this long is dead.")
    ] = 30 * 86400
    refresh_token_absolute_lifetime: Annotated[
        Seconds, Meta(description="A grant cannot be refreshed longer than this after it began.")
    ] = 90 * 86400
    session_idle_lifetime: Annotated[
        Seconds, Meta(description="A browser session that nobody uses for this long has ended.")
    ] = 12 * 3600
    session_absolute_lifetime: Annotated[
        Seconds, Meta(description="A browser session ends this long after its sign-in.")
    ] = 7 * 86400
    refresh_grace: Annotated[
        int, Meta(description="Window in which a refresh token may be used again after a lost answer.", ge=0, le=30)
    ] = 0
    dashboard_refresh_grace: Annotated[
        int, Meta(description="The same window for dashboards, whose second tabs share a cookie.", ge=0, le=30)
    ] = 10
    idempotency_lifetime: Annotated[
        Seconds, Meta(description="How long an `Idempotency-Key` is remembered with its answer.")
    ] = 86400
    home: Annotated[
        bool | None,
        Meta(
            description="Whether the page at `/` lists the dashboards and what else there is to do here.",
            extra={"default": "only in the demo"},
        ),
    ] = None
    token_prefix: Annotated[
        str,
        Meta(
            description="First part of every new secret. Name the one before in `GRANTLOG_FORMER_TOKEN_PREFIXES`.",
            pattern="^[a-z][a-z0-9]{1,11}$",
        ),
    ] = "glog"  # noqa: S105 - the public beginning of every secret.
    former_token_prefixes: Annotated[
        tuple[Annotated[str, Meta(pattern="^[a-z][a-z0-9]{1,11}$")], ...],
        Meta(
            description="First parts of former secrets, separated by commas: these are still read, masked in what is "
            "logged, and found where they leak.",
            extra={"default": "none"},
        ),
    ] = ()

    argon2_memory: Annotated[
        int, Meta(description="argon2id memory of one password check, in KiB.", ge=19456, le=4194304)
    ] = 19456
    argon2_time: Annotated[int, Meta(description="argon2id passes.", ge=1, le=100)] = 2
    argon2_parallelism: Annotated[int, Meta(description="argon2id lanes.", ge=1, le=64)] = 1
    password_concurrency: Annotated[
        int, Meta(description="Password checks that one worker runs at a time.", ge=1, le=256)
    ] = 2
    password_minimum: Annotated[int, Meta(description="Shortest password that may be set.", ge=8, le=128)] = 12

    workers: Annotated[int, Meta(description="Server processes.", ge=1, le=256)] = 1
    trusted_proxies: Annotated[
        tuple[str, ...],
        Meta(
            description="Networks (separated by commas) whose `X-Request-Id` and `GRANTLOG_PROXY_HEADER` count.",
            extra={"default": "none"},
        ),
    ] = ()
    proxy_header: Annotated[
        Literal["x-forwarded-for", "forwarded"],
        Meta(description="The header in which these write a caller's address. The other one is ignored."),
    ] = "x-forwarded-for"
    in_flight: Annotated[
        int,
        Meta(
            description="Requests that one worker has in hand at most; further ones get 503, and others earlier when "
            "they would wait for more than 150 ms.",
            ge=1,
            le=100000,
        ),
    ] = 256
    connections: Annotated[
        int, Meta(description="Connections that one worker holds at most; further ones get 503.", ge=16, le=1000000)
    ] = 4096
    address_share: Annotated[
        float,
        Meta(
            description="Part of a worker's connections, and of its half-sent requests, that one address may hold (of "
            "IPv6 one /64). Trusted proxies may hold all.",
            ge=0.001,
            le=1,
        ),
    ] = 0.125
    metrics_networks: Annotated[
        tuple[str, ...],
        Meta(description="Networks (separated by commas) that `/metrics` answers on the main port too."),
    ] = ("127.0.0.0/8", "::1/128")
    body_limit: Annotated[int, Meta(description="Largest request body, in bytes.", ge=1024, le=16 * 1024 * 1024)] = (
        64 * 1024
    )
    list_body_limit: Annotated[
        int, Meta(description="Largest request body that is a list, in bytes.", ge=1024, le=64 * 1024 * 1024)
    ] = 1024 * 1024
    shutdown_timeout: Annotated[
        int, Meta(description="How long a stopping server finishes what it accepted.", ge=1, le=600)
    ] = 20
    allow_private_urls: Annotated[
        bool, Meta(description="Whether the server may fetch from private and loopback addresses.")
    ] = False

    webhooks: Annotated[
        str,
        Meta(
            description="Who is told of incidents, replays and the use of dead secrets: a JSON list, see "
            "[notifications](notifications.md).",
            extra={"default": "none", **SECRET},
        ),
    ] = ""
    notification_attempts: Annotated[
        int, Meta(description="Attempts at a notification before it is a dead letter.", ge=1, le=100)
    ] = 12
    mail_host: Annotated[
        str, Meta(description="Mail server that takes the same notifications as e-mail.", extra={"default": "none"})
    ] = ""
    mail_port: Annotated[int, Meta(description="Port of the mail server.", ge=1, le=65535)] = 587
    mail_tls: Annotated[
        Literal["starttls", "tls", "none"],
        Meta(description="`starttls` insists on it, `tls` begins with it, `none` is for a relay on the same machine."),
    ] = "starttls"
    mail_username: Annotated[
        str, Meta(description="User name at the mail server.", extra={"default": "none: it asks for none"})
    ] = ""
    mail_password: Annotated[
        str, Meta(description="Password at the mail server.", extra={"default": "none", **SECRET})
    ] = ""
    mail_from: Annotated[
        str, Meta(description="Sender of these e-mails.", max_length=254, extra={"default": "none"})
    ] = ""
    mail_to: Annotated[
        tuple[str, ...], Meta(description="Who gets them, separated by commas.", extra={"default": "none"})
    ] = ()
    mail_types: Annotated[
        tuple[str, ...],
        Meta(description="Types of events that are told by e-mail, separated by commas; `incident.*` is several."),
    ] = ("*",)

    github_keys_url: Annotated[
        str,
        Meta(
            description="Where GitHub publishes the keys that sign its reports of leaked secrets, see "
            "[secret scanning](secret-scanning.md).",
            extra={"default": "none: without it or the file GitHub's reports are refused"},
            pattern="^(https?://[!-~]{1,2000})?$",
        ),
    ] = ""
    github_keys_file: Annotated[
        Path | None,
        Meta(description="File that holds these keys, as GitHub publishes them. It wins.", extra={"default": "none"}),
    ] = None
    gitlab_token: Annotated[
        str,
        Meta(
            description="Shared with a GitLab that reports leaked secrets to be ended; at least 16 characters.",
            pattern="^([!-~]{16,500})?$",
            extra={"default": "none: GitLab's reports are refused", **SECRET},
        ),
    ] = ""
    leaks_contain: Annotated[
        tuple[Literal["at", "rt", "ac", "cs", "ss", "none"], ...],
        Meta(
            description="Kinds of secrets (separated by commas; `none` for none) that are ended, with what came of "
            "them, as soon as GitHub reports one; of others only an incident is opened. A report by GitLab ends any.",
        ),
    ] = ("at", "rt", "ac", "ss")

    log_origin: Annotated[
        str,
        Meta(
            description="Name of the transparency log (C2SP tlog-checkpoint). It counts when the log gets its first "
            "key: a log keeps its name for ever.",
            extra={"default": "the issuer's host and port, and `/log`"},
            pattern="^([!-*,-~]{1,200})?$",
        ),
    ] = ""
    witnesses: Annotated[
        tuple[str, ...],
        Meta(
            description="Witnesses (separated by commas), each its URL, a blank, and its verifier key, that cosign "
            "every checkpoint (C2SP tlog-witness).",
            extra={"default": "none"},
        ),
    ] = ()
    witness_quorum: Annotated[
        int, Meta(description="With fewer cosignatures on a checkpoint than this, an alarm is raised.", ge=1, le=64)
    ] = 1
    witness_timeout: Annotated[
        float, Meta(description="How long a checkpoint waits for witnesses before it is shown.", ge=0.05, le=30)
    ] = 0.5

    log_format: Annotated[
        Literal["auto", "json", "console"], Meta(description="`auto` is `console` in a terminal and `json` elsewhere.")
    ] = "auto"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="The least level that is logged.")
    ] = "info"
    log_requests: Annotated[bool, Meta(description="Whether every request gets a log line.")] = True

    throttle: Annotated[bool, Meta(description="Whether attempts and public endpoints are throttled.")] = True
    sign_in_free: Annotated[
        int, Meta(description="Failed sign-ins of one account from one address before delays begin.", ge=0, le=100)
    ] = 5
    sign_in_longest_delay: Annotated[
        int, Meta(description="Longest delay; it doubles from 1 second with every further failure.", ge=1, le=3600)
    ] = 60
    sign_in_burst: Annotated[int, Meta(description="Failed sign-ins from one address at once.", ge=1, le=10000)] = 30
    sign_in_interval: Annotated[
        int, Meta(description="One further failed sign-in from that address is free after this long.", ge=1, le=3600)
    ] = 2
    sign_in_person_burst: Annotated[
        int,
        Meta(
            description="Failed sign-ins of one account at once from addresses from which it was never signed in to.",
            ge=1,
            le=10000,
        ),
    ] = 20
    sign_in_person_interval: Annotated[
        int,
        Meta(description="One further failed sign-in from such an address is free after this long.", ge=1, le=3600),
    ] = 30
    client_burst: Annotated[
        int, Meta(description="Failed authentications of one client from one address at once.", ge=1, le=10000)
    ] = 10
    client_interval: Annotated[
        int, Meta(description="One further failed client authentication is free after this long.", ge=1, le=3600)
    ] = 1
    client_tokens_per_minute: Annotated[
        int,
        Meta(
            description="Tokens that a client may obtain for itself within a minute (`client_credentials`), on each "
            "node, unless it has a number of its own.",
            ge=1,
            le=1000000,
        ),
    ] = 6000
    person_tokens_per_minute: Annotated[
        int,
        Meta(description="Times within a minute that a client may obtain tokens for one person.", ge=1, le=1000000),
    ] = 60
    public_burst: Annotated[
        int, Meta(description="Requests of one address to public endpoints at once.", ge=1, le=1000000)
    ] = 300
    public_rate: Annotated[
        int,
        Meta(description="Requests of one address to public endpoints per second, in the long run.", ge=1, le=100000),
    ] = 20

    address_retention: Annotated[
        int,
        Meta(
            description="Days for which network addresses and user agents are kept. A month of them ends when all of "
            "it is older, unless a hold or an open incident names it, see [audit](audit.md).",
            ge=1,
            le=36500,
        ),
    ] = 400
    prune_interval: Annotated[Seconds, Meta(description="How often rows of expired tokens leave the token table.")] = 60
    prune_batch: Annotated[int, Meta(description="Rows that leave in one transaction.", ge=1, le=100000)] = 500
    usage_flush_interval: Annotated[
        int, Meta(description="Uses of secrets are gathered for this long before they are recorded.", ge=1, le=3600)
    ] = 10
    dead_secret_incidents: Annotated[
        bool, Meta(description="Whether somebody who presents an expired or revoked client secret opens an incident.")
    ] = False
    token_usage_interval: Annotated[
        int,
        Meta(
            description="After its first use from an address, further uses of a token from there are one event within "
            "this time.",
            ge=1,
            le=86400,
        ),
    ] = 600
    grouped_window: Annotated[
        int, Meta(description="Repeated failures within this window are one event with a count.", ge=10, le=86400)
    ] = 600

    def __repr__(self) -> str:
        """Names only: a setting's value may be a key or hold a database's password."""
        return f"Settings({self.environment})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """The same for pretty printers, which would otherwise list every field."""
        return [("environment", self.environment)]


FIELDS: tuple[msgspec.structs.FieldInfo, ...] = msgspec.structs.fields(Settings)
TYPES: Mapping[str, Any] = get_type_hints(Settings, include_extras=True)


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
    if problems := list(cross_check(settings, issuers.fault)):
        raise SettingsError([f"{variable(field)}: {text}" for field, text in problems])
    return settings


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """Variables that look like settings and are none, so that a misspelt name can be pointed out."""
    known = {variable(field.name) for field in FIELDS}
    return sorted(name for name in environ if name.startswith(PREFIX) and name not in known)
