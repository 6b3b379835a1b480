"""Reads the settings from the command line, the environment and `.env`, and checks them before any start."""

import os
from collections.abc import Iterator, Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Any, get_origin
from urllib.parse import urlsplit

import msgspec
from dotenv import dotenv_values

from api.config.settings import FIELDS, PREFIX, TYPES, Settings, is_mailbox, plain, variable
from domain.rules import origin as issuers
from domain.rules.origin import is_loopback
from eventstore import database
from eventstore.database.engines import is_sqlite, understood
from eventstore.transparency.keeper import configured_witnesses
from security.passkeys import covers


class SettingsError(ValueError):
    """The settings cannot be used. The message has one line per variable, each with its name and what to do."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


def load(environ: Mapping[str, str] | None = None, dotenv: Path | None = Path(".env"), **given: Any) -> Settings:
    """Settings from `given` (the command line), the environment and a `.env` file, in this order of weight; an empty
    variable counts as unset. Raises SettingsError that names every variable at fault, never its value."""
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


# The text that stands for a value.


def convert(hint: Any, raw: Any) -> Any:
    """The value of a field of this type that a text stands for; several are separated by commas. Anything but a text is
    only checked. Raises ValueError, msgspec's ValidationError among them."""
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
    if settings.issuers_file is None:
        derived["issuers_file"] = settings.data_dir / "issuers.json"
    derived["migration_database_url"] = understood(settings.migration_database_url or database_url)
    if settings.replica_url:
        derived["replica_url"] = understood(settings.replica_url)
    if settings.home is None:
        derived["home"] = settings.environment == "demo"
    if settings.mail is None:
        derived["mail"] = "smtp" if settings.smtp_host else "file" if settings.environment == "demo" else "off"
    if not settings.smtp_from:
        host = urlsplit(derived.get("issuer", settings.issuer)).hostname or "localhost"
        derived["smtp_from"] = f"no-reply@{'localhost' if is_loopback(host) else host}"
    if settings.environment == "demo" and not settings.master_key and settings.master_key_file is None:
        derived["master_key_file"] = settings.data_dir / "master.key"
    return derived


def default_of(settings: Settings, field: str) -> Any:
    """What a setting would be if nobody had set it and the others were as they are."""
    unset = next(each.default for each in FIELDS if each.name == field)
    return fallbacks(msgspec.structs.replace(settings, **{field: unset})).get(field, unset)


def cross_check(settings: Settings) -> Iterator[tuple[str, str]]:
    """Every rule that is broken, as the field to name and the words that say what to do."""
    if not settings.issuer:
        yield (
            "issuer",
            "is missing: the host is not a loopback address, so say under which https URL clients reach the server",
        )
    elif text := issuers.fault(settings.issuer):
        yield "issuer", text
    elif settings.webauthn_rp_id and not covers(settings.webauthn_rp_id, urlsplit(settings.issuer).hostname or ""):
        yield "webauthn_rp_id", "must be the host of GRANTLOG_ISSUER or a domain above it"
    for field in ("trusted_proxies", "metrics_networks"):
        if not all(_is_network(network) for network in getattr(settings, field)):
            yield field, "must be networks such as 10.0.0.0/8 or addresses, separated by commas"
    yield from _databases(settings)
    yield from _master_key(settings)
    yield from _witnesses(settings)
    yield from _notifications(settings)
    yield from _mail(settings)
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
    if settings.replica_url:
        urls["replica_url"] = settings.replica_url
        if is_sqlite(settings.replica_url) or is_sqlite(settings.database_url):
            yield "replica_url", "is for PostgreSQL alone"
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
        found = configured_witnesses(settings.witnesses)
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


def _mail(settings: Settings) -> Iterator[tuple[str, str]]:
    if settings.mail == "smtp" and not settings.smtp_host:
        yield "smtp_host", "is missing: GRANTLOG_MAIL is `smtp`"
    if settings.mail != "off" and not is_mailbox(settings.smtp_from):
        yield "smtp_from", "must be an e-mail address"
    if bool(settings.smtp_username) != bool(settings.smtp_password):
        yield "smtp_password", "must be set together with GRANTLOG_SMTP_USERNAME"
    if settings.smtp_username and settings.smtp_tls == "none":
        yield "smtp_tls", "must not be `none` with a password, which would be sent in clear"


def _is_network(text: str) -> bool:
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return True
