"""`grantlog client …`, `dashboard …` and `bootstrap`: what they answer and the facts that they leave."""

import json
from hashlib import sha256
from pathlib import Path
from stat import S_IMODE

from domain.rules.administrative_scope import ADMINISTRATIVE_SCOPES
from tests.cli.conftest import ISSUER, CommandLine

SHOP = ("client", "register", "--name", "Shop", "--redirect-uri", "https://shop.example/callback", "--scope", "profile")


def digest(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()


def test_registered_client_secret_is_recorded_as_a_digest_only(cli: CommandLine) -> None:
    made = cli.json(*SHOP, "--owner", "Olive Owner")
    registered, issued = cli.newest(2)
    assert registered["type"] == "client.registered"
    assert registered["stream"] == f"client:{made['client_id']}"
    assert registered["data"]["redirect_uris"] == ["https://shop.example/callback"]
    assert issued["data"]["sha256"] == digest(made["client_secret"])
    assert made["client_secret_expires_at"] == 0
    assert made["owner"] == "Olive Owner"
    assert made["client_secret"] not in json.dumps(cli.events())
    assert "Olive" not in json.dumps(cli.events())


def test_client_is_registered_with_its_resources(cli: CommandLine) -> None:
    asked = ("--resource", "https://catalog.example", "--resource", "urn:example:prints")
    made = cli.json(*SHOP, *asked, "--serves", "https://shop.example/api")
    assert made["resources"] == ["https://catalog.example", "urn:example:prints"]
    assert made["serves"] == ["https://shop.example/api"]
    registered, _ = cli.newest(2)
    assert {name: registered["data"][name] for name in ("resources", "serves")} == {
        name: made[name] for name in ("resources", "serves")
    }
    assert "serves: must not name this server" in cli.refused(*SHOP, "--serves", ISSUER)


def test_a_public_client_has_no_secret(cli: CommandLine) -> None:
    made = cli.json(*SHOP, "--public")
    assert made["type"] == "public"
    assert "client_secret" not in made
    assert [event["type"] for event in cli.newest()] == ["client.registered"]


def test_a_refusal_names_the_field_and_changes_nothing(cli: CommandLine) -> None:
    cli.run("client", "list")
    assert "redirect_uris: authorization_code needs at least one" in cli.refused("client", "register", "--name", "Shop")
    assert "scope: names scopes that do not exist" in cli.refused(*SHOP[:-1], "no:such")
    assert "administrative scopes go to clients" in cli.refused(*SHOP[:-1], "audit:read")
    assert "There is no such client." in cli.refused("client", "show", "nobody")


def test_wrong_usage_exits_with_2(cli: CommandLine) -> None:
    cli.run("client", "register", exits=2)
    cli.run("client", "register", "--public", "--auth-method", "client_secret_post", "--name", "x", exits=2)
    cli.run("no-such-command", exits=2)


def test_list_has_the_dashboards_and_registered_clients(cli: CommandLine) -> None:
    made = cli.json(*SHOP)
    assert [each["slug"] for each in cli.json("client", "list")] == ["administration", "client", None, None]
    assert "console" in cli.run("client", "list").stdout
    assert made["client_id"] in cli.run("client", "list").stdout


def test_rotate_secret_shows_the_new_once_and_ends_the_others(cli: CommandLine) -> None:
    client_id = cli.json(*SHOP)["client_id"]
    rotated = cli.json("client", "rotate-secret", client_id, "--others-expire-in", "0")
    (event,) = cli.newest()
    assert event["type"] == "client.secret_rotated"
    assert event["data"]["sha256"] == digest(rotated["client_secret"])
    assert event["data"]["others_expire_in"] == 0
    assert [each["state"] for each in cli.json("client", "show", client_id)["secrets"]] == ["expired", "active"]
    assert rotated["client_secret"] not in cli.run("client", "show", client_id).stdout


def test_a_new_secret_can_begin_later(cli: CommandLine) -> None:
    client_id = cli.json(*SHOP)["client_id"]
    said = cli.refused("client", "rotate-secret", client_id, "--not-before-in", "60", "--others-expire-in", "30")
    assert "not_before_in: the client would be without a secret that works until this one begins" in said
    rotated = cli.json("client", "rotate-secret", client_id, "--not-before-in", "60")
    assert cli.newest()[0]["data"]["not_before_in"] == 60
    old, new = cli.json("client", "show", client_id)["secrets"]
    assert (old["not_before"], new["not_before"]) == (None, rotated["not_before"])
    assert rotated["not_before"] > new["created_at"]
    assert rotated["not_before"] in cli.run("client", "show", client_id).stdout


def test_a_version_is_ended_with_its_tokens_or_without(cli: CommandLine) -> None:
    client_id = cli.json(*SHOP)["client_id"]
    cli.run("client", "rotate-secret", client_id)
    first, second = (each["id"] for each in cli.json("client", "show", client_id)["secrets"])
    assert cli.json("client", "end-secret", client_id, first)["state"] == "revoked"
    assert cli.newest()[0]["data"] == {"secret_id": first, "tokens": "keep"}
    cli.run("client", "end-secret", client_id, second, "--tokens", "revoke")
    assert cli.newest()[0]["data"] == {"secret_id": second, "tokens": "revoke"}
    before = cli.events()
    cli.run("client", "end-secret", client_id, first)
    assert cli.events() == before
    assert cli.refused("client", "end-secret", client_id, "nothing")
    assert cli.refused("client", "end-secret", "nobody", first)


def test_a_rotation_policy_is_set_shown_and_removed(cli: CommandLine) -> None:
    client_id = cli.json(*SHOP)["client_id"]
    assert "no rotation policy" in cli.refused("client", "rotation", "show", client_id)
    made = cli.json("client", "rotation", "set", client_id, "--maximum-age", "7776000", "--overlap", "604800")
    assert {name: made[name] for name in ("maximum_age", "overlap", "warning")} == {
        "maximum_age": 7_776_000,
        "overlap": 604_800,
        "warning": 1_209_600,
    }
    assert cli.newest()[0]["type"] == "client.rotation_scheduled"
    assert cli.json("client", "rotation", "show", client_id) == made
    assert made["due_at"] in cli.run("client", "rotation", "show", client_id).stdout
    # What is not said about a new version follows from the policy.
    rotated = cli.json("client", "rotate-secret", client_id)
    assert [each["state"] for each in cli.json("client", "show", client_id)["secrets"]] == ["expiring", "expiring"]
    assert rotated["expires_at"] is not None
    cli.run("client", "rotation", "remove", client_id)
    assert cli.newest()[0]["type"] == "client.rotation_unscheduled"
    before = cli.events()
    cli.run("client", "rotation", "remove", client_id)
    assert cli.events() == before


def test_a_rotation_policy_that_cannot_be_is_refused(cli: CommandLine) -> None:
    client_id, public = cli.json(*SHOP)["client_id"], cli.json(*SHOP, "--public")["client_id"]
    refused = lambda client, age: cli.refused("client", "rotation", "set", client, "--maximum-age", age)  # noqa: E731
    assert "maximum_age: must be between 86400 and" in refused(client_id, "5")
    assert "overlap: must be between 0 and the maximum age" in refused(client_id, "86400")
    assert refused(public, "7776000")
    assert "There is no such client." in cli.refused("client", "rotation", "show", "nobody")
    cli.run("client", "rotation", "set", client_id, exits=2)


def test_a_secret_can_go_into_a_file_for_its_owner_alone(cli: CommandLine, tmp_path: Path) -> None:
    client_id = cli.json(*SHOP)["client_id"]
    file = tmp_path / "secret.json"
    result = cli.run("client", "rotate-secret", client_id, "--output", str(file))
    assert S_IMODE(file.stat().st_mode) == 0o600
    secret = json.loads(file.read_text())["client_secret"]
    assert digest(secret) == cli.newest()[0]["data"]["sha256"]
    assert secret not in result.output
    # An existing file is never overwritten, and nothing is rotated then.
    assert "--output" in cli.refused("client", "rotate-secret", client_id, "--output", str(file))


def test_the_file_goes_again_when_the_command_is_refused(cli: CommandLine, tmp_path: Path) -> None:
    cli.run("client", "list")
    cli.refused("client", "rotate-secret", "nobody", "--output", str(tmp_path / "secret.json"))
    assert not (tmp_path / "secret.json").exists()


def test_disable_and_enable_are_facts_and_a_repeat_is_none(cli: CommandLine) -> None:
    client_id = cli.json(*SHOP)["client_id"]
    assert cli.json("client", "disable", client_id)["state"] == "disabled"
    assert cli.newest()[0]["type"] == "client.disabled"
    before = cli.events()
    cli.run("client", "disable", client_id)
    assert cli.events() == before
    assert cli.json("client", "enable", client_id)["state"] == "enabled"
    assert cli.newest()[0]["type"] == "client.enabled"


def test_a_dashboard_is_made_then_changed(cli: CommandLine) -> None:
    assert "client_name: is required of a new dashboard" in cli.run("dashboard", "set", "stock", exits=1).stderr
    made = cli.json("dashboard", "set", "stock", "--name", "Stock", "--realm", "platform", "--scope", "profile")
    assert made["allowed_origins"] == [ISSUER]
    changed = cli.json("dashboard", "set", "stock", "--resource", "https://stock.example")
    assert (changed["resources"], changed["allowed_origins"]) == (["https://stock.example"], [ISSUER])
    assert cli.newest()[0]["data"]["new"] == {"resources": ["https://stock.example"]}
    changed = cli.json("dashboard", "set", "stock", "--access-token-lifetime", "300")
    assert (changed["client_id"], changed["access_token_lifetime"]) == (made["client_id"], 300)
    assert cli.newest()[0]["data"]["new"] == {"access_token_lifetime": 300}
    assert [each["login_url"] for each in cli.json("dashboard", "list")] == [
        f"{ISSUER}/dashboards/{slug}/login" for slug in ("administration", "client", "stock")
    ]


def test_a_dashboards_origin_must_be_same_site(cli: CommandLine) -> None:
    cli.run("client", "list")
    said = cli.refused(
        "dashboard", "set", "x", "--name", "X", "--realm", "platform", "--allowed-origin", "https://else.example"
    )
    assert "allowed_origins: origin 1 is not same-site" in said


def test_a_dashboards_secret_is_shown_to_nobody(cli: CommandLine) -> None:
    made = cli.json("dashboard", "set", "stock", "--name", "Stock", "--realm", "platform")
    assert "client_secret" not in made
    rotated = cli.json("client", "rotate-secret", made["client_id"])
    assert set(rotated) == {"client_id", "secret_id", "version"}
    assert cli.newest()[0]["data"]["version"] == rotated["version"] == 2


def test_bootstrap_makes_one_service_with_every_admin_scope(cli: CommandLine) -> None:
    cli.run("console", "enable")
    made = cli.json("bootstrap")
    registered, issued = cli.newest(2)
    assert set(registered["data"]["scope"]) == ADMINISTRATIVE_SCOPES
    assert registered["data"]["grant_types"] == ["client_credentials"]
    assert issued["data"]["sha256"] == digest(made["client_secret"])
    assert made["client_id"] in cli.refused("bootstrap")
    assert cli.json("bootstrap", "--again")["client_id"] != made["client_id"]


def test_a_client_with_keys_elsewhere_or_a_certificate(cli: CommandLine) -> None:
    keyed = cli.json(*SHOP, "--auth-method", "private_key_jwt", "--jwks-uri", "https://shop.example/jwks.json")
    assert keyed["jwks_uri"] == "https://shop.example/jwks.json"
    assert "client_secret" not in keyed
    certificate = ("--certificate", "tls_client_auth_san_dns=shop.example")
    named = cli.json(*SHOP, "--auth-method", "tls_client_auth", *certificate)
    assert named["tls_client_auth_san_dns"] == "shop.example"
    cli.run(*SHOP, "--auth-method", "tls_client_auth", "--certificate", "shop.example", exits=2)


def test_initial_access_tokens_are_issued_listed_and_revoked(cli: CommandLine) -> None:
    made = cli.json("initial-access-token", "issue", "--uses", "3")
    assert made["initial_access_token"].startswith("glog_ia_")
    assert made["initial_access_token"] not in json.dumps(cli.events())
    endless = cli.json("initial-access-token", "issue", "--expires-in", "0", "--uses", "0")
    assert (endless["expires_at"], endless["uses"]) == (None, None)
    found = cli.json("initial-access-token", "list")
    assert [(each["id"], each["state"], each["uses"]) for each in found] == [
        (endless["id"], "active", None),
        (made["id"], "active", 3),
    ]
    cli.run("initial-access-token", "revoke", made["id"])
    assert [each["state"] for each in cli.json("initial-access-token", "list")] == ["active", "revoked"]
