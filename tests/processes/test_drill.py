"""The drill: a real server's log, attacked by whoever owns its database, before three verifiers.

Ours is the command line, run as an auditor would. The other two, pymerkle and metamorphic-log, are not ours: they are
given nothing but the stored events and a checkpoint that was signed before the attack.
"""

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import metamorphic_log
import pymerkle
import pytest

from security.keyring import new_master_key
from tests import plain_http
from tests.cli.processes import running
from tests.databases import Databases
from tests.processes import hostile
from tests.processes.commands import command_line, run
from tests.processes.hostile import Attack, KeyHolder, unprotected
from tests.started import free_port
from verifier.note import Cosigner, Key
from verifier.witness import Memory, Witness
from verifier.witness import server as witness_server

ORIGIN = "drill.example/log"
COSIGNER = Cosigner("witness.example/drill", bytes(range(32)))
TOKENS = 300
MIDDLE = 200
"""The position that is attacked: in the midst of a full tile, and of tokens that were issued."""


@dataclass(frozen=True)
class Drilled:
    """What is left of a server that ran, stopped, ran on and stopped: two states of its database and two checkpoints.

    Both checkpoints were cosigned by the witness, and kept by an auditor.
    """

    databases: Databases
    url: str
    older_url: str
    environment: dict[str, str]
    directory: Path
    vkey: str
    older: str
    newest: str

    @property
    def size(self) -> int:
        return size_of(self.newest)

    @property
    def key_holder(self) -> KeyHolder:
        return KeyHolder(self.environment["GRANTLOG_MASTER_KEY"], ORIGIN)

    @contextmanager
    def attacked(self, attack: Attack, position: int = MIDDLE) -> Iterator[str]:
        """The URL of a copy on which the attack was carried out."""
        url = self.databases.copy(self.url)
        try:
            with unprotected(url) as connection:
                attack(connection, position)
            yield url
        finally:
            self.databases.drop(url)

    def verify(self, url: str, *arguments: str, kept: str | None = None) -> tuple[int, dict[str, Any]]:
        """Exit code and verdict of `grantlog audit verify`, without any of the server's settings."""
        if kept is not None:
            (self.directory / "kept").write_text(kept)
            arguments += ("--checkpoint", "kept")
        command = ("audit", "verify", url, "--key", self.vkey, "--json", *arguments)
        done = run(self.directory, {}, *command)
        return done.returncode, json.loads(done.stdout)


def size_of(note: str) -> int:
    return int(note.split("\n")[1])


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("drill")


