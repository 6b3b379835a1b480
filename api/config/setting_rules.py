"""What settings must satisfy together, and what an unset one follows from."""

from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from domain.rules.origin import is_loopback
from eventstore import database
from eventstore.database.engines import understood
from eventstore.transparency.keeper import Witness
from eventstore.transparency.note import COSIGNATURE_V1, VerifierKey

if TYPE_CHECKING:
    from api.config.settings import Settings


NO_MASTER_KEY = (
    "is missing. In production every key in the database is wrapped by a master key that is kept elsewhere. Make "
    "one with `openssl rand -base64 32 | tr '+/' '-_'`, keep a copy safe (without it sealed data is lost), and "
    "set GRANTLOG_MASTER_KEY to it or GRANTLOG_MASTER_KEY_FILE to a file that holds it"
)


class SettingsError(ValueError):
    """The settings cannot be used. The message has one line per variable, each with its name and what to do."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


def fallbacks(settings: "Settings") -> dict[str, Any]:
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


def cross_check(settings: "Settings", issuer_fault: Callable[[str], str | None]) -> Iterator[tuple[str, str]]:
    """Every rule that is broken, as the field to name and the words that say what to do."""
    if not settings.issuer:
        yield (
            "issuer",
            "is missing: the host is not a loopback address, so say under which https URL clients reach the server",
        )
    elif text := issuer_fault(settings.issuer):
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


def _databases(settings: "Settings") -> Iterator[tuple[str, str]]:
    urls = {"database_url": settings.database_url}
    if settings.migration_database_url != settings.database_url:
        urls["migration_database_url"] = settings.migration_database_url
    for field, url in urls.items():
        if text := database.problem(url):
            yield field, text


def _master_key(settings: "Settings") -> Iterator[tuple[str, str]]:
    if settings.master_key and settings.master_key_file is not None:
        yield "master_key", "is set together with GRANTLOG_MASTER_KEY_FILE: keep one of them"
    if settings.environment != "production":
        return
    if not settings.master_key and settings.master_key_file is None:
        yield "master_key", NO_MASTER_KEY
    if settings.master_key_file is not None and not settings.master_key_file.is_file():
        yield "master_key_file", "names no file that can be read"


def _witnesses(settings: "Settings") -> Iterator[tuple[str, str]]:
    if not settings.witnesses:
        return

    try:
        found = configured(settings.witnesses)
    except ValueError as error:
        yield "witnesses", str(error)
        return
    if settings.witness_quorum > len(found):
        yield "witness_quorum", "must not be more than there are in GRANTLOG_WITNESSES"


def _notifications(settings: "Settings") -> Iterator[tuple[str, str]]:
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
