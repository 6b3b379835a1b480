"""The master key is changed while people go on signing in, and the old one can be destroyed."""

import asyncio
import contextlib
from dataclasses import replace

import pytest

from eventstore.database.engines import migrating
from eventstore.ledger import Ledger
from eventstore.projecting.catch_up import CatchUpSubscription, EventIndexing
from eventstore.unavailable import DatabaseAway
from security.clock import SystemClock
from security.keyring import new_master_key, parse_keyring
from security.vault import Vault
from tests.cli.conftest import CommandLine
from tests.eventstore.conftest import HERE, register


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


def test_key_is_retired_only_after_everything_is_rewrapped(cli: CommandLine) -> None:
    old, new = new_master_key(), new_master_key()
    add(with_keys(cli, old), "paula")
    both, after = with_keys(cli, new, old), with_keys(cli, new)
    assert "set the new one alone" in both.run("keys", "retire", exits=1).stderr
    both.run("keys", "rewrap")
    engine = migrating(cli.database_url)
    with engine.begin() as connection:
        # A node that had not been given the new key yet.
        Vault(parse_keyring(old)).provide(connection, "client:late", 0)
    engine.dispose()
    assert "rewrap" in after.run("keys", "retire", exits=1).stderr
    both.run("keys", "rewrap")
    after.run("keys", "retire")
    assert {each["username"] for each in after.json("person", "list")} == {"paula"}


def test_whoever_has_the_retired_key_writes_nothing_any_more(cli: CommandLine) -> None:
    """A server that was left running would take no name for taken, and the log could never be replayed again."""
    old, new = new_master_key(), new_master_key()
    add(with_keys(cli, old), "paula")
    both, after = with_keys(cli, new, old), with_keys(cli, new)
    both.run("keys", "rewrap")

    async def left_running(*names: str) -> None:
        ledger = await Ledger.open(cli.database_url, parse_keyring(f"{new},{old}"), SystemClock())
        try:
            for name in names:
                await ledger.execute(register(name), origin=HERE)
            with pytest.raises(DatabaseAway) if not names else contextlib.nullcontext():
                await CatchUpSubscription(ledger, EventIndexing()).follow()
        finally:
            await ledger.close()

    asyncio.run(left_running("before"))
    after.run("keys", "retire")
    events = after.events()
    with pytest.raises(DatabaseAway, match="another master key"):
        asyncio.run(left_running("after"))
    asyncio.run(left_running())
    assert after.events() == events
    assert "equal" in after.run("projections", "verify").stdout
    assert "master key" in both.run("person", "list", exits=3).stderr


def test_keys_that_sign_tokens_are_rotated(cli: CommandLine) -> None:
    made = cli.json("keys", "rotate", "--signing")
    assert [each["alg"] for each in made] == ["RS256", "ES256", "PS256", "EdDSA"]
    assert "published already" in cli.run("keys", "rotate", "--signing", exits=1).stderr
    compromised = cli.run("keys", "rotate", "--signing", "--compromised").stdout.split()
    assert compromised[::2] == ["RS256", "ES256", "PS256", "EdDSA"]
    revoked = [each["data"]["key_id"] for each in cli.events() if each["type"] == "signing_key.revoked"]
    assert len(revoked) == 8
    assert {each["kid"] for each in made} < set(revoked)
    assert not set(compromised[1::2]) & set(revoked)


def test_which_keys_are_rotated_must_be_said(cli: CommandLine) -> None:
    assert "--signing" in cli.run("keys", "rotate", exits=2).stderr
