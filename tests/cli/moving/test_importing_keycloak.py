"""`grantlog import keycloak`: people, clients and roles of a realm's export."""

import json
from base64 import b64encode
from hashlib import pbkdf2_hmac
from pathlib import Path
from typing import Any

import pytest
from argon2.low_level import Type, hash_secret_raw

from cli.moving.keycloak import KeycloakCredential, KeycloakUser, _password_hash
from security.password_hashes import from_elsewhere
from tests.cases import cases
from tests.cli.conftest import CommandLine

SALT = b"saltsaltsaltsalt"
SECRET = "a1B2c3D4e5F6g7H8" * 2
URI = "https://shop.example/callback"


def credential(value: bytes, **data: Any) -> dict[str, str]:
    secret = {"value": b64encode(value).decode(), "salt": b64encode(SALT).decode(), "additionalParameters": {}}
    return {"type": "password", "secretData": json.dumps(secret), "credentialData": json.dumps(data)}


def pbkdf2(digest: str, algorithm: str, size: int) -> dict[str, str]:
    value = pbkdf2_hmac(digest, b"correct horse", SALT, 1000, size)
    return credential(value, hashIterations=1000, algorithm=algorithm, additionalParameters={})


def argon2(named: str, version: int) -> dict[str, str]:
    value = hash_secret_raw(b"correct horse", SALT, 2, 64, 1, 32, Type.ID, version)
    more = {"hashLength": ["32"], "memory": ["64"], "type": ["id"], "version": [named], "parallelism": ["1"]}
    return credential(value, hashIterations=2, algorithm="argon2", additionalParameters=more)


KINDS = {
    "pbkdf2": pbkdf2("sha1", "pbkdf2", 64),
    "pbkdf2-sha256": pbkdf2("sha256", "pbkdf2-sha256", 64),
    "pbkdf2-sha512": pbkdf2("sha512", "pbkdf2-sha512", 64),
    "argon2": argon2("1.3", 19),
    "argon2 of before": argon2("1.0", 16),
}

REALM: dict[str, Any] = {
    "realm": "shop",
    "roles": {"realm": [{"name": "buyer"}, {"name": "uma_authorization"}, {"name": "default-roles-shop"}, {"id": 7}]},
    "users": [
        {
            "username": "petra",
            "email": "petra@example.test",
            "emailVerified": True,
            "enabled": True,
            "firstName": "Petra",
            "lastName": "Pan",
            "credentials": [{"type": "otp"}, KINDS["pbkdf2-sha256"]],
            "realmRoles": ["buyer", "default-roles-shop"],
        },
        {"username": "zoe@example.test", "enabled": False, "realmRoles": ["default-roles-shop"]},
        {"username": "service-account-shop", "serviceAccountClientId": "shop"},
        {"username": "bad", "credentials": [{"type": "password", "secretData": "[]", "credentialData": "{}"}]},
        {"username": "odd", "credentials": [credential(b"x" * 32, hashIterations=1, algorithm="md5")]},
        {"username": "dear", "credentials": [credential(b"x" * 32, hashIterations=9**9, algorithm="pbkdf2-sha256")]},
        {"username": ["no"]},
    ],
    "clients": [
        {"clientId": "account", "redirectUris": ["/realms/shop/account/*"]},
        {
            "clientId": "shop",
            "name": "The shop",
            "rootUrl": "https://shop.example/",
            "secret": SECRET,
            "redirectUris": ["/callback", URI],
            "webOrigins": ["+", "https://shop.example"],
            "defaultClientScopes": ["profile", "email", "roles", "account"],
            "serviceAccountsEnabled": True,
            "attributes": {"pkce.code.challenge.method": "S256", "oauth2.device.authorization.grant.enabled": "true"},
        },
        {"clientId": "phone", "publicClient": True, "redirectUris": ["com.example.app:/callback"], "enabled": False},
        {"clientId": "wild", "publicClient": True, "redirectUris": ["https://shop.example/*"]},
        {"clientId": "masked", "secret": "*" * 10, "redirectUris": [URI]},
        {"clientId": "keys", "clientAuthenticatorType": "client-jwt", "redirectUris": [URI]},
        {"clientId": "saml", "protocol": "saml", "redirectUris": [URI]},
        {"clientId": "api", "bearerOnly": True},
        {"clientId": "https://shop.example/client", "publicClient": True, "redirectUris": [URI]},
    ],
}


