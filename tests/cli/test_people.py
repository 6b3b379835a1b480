"""`grantlog person …`, `role …` and `scope …`."""

import json

import pytest

from tests.cli.conftest import CommandLine

PASSWORD = "correct horse battery staple"
EVE = ("person", "add", "--username", "eve", "--email", "eve@example.test", "--password-stdin")


def test_nobody_is_listed_of_a_realm_that_is_none(cli: CommandLine) -> None:
    said = cli.run("person", "list", "--realm", "platfrom", exits=2).stderr
    assert said == "Error: --realm: must be one of administration, platform\n"


def test_person_gets_default_roles_and_logs_nothing_personal(cli: CommandLine) -> None:
    made = cli.json(*EVE, "--name", "Eve Example", stdin=f"{PASSWORD}\n")
    assert (made["username"], made["roles"], made["state"]) == ("eve", ["member"], "enabled")
    (event,) = cli.newest()
    assert (event["type"], event["stream"]) == ("account.registered", f"account:{made['id']}")
    log = json.dumps(cli.events())
    for personal in (PASSWORD, "eve@example.test", "Eve Example", "argon2"):
        assert personal not in log


def test_the_password_is_asked_for_twice_and_not_shown(cli: CommandLine) -> None:
    result = cli.run("person", "add", "--username", "eve", stdin=f"{PASSWORD}\n{PASSWORD}\n")
    assert PASSWORD not in result.output
    assert cli.newest()[0]["type"] == "account.registered"


UNFIT = [
    ("short", "must have at least 12 characters"),
    ("elevenchars", "must have at least 12 characters"),
    ("a\u0308" * 11, "must have at least 12 characters"),
    ("", "must have at least 12 characters"),
    ("x" * 129, "must have at most 128 characters"),
    ("Eve@Example.test", "a name of the person or of this server"),
    ("Example, Eve", "a name of the person or of this server"),
    ("Client Dashboard", "a name of the person or of this server"),
]


def test_a_password_that_may_not_be_set_is_refused(cli: CommandLine) -> None:
    named = (*EVE, "--name", "Eve Example")
    # The first command installs what every server begins with.
    cli.run("client", "list")
    for password, problem in UNFIT:
        said = cli.refused(*named, stdin=f"{password}\n")
        assert said.startswith("Error: password: ")
        assert problem in said
    cli.run(*named, stdin=PASSWORD)
    for password, problem in UNFIT:
        assert problem in cli.refused("person", "set-password", "eve", "--password-stdin", stdin=f"{password}\n")


def test_claims_are_given_changed_and_taken_away(cli: CommandLine) -> None:
    claims = ("--claim", "locale=en-GB", "--claim", "address.country=GB", "--claim", "email_verified=true")
    made = cli.json(*EVE, *claims, stdin=f"{PASSWORD}\n")
    assert (made["locale"], made["address"], made["email_verified"]) == ("en-GB", {"country": "GB"}, True)
    change = ("--claim", "locale=", "--claim", "address.locality=London", "--name", "Eve", "--claim", "gender=female")
    after = cli.json("person", "change", "eve", *change)
    assert after == made | {
        "locale": None,
        "address": {"locality": "London", "country": "GB"},
        "name": "Eve",
        "gender": "female",
        "updated_at": after["updated_at"],
    }
    assert cli.newest()[0]["type"] == "account.profile_changed"
    assert cli.json("person", "change", "eve", "--email", "")["email"] is None


@pytest.mark.parametrize(
    "claim", ["planet=Mars", "locale", "email_verified=perhaps", "address.planet=Mars", "locale=x_"]
)
def test_what_is_no_claim_is_refused(cli: CommandLine, claim: str) -> None:
    cli.run(*EVE, stdin=PASSWORD)
    assert "Error: " in cli.refused("person", "change", "eve", "--claim", claim)


def test_a_name_that_is_taken_is_refused_by_field(cli: CommandLine) -> None:
    cli.run(*EVE, stdin=PASSWORD)
    again = ("person", "add", "--password-stdin", "--username")
    assert "username: is taken" in cli.refused(*again, "EVE", stdin=PASSWORD)
    assert "email: is taken" in cli.refused(*again, "eva", "--email", "Eve@example.test", stdin=PASSWORD)
    cli.run(*again, "eve", "--realm", "administration", stdin=PASSWORD)