@pytest.fixture(scope="module")
def environment(module_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    port = str(free_port())
    return {
        "GRANTLOG_PORT": port,
        "GRANTLOG_ISSUER": f"http://127.0.0.1:{port}",
        "GRANTLOG_DATABASE_URL": module_database_url,
        # Of each log its own: a node does not start on another one than it kept a checkpoint of.
        "GRANTLOG_DATA_DIR": str(tmp_path_factory.mktemp("data")),
        "GRANTLOG_MASTER_KEY": new_master_key(),
        "GRANTLOG_LOG_ORIGIN": ORIGIN,
        "GRANTLOG_LOG_REQUESTS": "0",
    }


@pytest.fixture(scope="module")
def vkey(environment: dict[str, str], directory: Path) -> str:
    shown = command_line(directory, environment, "audit", "key")
    assert shown["origin"] == ORIGIN
    key: str = shown["verifier_key"]
    return key


@pytest.fixture(scope="module")
def witness(vkey: str, directory: Path) -> Iterator[str]:
    """Where a witness listens that remembers everything it has cosigned."""
    memory = Memory(directory / f"witness-{vkey.split('+')[1]}.db")
    serving = witness_server(Witness(COSIGNER, [Key.parse(vkey)], memory, lambda: int(time.time())), "127.0.0.1", 0)
    thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{serving.server_address[1]}"
    serving.shutdown()
    thread.join()
    serving.server_close()


@pytest.fixture(scope="module")
def drilled(
    module_database_url: str,
    databases: Databases,
    environment: dict[str, str],
    directory: Path,
    vkey: str,
    witness: str,
) -> Iterator[Drilled]:
    environment |= {"GRANTLOG_WITNESSES": f"{witness} {COSIGNER.key}"}
    client = command_line(
        directory,
        environment,
        *("client", "register", "--name", "Service", "--grant-type", "client_credentials", "--scope", "catalog:read"),
    )
    older = _serve(environment, directory, client, TOKENS)
    older_url = databases.copy(module_database_url)
    newest = _serve(environment, directory, client, 20)
    assert size_of(newest) > size_of(older) > MIDDLE
    yield Drilled(databases, module_database_url, older_url, environment, directory, vkey, older, newest)
    databases.drop(older_url)


def _serve(environment: dict[str, str], directory: Path, client: dict[str, Any], tokens: int) -> str:
    """Lets the server issue so many tokens, and stops it; the cosigned checkpoint that covers them."""
    with running("serve", environment=environment, directory=directory) as server:
        base = f"http://127.0.0.1:{server.port}"
        with plain_http.client(base) as caller:
            for _ in range(tokens):
                answer = caller.post(
                    "/oauth/token",
                    data={"grant_type": "client_credentials"},
                    auth=(client["client_id"], client["client_secret"]),
                )
                assert answer.status_code == 200, answer.text
            note = _covering(caller, len(hostile.states(environment["GRANTLOG_DATABASE_URL"])))
        assert server.stop() == 0
    return note


def _covering(caller: httpx.Client, size: int) -> str:
    for _ in range(600):
        answer = caller.get("/log/checkpoint")
        note = answer.text
        if answer.status_code == 200 and size_of(note) >= size and COSIGNER.name in note.partition("\n\n")[2]:
            return note
        time.sleep(0.1)
    raise AssertionError(f"no cosigned checkpoint covers {size} events: {note}")


def others_find_it(drilled: Drilled, url: str) -> bool:
    """What two foreign implementations say: the events there are not those of the checkpoint that was kept."""
    signed = metamorphic_log.checkpoint_verify(drilled.newest, [drilled.vkey])
    tree = pymerkle.InmemoryTree.init_from_entries(hostile.states(url))
    return bool(tree.get_size() < signed.size or tree.get_root(signed.size) != signed.root)


def test_an_untouched_log_is_verified_by_all(drilled: Drilled) -> None:
    code, verdict = drilled.verify(drilled.url, "--witness", str(COSIGNER.key), "--quorum", "1", kept=drilled.older)
    assert (code, verdict["verdict"], verdict["origin"]) == (0, "verified", ORIGIN)
    assert verdict["cosigned_by"] == [COSIGNER.name]
    assert verdict["checked"] >= drilled.size
    assert not others_find_it(drilled, drilled.url)


@pytest.mark.parametrize(
    "attack",
    [
        hostile.change_one_byte,
        hostile.change_what_it_says,
        hostile.delete_one,
        hostile.delete_one_and_close_up,
        hostile.swap_two,
        hostile.insert_one,
        hostile.cut_the_tail,
    ],
)
def test_the_first_position_that_does_not_fit_is_named(drilled: Drilled, attack: Attack) -> None:
    with drilled.attacked(attack) as url:
        code, verdict = drilled.verify(url)
        assert (code, verdict["verdict"], verdict["position"]) == (1, "tampered", MIDDLE), verdict
        assert verdict["until"] is None
        assert others_find_it(drilled, url)


def test_event_and_its_hash_are_found_by_nearby_checkpoints(drilled: Drilled) -> None:
    with drilled.attacked(hostile.change_and_recompute_its_hash) as url:
        code, verdict = drilled.verify(url)
        assert (code, verdict["verdict"]) == (1, "tampered")
        assert verdict["position"] <= MIDDLE <= (verdict["until"] or verdict["position"])
        assert others_find_it(drilled, url)


class TestTheOperatorHasTheLogsKey:
    def test_to_who_kept_nothing_a_history_signed_anew_looks_right(self, drilled: Drilled) -> None:
        with drilled.attacked(drilled.key_holder.rewrite(hostile.change_what_it_says)) as url:
            assert drilled.verify(url)[0] == 0, "this is what docs/audit.md does not promise"
            assert others_find_it(drilled, url)

    @pytest.mark.parametrize("attack", [hostile.change_what_it_says, hostile.delete_one_and_close_up])
    def test_a_checkpoint_that_was_kept_shows_it(self, drilled: Drilled, attack: Attack) -> None:
        with drilled.attacked(drilled.key_holder.rewrite(attack)) as url:
            code, verdict = drilled.verify(url, kept=drilled.older)
            assert (code, verdict["verdict"]) == (1, "tampered")
            # Every hash was made anew: where the order of events betrays nothing, the kept root speaks for a stretch.
            assert verdict["position"] <= MIDDLE <= (verdict["until"] or verdict["position"])

    def test_a_witness_shows_it_to_who_kept_nothing(self, drilled: Drilled, witness: str) -> None:
        with drilled.attacked(drilled.key_holder.rewrite(hostile.change_what_it_says)) as url:
            code, verdict = drilled.verify(url, "--witness", str(COSIGNER.key), "--quorum", "1")
            assert (code, verdict["verdict"], verdict["cosigned_by"]) == (2, "unverifiable", [])
            forged = hostile.newest_note(url)
            body = f"old {drilled.size}\n\n{forged}".encode()
            answer = plain_http.post(f"{witness}/add-checkpoint", content=body)
            assert answer.status_code in (400, 409, 422), "the witness cosigns no second history"


class TestAnOlderDatabase:
    def test_rewritten_log_fails_beside_a_newer_checkpoint_only(self, drilled: Drilled) -> None:
        assert drilled.verify(drilled.older_url, kept=drilled.older)[0] == 0
        code, verdict = drilled.verify(drilled.older_url, kept=drilled.newest)
        assert (code, verdict["verdict"]) == (1, "tampered")
        assert "shrunk" in verdict["reason"]
        assert verdict["position"] == size_of(drilled.older) + 1
        assert others_find_it(drilled, drilled.older_url)

    def test_so_does_a_tail_that_was_cut_with_its_checkpoints(self, drilled: Drilled) -> None:
        with drilled.attacked(drilled.key_holder.rewrite(hostile.cut_the_tail)) as url:
            code, verdict = drilled.verify(url, kept=drilled.newest)
            assert (code, verdict["verdict"], verdict["position"]) == (1, "tampered", MIDDLE)
            assert others_find_it(drilled, url)

    def test_server_started_on_it_learns_it_from_its_witness(self, drilled: Drilled) -> None:
        url = drilled.databases.copy(drilled.older_url)
        folder = drilled.directory / f"restored-{os.path.basename(url.partition('?')[0])}"
        folder.mkdir()
        try:
            settings = drilled.environment | {"GRANTLOG_DATABASE_URL": url, "GRANTLOG_DATA_DIR": str(folder)}
            # Another setting makes the start an event, so that there is something new to sign.
            settings |= {"GRANTLOG_PORT": str(free_port()), "GRANTLOG_CODE_LIFETIME": "61"}
            with running("serve", environment=settings, directory=folder) as server:
                for _ in range(1_200):
                    if "transparency.witness_alarm" in server.printed:
                        break
                    time.sleep(0.05)
                lines = [
                    json.loads(line) for line in server.printed.splitlines() if '"transparency.witness_alarm"' in line
                ]
            (alarm,) = lines
            assert (alarm["kind"], alarm["level"]) == ("ahead", "error")
            assert alarm["witness"] == COSIGNER.name
        finally:
            drilled.databases.drop(url)