@pytest.fixture
def export(tmp_path: Path) -> Path:
    path = tmp_path / "realm.json"
    path.write_text(json.dumps(REALM))
    return path


def data(cli: CommandLine, type: str) -> dict[str, Any]:
    return {each["stream"]: each["data"] for each in cli.events() if each["type"] == type}


@pytest.mark.parametrize("kind", KINDS)
def test_credentials_become_strings_that_match(kind: str) -> None:
    encoded = _password_hash(KeycloakUser(credentials=(KeycloakCredential(**KINDS[kind]),)))
    assert encoded is not None
    assert from_elsewhere(encoded).matches(b"correct horse")
    assert not from_elsewhere(encoded).matches(b"correct horsf")


def test_people_clients_and_roles_come_in(cli: CommandLine, export: Path) -> None:
    told = cli.run("import", "keycloak", str(export), exits=1).stdout.splitlines()
    assert told == [
        "roles 2: left: uma_authorization: is Keycloak's own",
        "roles 3: left: default-roles-shop: is Keycloak's own",
        "roles 4: refused: is none of Keycloak's roles",
        "users 3: left: service-account-shop: stands for a client",
        "users 4: refused: bad: credentials: cannot be read",
        "users 5: refused: odd: credentials: have a hash that is not known here",
        "users 6: refused: dear: credentials: PBKDF2 may have 2,000,000 rounds, for 4 blocks",
        "users 7: refused: is none of Keycloak's users",
        "clients 1: left: account: is Keycloak's own",
        "clients 4: refused: wild: redirectUris: have a *; each URI has to be named (RFC 9700 §2.1)",
        "clients 5: refused: masked: secret: is not in the export",
        "clients 6: refused: keys: clientAuthenticatorType: it has to be registered anew, with its keys",
        "clients 7: left: saml: has no grant that Grantlog has",
        "clients 8: left: api: has no grant that Grantlog has",
        "clients 9: refused: https://shop.example/client: clientId: is none that a client can have",
        "5 are new, 0 are there already, 6 are left out, 9 are refused.",
    ]
    petra, zoe = cli.json("person", "list")
    assert (petra["username"], petra["name"], petra["email_verified"]) == ("petra", "Petra Pan", True)
    assert (petra["given_name"], petra["roles"], petra["state"]) == ("Petra", ["buyer"], "enabled")
    assert (zoe["username"], zoe["email"], zoe["state"]) == (None, "zoe@example.test", "disabled")
    assert zoe["roles"] == ["member"]
    made = data(cli, "client.registered")
    shop, phone = made["client:shop"], made["client:phone"]
    assert shop["redirect_uris"] == [URI]
    assert shop["scope"] == ["openid", "profile", "email"]
    assert shop["allowed_origins"] == ["https://shop.example"]
    assert shop["grant_types"] == [
        "authorization_code",
        "refresh_token",
        "client_credentials",
        "urn:ietf:params:oauth:grant-type:device_code",
    ]
    assert phone["client_type"] == "public"
    assert "client:phone" in data(cli, "client.disabled")
    assert data(cli, "client.secret_issued")["client:shop"]["foreign"]
    (transferred,) = cli.newest()
    assert transferred["data"] == {"source": "keycloak", "people": 2, "clients": 2, "roles": 1, "refused": 9}
    assert SECRET not in json.dumps(cli.events())


