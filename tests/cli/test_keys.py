"""The master key is changed while people go on signing in, and the old one can be destroyed."""

from dataclasses import replace

from security.keyring import new_master_key
from tests.cli.conftest import CommandLine


def with_keys(cli: CommandLine, *keys: str) -> CommandLine:
    return replace(cli, environment={**cli.environment, "GRANTLOG_MASTER_KEY": ",".join(keys)})


def add(cli: CommandLine, name: str, exits: int = 0) -> str:
    arguments = ("person", "add", "--username", name, "--email", f"{name}@example.test", "--password-stdin")
    return cli.run(*arguments, stdin="a long and unguessable password\n", exits=exits).output


def test_a_new_master_key_takes_over_and_the_old_one_goes(cli: CommandLine) -> None:
    old, new = new_master_key(), new_master_key()
    before = with_keys(cli, old)
    add(before, "paula")
    both, after = with_keys(cli, new, old), with_keys(cli, new)
    assert "master key" in after.run("person", "list", exits=3).stderr
    add(both, "peter")
    assert "rewrap" in after.run("keys", "retire", exits=1).stderr
    assert "wrapped anew" in both.run("keys", "rewrap").stdout
    assert both.run("keys", "rewrap").stdout.startswith("0 ")
    after.run("keys", "retire")
    assert {each["username"] for each in after.json("person", "list")} == {"paula", "peter"}
    # Names are still taken, which is found out by the indexes.
    assert "is taken" in add(after, "paula", exits=1)
    assert "equal" in after.run("projections", "verify", "accounts").stdout
    before.run("person", "list", exits=3)
