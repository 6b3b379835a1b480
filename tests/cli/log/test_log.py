"""`grantlog log …`: events in a line each, sealed values unopened."""

import json
import re
import signal
from pathlib import Path

import rich_click as click

from cli.event_text import line
from tests.cases import cases
from tests.cli.conftest import CommandLine
from tests.cli.processes import talking
from tests.started import PATIENCE

PASSWORD = "correct horse battery staple"


def test_the_tail_shows_the_last_events_in_a_line_each(cli: CommandLine) -> None:
    cli.run("scope", "put", "orders:read", "See your orders")
    lines = cli.run("log", "tail", "--no-follow").stdout.splitlines()
    assert len(lines) == 10
    assert cli.run("log", "tail", "--no-follow", "--last", "3").stdout.splitlines() == lines[-3:]
    assert re.match(r" *\d+ \d\d:\d\d:\d\d\.\d{3} scope\.defined +scope:orders:read by system user=", lines[-1])
    assert lines[-1].endswith("name=orders:read description=See your orders")


def test_sealed_values_are_named_and_stay_sealed(cli: CommandLine) -> None:
    cli.run("person", "add", "--username", "eve", "--password-stdin", stdin=PASSWORD)
    position = str(cli.newest()[0]["position"])
    for shown in (
        cli.run("log", "tail", "--no-follow", "--from", position).stdout,
        cli.run("log", "show", position).stdout,
    ):
        assert "•sealed•" in shown
        assert "s1.account:" not in shown
        assert "eve" not in shown


def test_the_stored_form_itself_is_there_for_scripts(cli: CommandLine) -> None:
    cli.run("scope", "put", "orders:read", "See your orders")
    printed = cli.run("log", "tail", "--no-follow", "--from", "1", "--json").stdout.splitlines()
    assert [json.loads(line) for line in printed] == cli.events()
    assert json.loads(cli.run("log", "show", "3", "--json").stdout) == cli.events()[2]


def test_the_tail_can_be_of_some_types_alone(cli: CommandLine) -> None:
    cli.run("client", "list")
    printed = cli.run(
        "log", "tail", "--no-follow", "--from", "1", "--json", "--type", "role.*", "--type", "client.secret_issued"
    )
    assert {json.loads(line)["type"] for line in printed.stdout.splitlines()} == {
        "role.defined",
        "client.secret_issued",
    }


@cases("name", ["role.define", "roles.*", "", "*"])
def test_a_type_that_no_event_has_is_not_waited_for(cli: CommandLine, name: str) -> None:
    said = cli.run("log", "tail", "--type", "role.*", "--type", name, exits=2).stderr
    assert said == f"Error: --type {name}: there are no such events\n"


def test_line_fits_the_terminal_with_client_names_and_times(cli: CommandLine) -> None:
    client = cli.json("client", "register", "--name", "Nightly import", "--grant-type", "client_credentials")
    stored = json.dumps(cli.events()[-1])
    names = {f"client:{client['client_id']}": "Nightly import"}
    assert "client:Nightly import by system" in click.unstyle(line(stored, names.get))
    assert "client:Nightly import by system" in cli.run("log", "tail", "--no-follow").stdout
    for width in (20, 60, 100):
        shown = line(stored, names.get, width)
        assert len(click.unstyle(shown)) == width
        assert click.unstyle(shown).endswith("…")
    whole = click.unstyle(line(stored, names.get))
    assert click.unstyle(line(stored, names.get, len(whole))) == whole
    event = {"type": "grant.token_revoked", "data": {"access_token": "0" * 64, "expires_at": 1_000_000, "by": "client"}}
    assert "expires_at=1970-01-01T00:00:01.000000Z" in click.unstyle(line(json.dumps(json.loads(stored) | event)))


def test_what_the_credential_told_is_not_told_again() -> None:
    event = json.loads(cli_event(secret_id="s", client_id="c", kind="access"))
    event["actor"] = {"kind": "client", "id": "c", "credential": {"secret_id": "s", "client_id": "another"}}
    assert click.unstyle(line(json.dumps(event))).endswith(
        "by client c secret_id=s client_id=another client_id=c kind=access"
    )


def test_a_digest_that_names_a_stream_is_shortened_as_any_other() -> None:
    event = json.loads(cli_event(kind="access")) | {"stream": "usage:" + "7e4eef4e" * 8}
    assert " usage:7e4eef4e… by system" in click.unstyle(line(json.dumps(event)))


def test_a_position_that_the_log_has_not_reached_is_refused(cli: CommandLine) -> None:
    assert "POSITION: the log has no event 4000 yet" in cli.refused("log", "show", "4000")


def test_no_value_in_a_line_can_move_the_cursor() -> None:
    event = cli_event(description="red \x1b[31m and\nnext \x9b2J")
    printed = click.unstyle(line(event))
    assert printed.endswith("description=red �[31m and�next �2J")


def cli_event(**data: str) -> str:
    head = {"position": 1, "id": "x", "type": "scope.defined", "stream": "scope:x", "version": 1}
    return json.dumps(head | {"time": "2026-01-01T00:00:00.000000Z", "actor": {"kind": "system"}, "data": data})


def test_tail_follows_events_and_ends_with_the_interrupt(cli: CommandLine) -> None:
    cli.run("client", "list")
    environment = {name: value for name, value in cli.environment.items() if value is not None}
    with talking("log", "tail", environment=environment, directory=Path.cwd()) as following:
        for _ in range(10):
            following.stdout.readline()
        cli.run("scope", "put", "orders:read", "See your orders")
        assert b"scope:orders:read" in following.stdout.readline()
        following.send_signal(signal.SIGINT)
        assert following.wait(PATIENCE) == 0
        assert (following.stdout.read(), following.stderr.read()) == (b"", b"")