def test_second_run_and_dry_run_change_nothing(cli: CommandLine, export: Path) -> None:
    rehearsed = cli.json("import", "keycloak", str(export), "--dry-run", exits=1)
    assert cli.json("person", "list") == []
    cli.run("import", "keycloak", str(export), exits=1)
    before = cli.events()
    again = cli.json("import", "keycloak", str(export), exits=1)
    assert (again["new"], again["there"], again["left"]) == (0, 5, 6)
    assert cli.events() == before
    assert (rehearsed["new"], rehearsed["refused"]) == (5, 9)


def test_byte_order_mark_before_an_export_is_passed_over(cli: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "realm.json"
    path.write_text('{"realm": "shop", "users": [{"username": "ann"}]}', encoding="utf-8-sig")
    cli.run("import", "keycloak", str(path))
    assert [each["username"] for each in cli.json("person", "list")] == ["ann"]


ODD: dict[str, Any] = {
    "realm": "shop",
    "roles": {"realm": [{"name": "Buyer"}, {"name": "two words"}, {"name": "BUYER"}]},
    "users": [
        {"username": "ann", "email": None, "realmRoles": ["Buyer", "BUYER", "two words"], "credentials": None},
        {"username": "bob", "enabled": None, "emailVerified": None, "firstName": None, "realmRoles": ["two words"]},
        {"username": "deep", "credentials": [{"type": "password", "secretData": "[" * 9_999, "credentialData": "{}"}]},
        {
            "username": "endless",
            "credentials": [
                {
                    "type": "password",
                    "secretData": '{"value": "", "salt": ""}',
                    "credentialData": '{"algorithm": "pbkdf2", "hashIterations": 1e400}',
                }
            ],
        },
        {"username": "later", "credentials": [argon2("1.4", 19)]},
    ],
    "clients": [{"clientId": "phone", "publicClient": True, "redirectUris": [URI], "attributes": None, "name": None}],
}


def test_odd_export_comes_in_as_its_rehearsal_says(cli: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "realm.json"
    path.write_text(json.dumps(ODD))
    rehearsed = cli.json("import", "keycloak", str(path), "--dry-run", exits=1)
    answer = cli.json("import", "keycloak", str(path), exits=1)
    assert [line for line in rehearsed["lines"] if line["fate"] == "refused"] == answer["lines"]
    assert {name: answer[name] for name in ("new", "there", "refused")} == {"new": 4, "there": 1, "refused": 4}
    assert {name: rehearsed[name] for name in ("new", "there", "refused")} == {"new": 4, "there": 1, "refused": 4}
    assert [f"{line['file']} {line['line']}: {line['problem']}" for line in answer["lines"]] == [
        "roles 2: name: must have 1 to 64 lower-case letters, digits, dots, hyphens and underscores",
        "users 3: credentials: cannot be read",
        "users 4: credentials: cannot be read",
        "users 5: credentials: have a version of argon2 that is not known here",
    ]
    ann, bob = cli.json("person", "list")
    assert (ann["roles"], bob["roles"], bob["state"]) == (["buyer"], ["member"], "enabled")


@cases(
    ("text", "said"),
    [
        (b"", "is no JSON object: Input data was truncated"),
        (b"[]", "is no JSON object: Expected `object`, got `array`"),
        (b"{}", "is no export of a realm"),
        (b'{"realm": 7}', "is no export of a realm"),
        (b"[" * 100_000, "is no JSON object"),
        (b'{"realm": "shop", "users": [{"userna', "is no JSON object: Input data was truncated"),
        (b'{"realm": "shop", "users": [{"username": "\xff"}]}', "is not UTF-8 text"),
    ],
)
def test_what_is_no_export_is_refused(cli: CommandLine, tmp_path: Path, text: bytes, said: str) -> None:
    path = tmp_path / "realm.json"
    path.write_bytes(text)
    assert said in cli.run("import", "keycloak", str(path), exits=2).stderr
