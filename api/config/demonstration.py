"""The demo's people and clients, and `demo.json`, the one place where their passwords and secrets can be read."""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urljoin

import msgspec

from api.config.settings import Settings
from commands import clients as client_commands
from commands import factors, people
from commands.console import console_client
from commands.permissions import operator
from commands.servers import ADMINISTRATION_SCOPES, ADMINISTRATOR, DASHBOARDS, MEMBER
from domain import client
from domain.client import Registration
from domain.code import DEVICE_CODE
from domain.factors.second_factor import RECOVERY_CODES
from domain.rules import origin as origins
from domain.rules.administrative_scope import IMPLIED
from domain.rules.built_in_scope import OFFLINE_ACCESS, OPENID
from domain.rules.standard_claims import ClaimValue, KeptClaim
from eventstore import present as dashboards
from eventstore.database import Connection
from eventstore.execution import Origin, Step
from eventstore.ledger import Ledger
from eventstore.present import person_by_login
from projections import clients
from security.passwords import Hasher
from security.private_files import make_private, put_private, settle
from security.second_factors import new_totp_secret, step_at
from security.tokens import Format, new_id

FILE = "demo.json"
DRAFT = "demo.json.draft"
"""The file until its people and clients are committed, so that a process that is killed then loses no secret."""

SERVICE_SCOPE = tuple(scope for scope in ADMINISTRATION_SCOPES if scope not in IMPLIED)
"""All that the demo's service may do; what another of its scopes implies need not stand there."""

THIRD_PARTY_NAME = "Paperboat"
# No letter or digit that is easily taken for another one: people type these.
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"


CLAIMS: dict[str, dict[KeptClaim, ClaimValue]] = {
    "ada": {
        "given_name": "Ada",
        "family_name": "Byron",
        "middle_name": "Augusta",
        "nickname": "Countess",
        "preferred_username": "ada",
        "profile": "https://people.example.test/ada",
        "picture": "https://people.example.test/ada.png",
        "website": "https://ada.example.test",
        "gender": "female",
        "birthdate": "1990-12-10",
        "zoneinfo": "Europe/London",
        "locale": "en-GB",
        "address": {
            "formatted": "12 St James's Square\nLondon SW1Y 4JH\nUnited Kingdom",
            "street_address": "12 St James's Square",
            "locality": "London",
            "region": "England",
            "postal_code": "SW1Y 4JH",
            "country": "GB",
        },
        "phone_number": "+44 20 7946 0010",
        "email_verified": True,
        "phone_number_verified": True,
    },
    "paul": {
        "given_name": "Paul",
        "family_name": "Baker",
        "middle_name": "James",
        "nickname": "Crumb",
        "preferred_username": "paul",
        "profile": "https://people.example.test/paul",
        "picture": "https://people.example.test/paul.png",
        "website": "https://paul.example.test",
        "gender": "male",
        "birthdate": "1980-05-17",
        "zoneinfo": "Europe/Dublin",
        "locale": "en-IE",
        "address": {
            "formatted": "3 Mill Lane\nGalway H91 E2K7\nIreland",
            "street_address": "3 Mill Lane",
            "locality": "Galway",
            "region": "Connacht",
            "postal_code": "H91 E2K7",
            "country": "IE",
        },
        "phone_number": "+353 20 910 0018",
        "email_verified": True,
        "phone_number_verified": False,
    },
}
"""What is said of the demo's people, by username: of each claim something (OpenID Connect Core §5.1)."""


class DemoPerson(msgspec.Struct):
    """Somebody who can sign in."""

    username: str
    email: str
    password: str
    realm: str


class DemoFactorPerson(DemoPerson):
    """Somebody who shows a second factor too: `totp_secret` is that of their generator, in base32."""

    totp_secret: str


class DemoDashboard(msgspec.Struct):
    """Where a dashboard's people sign in."""

    slug: str
    login_url: str
    origin: str


class DemoThirdParty(msgspec.Struct):
    """The demo's third-party application, as it was registered."""

    client_id: str
    client_secret: str
    redirect_uri: str
    scope: str


class Service(msgspec.Struct):
    """The client that obtains administrator tokens by client_credentials."""

    client_id: str
    client_secret: str
    scope: str