def test_a_new_password_is_set_by_any_of_the_persons_names(cli: CommandLine) -> None:
    person_id = cli.json(*EVE, stdin=PASSWORD)["id"]
    for who in (person_id, "EVE", "eve@example.test"):
        cli.run("person", "set-password", who, "--password-stdin", stdin=f"{PASSWORD} for {who}")
        (event,) = cli.newest()
        assert (event["type"], event["stream"]) == ("account.password_changed", f"account:{person_id}")
    said = cli.refused("person", "set-password", "eve", "--realm", "administration", "--password-stdin", stdin=PASSWORD)
    assert "no such person in the realm administration" in said


def test_people_are_listed_by_realm(cli: CommandLine) -> None:
    cli.run(*EVE, stdin=PASSWORD)
    cli.run(
        "person", "add", "--realm", "administration", "--username", "ann", "--role", "administrator",
        "--password-stdin", stdin=PASSWORD,
    )  # fmt: skip
    assert [each["username"] for each in cli.json("person", "list")] == ["eve", "ann"]
    assert [each["roles"] for each in cli.json("person", "list", "--realm", "administration")] == [["administrator"]]
    assert "eve@example.test" in cli.run("person", "list").stdout


def test_scope_is_defined_redescribed_and_retired_when_unused(cli: CommandLine) -> None:
    cli.run("scope", "put", "orders:read", "See your orders")
    assert cli.newest()[0]["type"] == "scope.defined"
    cli.run("scope", "put", "orders:read", "See what you ordered")
    assert cli.newest()[0]["data"] == {"old": "See your orders", "new": "See what you ordered"}
    assert {"name": "orders:read", "description": "See what you ordered"} in cli.json("scope", "list")
    cli.run("role", "put", "platform", "buyer", "--scope", "orders:read")
    assert "name this scope" in cli.refused("scope", "retire", "orders:read")
    cli.run("role", "retire", "platform", "buyer")
    cli.run("scope", "retire", "orders:read")
    assert cli.newest()[0]["type"] == "scope.retired"
    assert "own scopes stay" in cli.refused("scope", "retire", "clients:read")


def test_role_is_defined_and_changed_and_stays_while_assigned(cli: CommandLine) -> None:
    cli.run("role", "put", "platform", "buyer", "--scope", "profile", "--default")
    assert cli.newest()[0]["data"] == {"realm": "platform", "name": "buyer", "scopes": ["profile"], "default": True}
    cli.run("role", "put", "platform", "buyer", "--scope", "profile catalog:read")
    assert cli.newest()[0]["type"] == "role.changed"
    cli.run(*EVE, "--role", "buyer", stdin=PASSWORD)
    assert "people have this role" in cli.refused("role", "retire", "platform", "buyer")
    assert "scopes:" in cli.refused("role", "put", "platform", "spy", "--scope", "audit:read")


def test_last_administrators_role_keeps_its_admin_scope(cli: CommandLine) -> None:
    cli.run(
        "person", "add", "--realm", "administration", "--username", "ann", "--role", "administrator",
        "--password-stdin", stdin=PASSWORD,
    )  # fmt: skip
    said = cli.refused("role", "put", "administration", "administrator", "--scope", "clients:read")
    assert "nobody would be left" in said


def test_realms_are_made_and_ask_for_factors(cli: CommandLine) -> None:
    made = cli.json("realm", "put", "partners", "--second-factor", "required")
    assert made == {
        "name": "partners",
        "second_factor": "required",
        "required_for": [],
        "registration": "off",
    }
    (event,) = cli.newest()
    assert (event["type"], event["stream"]) == ("realm_policy.changed", "realm_policy:all")
    cli.run("realm", "put", "platform", "--second-factor", "required_for", "--required-for", "catalog:read")
    listed = cli.json("realm", "list")
    assert [each["name"] for each in listed] == ["administration", "platform", "partners"]
    assert listed[1]["required_for"] == ["catalog:read"]
    assert cli.json("realm", "put", "partners", "--registration", "open") == made | {"registration": "open"}
    eve = cli.json(*EVE, "--realm", "partners", stdin=f"{PASSWORD}\n")
    assert eve["realm"] == "partners"
    assert "realm" in cli.refused(*EVE, "--realm", "nowhere", stdin=f"{PASSWORD}\n")


def test_factors_are_reset(cli: CommandLine) -> None:
    cli.json(*EVE, stdin=f"{PASSWORD}\n")
    assert cli.json("person", "reset-factors", "eve")["username"] == "eve"
    # She had none, so nothing happened.
    assert cli.newest()[0]["type"] == "account.registered"
    assert "no such person" in cli.refused("person", "reset-factors", "adam")
