"""What Keycloak has: the export of a realm with its users (`kc.sh export --users same_file`), one JSON document.

The forms are those of its representations (keycloak.org, Admin REST API): credentials hold JSON within JSON.
"""

from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from cli.command_services import CommandServices
from cli.moving.client_secrets import KeptSecret, kept_secret, require_id, sole
from cli.moving.import_lines import ImportLine, Passed, Unfit, What
from cli.moving.people_file import hashed_elsewhere, named
from cli.moving.records import NOT_UTF_8
from cli.terminal import USAGE, Failure
from commands import moving
from commands.people import PersonRegistration
from commands.permissions import operator
from domain import client, role
from domain.client import Registration
from domain.rules.built_in_scope import ACCOUNT, BUILT_IN, OPENID
from eventstore.execution import Single
from security.tokens import new_id

T = TypeVar("T")

OWN_CLIENTS = frozenset(
    ("account", "account-console", "admin-cli", "broker", "realm-management", "security-admin-console")
)
"""Clients that every realm of Keycloak has."""

OWN_ROLES = frozenset(("offline_access", "uma_authorization"))
"""Roles that every realm of Keycloak has, beside `default-roles-<realm>`."""

MASKED = "**********"
"""What stands for a secret in an export without secrets."""

ARGON2_VERSIONS = {"1.0": 16, "1.3": 19}
"""As Keycloak names them, and as the hashes' strings do."""

DEVICE = "urn:ietf:params:oauth:grant-type:device_code"


class KeycloakCredential(msgspec.Struct, frozen=True):
    """One way in which a user authenticates."""

    type: str = ""
    secretData: str = "{}"  # noqa: N815, S105 - Keycloak's names
    credentialData: str = "{}"  # noqa: N815


class KeycloakUser(msgspec.Struct, frozen=True, rename="camel"):
    """A user, as far as it is taken over."""

    username: str | None = None
    email: str | None = None
    email_verified: bool = False
    enabled: bool = True
    first_name: str | None = None
    last_name: str | None = None
    credentials: tuple[KeycloakCredential, ...] = ()
    realm_roles: tuple[str, ...] = ()
    service_account_client_id: str | None = None


class KeycloakClient(msgspec.Struct, frozen=True, rename="camel"):
    """A client, as far as it is taken over."""

    client_id: str
    name: str | None = None
    root_url: str | None = None
    secret: str | None = None
    enabled: bool = True
    protocol: str | None = None
    bearer_only: bool = False
    public_client: bool = False
    standard_flow_enabled: bool = True
    service_accounts_enabled: bool = False
    client_authenticator_type: str = "client-secret"
    redirect_uris: tuple[str, ...] = ()
    web_origins: tuple[str, ...] = ()
    default_client_scopes: tuple[str, ...] = ()
    optional_client_scopes: tuple[str, ...] = ()
    attributes: dict[str, Any] = {}


class KeycloakRole(msgspec.Struct, frozen=True):
    """A role of the realm."""

    name: str