class Demonstration(msgspec.Struct):
    """The content of `demo.json`."""

    issuer: str
    administrator: DemoPerson
    person: DemoPerson
    dashboards: dict[str, DemoDashboard]
    third_party: DemoThirdParty
    service: Service
    person_with_factor: DemoFactorPerson | None = None

    def __repr__(self) -> str:
        """Nothing of what it holds."""
        return "Demonstration()"


class DemoFileLost(Exception):
    """The demo's people exist, and the file with their passwords does not. The message says what to do."""


def present(connection: Connection, settings: Settings) -> bool:
    """Whether there is nothing to do: the file belongs to this database and names the addresses of these settings."""
    kept = _read(settings.data_dir / FILE)
    return kept is not None and _is_there(connection, kept) and kept == _at(kept, settings)


def read(settings: Settings) -> Demonstration:
    """The file's content after `prepare`."""
    kept = _read(settings.data_dir / FILE)
    if kept is None:
        raise DemoFileLost(_lost(settings))
    return kept


async def prepare(ledger: Ledger, settings: Settings, format: Format, hasher: Hasher, origin: Origin) -> None:
    """Makes the demo's people and clients unless they exist, and brings the file in line. Raises Lost."""
    directory = settings.data_dir
    with _alone(directory):
        for name in (FILE, DRAFT):
            kept = _read(directory / name)
            if kept is not None and await ledger.read(_is_there, kept):
                await _move(ledger, kept, settings, format, origin)
                (directory / DRAFT).unlink(missing_ok=True)
                return
        if await ledger.look(person_by_login, ledger.privacy, "username", ADMINISTRATOR.realm, "ada") is not None:
            raise DemoFileLost(_lost(settings))
        await _make(ledger, settings, format, hasher, origin)


async def _make(ledger: Ledger, settings: Settings, format: Format, hasher: Hasher, origin: Origin) -> None:
    (paperboat, first), (service, second) = client_commands.mint_secret(format), client_commands.mint_secret(format)
    petra = DemoFactorPerson("petra", "petra@example.test", _password(), "platform", new_totp_secret())
    made = _at(
        Demonstration(
            issuer="",
            administrator=DemoPerson("ada", "ada@example.test", _password(), ADMINISTRATOR.realm),
            person=DemoPerson("paul", "paul@example.test", _password(), "platform"),
            person_with_factor=petra,
            dashboards={},
            third_party=DemoThirdParty(new_id(), paperboat.reveal(), "", " ".join(MEMBER)),
            service=Service(new_id(), service.reveal(), " ".join(SERVICE_SCOPE)),
        ),
        settings,
    )
    third_party = client.Attributes(
        client_name=THIRD_PARTY_NAME,
        redirect_uris=(made.third_party.redirect_uri,),
        post_logout_redirect_uris=(_after_sign_out(made),),
        grant_types=("authorization_code", "refresh_token", DEVICE_CODE),
        # Neither is given unless it is asked for, so without a scope it gets what `demo.json` says.
        scope=(*MEMBER, OPENID, OFFLINE_ACCESS),
    )
    of_service = client.Attributes(client_name="Demo service", grant_types=("client_credentials",), scope=SERVICE_SCOPE)
    petra_id, factor_id = new_id(), new_id()
    commands = [
        await _register(new_id(), ledger, made.administrator, "Ada Byron", (ADMINISTRATOR.name,), hasher),
        await _register(new_id(), ledger, made.person, "Paul Baker", None, hasher),
        await _register(petra_id, ledger, petra, "Petra Baker", None, hasher),
        # Nobody knows recovery codes of hers; she makes some on her page. What her generator shows now is unused.
        factors.lay_ready_totp(
            petra_id,
            factor_id,
            step=step_at(ledger.clock.now()) - 2,
            recovery_codes=[secrets.token_hex(32) for _ in range(RECOVERY_CODES)],
        ),
        *(
            client_commands.register(
                client_id, Registration(attributes=attributes, secret=secret), issuer=settings.issuer, by=operator
            )
            for client_id, attributes, secret in (
                (made.third_party.client_id, third_party, first),
                (made.service.client_id, of_service, second),
            )
        ),
    ]
    _write(settings.data_dir / DRAFT, made)
    keep = factors.keep_totp_secret(ledger.privacy, petra_id, factor_id, petra.totp_secret)
    executed = await ledger.execute(*commands, origin=origin, then=keep)
    if executed.refusal is not None:
        (settings.data_dir / DRAFT).unlink()
        refusal = executed.refusal
        raise DemoFileLost(f"the demo does not fit into this database: {refusal.field or refusal.reason.value}")
    os.replace(settings.data_dir / DRAFT, settings.data_dir / FILE)
    settle(settings.data_dir)