class KeycloakRealm:
    """Roles, people and clients of an export. The people go to one realm of ours, and the clients with them."""

    def __init__(
        self, services: CommandServices, path: Path, realm: str, scope: Sequence[str], *, dry: bool = False
    ) -> None:
        self._services = services
        self._realm = realm
        self._scope = tuple(scope)
        try:
            # Whatever wrote the file may have put a byte order mark before it (RFC 8259 §8.1).
            document = msgspec.json.decode(path.read_bytes().removeprefix(BOM_UTF8), type=dict[str, Any])
        except UnicodeError:
            raise Failure(f"{path} {NOT_UTF_8}", USAGE) from None
        except (msgspec.DecodeError, RecursionError) as error:
            # Where it is broken, and nothing of what stands there.
            raise Failure(f"{path} is no JSON object: {error}", USAGE) from None
        if not isinstance(document.get("realm"), str):
            raise Failure(f"{path} is no export of a realm", USAGE)
        roles = document.get("roles")
        self._own_roles = OWN_ROLES | {f"default-roles-{document['realm']}".lower()}
        self._roles = _list(roles.get("realm")) if isinstance(roles, dict) else []
        names = {str(each.get("name")) for each in self._roles if isinstance(each, dict)}
        # What cannot be a role here is told of once, and people come in without it. In a rehearsal those that come in
        # do not come to be there.
        self._absent = self._own_roles | {name for name in names if dry or not role.is_name(_role_name(name))}
        self._users, self._clients = _list(document.get("users")), _list(document.get("clients"))

    def __len__(self) -> int:
        return len(self._roles) + len(self._users) + len(self._clients)

    def import_lines(self) -> Iterator[ImportLine | Passed]:
        """Roles first, since people have them."""
        yield from _each("roles", self._roles, KeycloakRole, self._role)
        yield from _each("users", self._users, KeycloakUser, self._person)
        yield from _each("clients", self._clients, KeycloakClient, self._client)

    def _role(self, place: int, had: KeycloakRole) -> ImportLine | Passed:
        if had.name in self._own_roles:
            return _left(place, "roles", "role", had.name, "is Keycloak's own")

        name = _role_name(had.name)

        async def make() -> Single:
            return moving.move_role_in(self._realm, name, by=operator)

        return ImportLine(place, "role", had.name, frozenset((f"role {name}",)), make, "roles")

    def _person(self, place: int, had: KeycloakUser) -> ImportLine | Passed:
        shown = had.username or had.email or "?"
        if had.service_account_client_id is not None:
            return _left(place, "users", "person", shown, "stands for a client")
        # Where people sign in by their address it is their username too.
        username = None if had.username is None or "@" in had.username else had.username
        email = had.email or (had.username if username is None else None)

        async def make() -> Single:
            encoded = _password_hash(had)
            given = {"given_name": had.first_name, "family_name": had.last_name}
            claims: dict[Any, Any] = {name: value for name, value in given.items() if value}
            person = PersonRegistration(
                realm=self._realm,
                username=username,
                email=email or None,
                name=" ".join(claims.values()) or None,
                password_hash=encoded,
                foreign_hash=None if encoded is None else hashed_elsewhere(encoded, "credentials"),
                roles=tuple(dict.fromkeys(_role_name(each) for each in had.realm_roles if each not in self._absent))
                or None,
                claims=claims | ({"email_verified": True} if had.email_verified and email else {}),
            )
            privacy = self._services.ledger.privacy
            return moving.move_in(new_id(), person, enabled=had.enabled, privacy=privacy, by=operator)

        return ImportLine(place, "person", shown, named(self._realm, username, email), make, "users")

    def _client(self, place: int, had: KeycloakClient) -> ImportLine | Passed:
        grants = _grants(had)
        if had.client_id in OWN_CLIENTS:
            return _left(place, "clients", "client", had.client_id, "is Keycloak's own")
        if had.protocol not in (None, "openid-connect") or had.bearer_only or not grants:
            return _left(place, "clients", "client", had.client_id, "has no grant that Grantlog has")

        async def make() -> Single:
            require_id(had.client_id, "clientId")
            kept = _secret(had)
            scopes = dict.fromkeys(
                name
                for name in (OPENID, *had.default_client_scopes, *had.optional_client_scopes)
                if name in BUILT_IN and name != ACCOUNT and "authorization_code" in grants
            )
            asked = client.Attributes(
                client_name=had.name or had.client_id,
                grant_types=grants,
                redirect_uris=_redirect_uris(had) if "authorization_code" in grants else (),
                allowed_origins=tuple(dict.fromkeys(each for each in had.web_origins if each not in ("+", "*"))),
                scope=tuple(scopes | dict.fromkeys(self._scope)),
                token_endpoint_auth_method="none" if had.public_client else "client_secret_basic",
                require_pkce=had.public_client or had.attributes.get("pkce.code.challenge.method") == "S256",
                realm=self._realm,
            )
            registration = Registration(attributes=asked, secret=kept.known, foreign_secret=kept.hashed)
            issuer = self._services.settings.issuer
            return moving.move_client_in(had.client_id, registration, enabled=had.enabled, issuer=issuer, by=operator)

        keys, secret = frozenset((f"client {had.client_id}",)), None if had.public_client else sole(had.secret)
        return ImportLine(place, "client", had.client_id, keys, make, "clients", secret)