async def _register(
    account_id: str,
    ledger: Ledger,
    person: DemoPerson,
    name: str,
    role_names: tuple[str, ...] | None,
    hasher: Hasher,
) -> Step:
    registered = people.PersonRegistration(
        realm=person.realm,
        username=person.username,
        email=person.email,
        name=name,
        password_hash=await hasher.hash(person.password),
        roles=role_names,
        claims=CLAIMS.get(person.username, {}),
    )
    return people.register(account_id, registered, privacy=ledger.privacy, by=operator)


async def _move(ledger: Ledger, kept: Demonstration, settings: Settings, format: Format, origin: Origin) -> None:
    """Follows the server to another port or issuer: the dashboards' own origin, the console's addresses, and those in
    the file."""
    moved = _at(kept, settings)
    former, now = origins.of_issuer(kept.issuer), origins.of_issuer(settings.issuer)
    commands = []
    for dashboard in DASHBOARDS if former != now else ():
        found = await ledger.look(dashboards.dashboard_by_slug, dashboard.slug)
        if found is not None and former in found.allowed_origins:
            listed = dict.fromkeys(now if each == former else each for each in found.allowed_origins)
            changes = client.Attributes(allowed_origins=tuple(listed))
            commands.append(
                client_commands.update(
                    found.client_id, changes, privacy=ledger.privacy, issuer=settings.issuer, by=operator
                )
            )
    if _after_sign_out(kept) != _after_sign_out(moved):
        changes = client.Attributes(post_logout_redirect_uris=(_after_sign_out(moved),))
        third_party = kept.third_party.client_id
        commands.append(
            client_commands.update(third_party, changes, privacy=ledger.privacy, issuer=settings.issuer, by=operator)
        )
    if commands:
        await ledger.execute(*commands, origin=origin)
    if former != now:
        await console_client.enable(ledger, format, settings.issuer, origin)
    _write(settings.data_dir / FILE, moved)


def _at(kept: Demonstration, settings: Settings) -> Demonstration:
    """The same people and clients at the addresses of these settings."""
    services = origins.of_issuer(settings.issuer)
    third_party = msgspec.structs.replace(
        kept.third_party, redirect_uri=f"http://127.0.0.1:{settings.demo_port}/callback"
    )
    dashboards = {
        each.slug: DemoDashboard(each.slug, f"{settings.issuer}/dashboards/{each.slug}/login", services)
        for each in DASHBOARDS
    }
    return msgspec.structs.replace(kept, issuer=settings.issuer, third_party=third_party, dashboards=dashboards)


def _after_sign_out(kept: Demonstration) -> str:
    """Where the third party has its people come back to."""
    return urljoin(kept.third_party.redirect_uri, "/")


def _is_there(connection: Connection, kept: Demonstration) -> bool:
    return clients.by_id(connection, kept.third_party.client_id) is not None


def _lost(settings: Settings) -> str:
    begin_anew = (
        f"move {settings.data_dir} away" if settings.database_url.startswith("sqlite") else "give it an empty database"
    )
    return (
        f"The demo's people and clients are in the database, but {settings.data_dir / FILE}, where alone their "
        f"passwords and secrets stood, is missing or unreadable. Put it back, or begin anew: {begin_anew} and start "
        f"again. To keep this log, give new secrets with `grantlog person set-password` and `grantlog client "
        f"rotate-secret`, and run `grantlog serve`."
    )


def _password() -> str:
    """Four groups of four: 79 bits."""
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(4)) for _ in range(4))


def _read(path: Path) -> Demonstration | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Demonstration)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def _write(path: Path, content: Demonstration) -> None:
    put_private(path, msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """One process at a time prepares the demo of a directory; the lock ends with the process."""
    make_private(directory)
    with (directory / "demo.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