def _each(
    file: str, items: Sequence[Any], form: type[T], make: Callable[[int, T], ImportLine | Passed]
) -> Iterator[ImportLine | Passed]:
    for place, item in enumerate(items, 1):
        try:
            had = msgspec.convert(_filled(item), form)
        except msgspec.ValidationError:
            yield Passed(place, f"is none of Keycloak's {file}", file=file)
            continue
        yield make(place, had)


def _filled(item: Any) -> Any:
    """Without members that are null, which are as if they were not there."""
    return {name: value for name, value in item.items() if value is not None} if isinstance(item, dict) else item


def _left(place: int, file: str, what: What, name: str, why: str) -> Passed:
    return Passed(place, why, "left", what, name, file)


def _role_name(name: str) -> str:
    """What a role is called here, where names have no capitals."""
    return name.lower()


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _password_hash(had: KeycloakUser) -> str | None:
    """The user's password credential as a PHC string; None without one. Raises Unfit for another kind."""
    credential = next((each for each in had.credentials if each.type == "password"), None)
    if credential is None:
        return None
    try:
        secret, data = (msgspec.json.decode(each) for each in (credential.secretData, credential.credentialData))
        algorithm, rounds = data["algorithm"], int(data["hashIterations"])
        salt, value = (str(secret[name]).rstrip("=") for name in ("salt", "value"))
        more = {name: each[0] for name, each in (data.get("additionalParameters") or {}).items() if each}
    except (msgspec.DecodeError, LookupError, TypeError, ValueError, AttributeError, OverflowError, RecursionError):
        raise Unfit("credentials: cannot be read") from None
    if algorithm == "argon2":
        costs = f"m={more.get('memory', 7168)},t={rounds},p={more.get('parallelism', 1)}"
        version = ARGON2_VERSIONS.get(str(more.get("version", "1.3")))
        if version is None:
            raise Unfit("credentials: have a version of argon2 that is not known here")
        return f"$argon2{more.get('type', 'id')}$v={version}${costs}${salt}${value}"
    digest = {"pbkdf2": "sha1", "pbkdf2-sha256": "sha256", "pbkdf2-sha512": "sha512"}.get(str(algorithm))
    if digest is None:
        raise Unfit("credentials: have a hash that is not known here")
    return f"$pbkdf2-{digest}$i={rounds}${salt}${value}"


def _secret(had: KeycloakClient) -> KeptSecret:
    if had.public_client:
        return KeptSecret()
    if had.client_authenticator_type != "client-secret":
        raise Unfit("clientAuthenticatorType: it has to be registered anew, with its keys")
    if had.secret is None or had.secret == MASKED:
        raise Unfit("secret: is not in the export")
    return kept_secret(had.secret)


def _redirect_uris(had: KeycloakClient) -> tuple[str, ...]:
    if any("*" in uri for uri in had.redirect_uris):
        raise Unfit("redirectUris: have a *; each URI has to be named (RFC 9700 §2.1)")
    root = (had.root_url or "").rstrip("/")
    return tuple(dict.fromkeys(f"{root}{uri}" if uri.startswith("/") else uri for uri in had.redirect_uris))


def _grants(had: KeycloakClient) -> tuple[str, ...]:
    found: list[str] = []
    if had.standard_flow_enabled and had.redirect_uris:
        found += ["authorization_code", "refresh_token"]
    if had.service_accounts_enabled and not had.public_client:
        found.append("client_credentials")
    if str(had.attributes.get("oauth2.device.authorization.grant.enabled")).lower() == "true":
        found += [DEVICE, *(("refresh_token",) if "refresh_token" not in found else ())]
    return tuple(found)
