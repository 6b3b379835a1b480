"""The answers of C2SP tlog-witness, "add-checkpoint", one by one."""

import http.client
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Barrier, Thread

import pytest

from eventstore.transparency.keeper import add_checkpoint_body
from eventstore.transparency.merkle import consistency
from eventstore.transparency.note import Checkpoint, Signer
from tests.eventstore.transparency.memory_tree import MemoryTree, mth, tree_of
from tests.verifier.published_log import KEY, ORIGIN, SIGNER
from verifier.note import Cosigner, Malformed, open_note
from verifier.tree import EMPTY_ROOT
from verifier.witness import Memory, Witness, WitnessReply, load_or_create_key, server

LEAVES = [b"%d" % i for i in range(40)]
OTHER = [b"other %d" % i for i in range(40)]
COSIGNER = Cosigner("witness.example/w1", bytes(range(32)))
NOW = 1_679_315_147


def note(size: int, leaves: list[bytes] = LEAVES, signer: Signer = SIGNER) -> str:
    return Checkpoint(signer.name, size, mth(leaves[:size])).signed([signer])


def body(old: int, new: int, leaves: list[bytes] = LEAVES) -> bytes:
    tree: MemoryTree = tree_of(leaves[:new])
    return add_checkpoint_body(old, consistency(tree.hashes(), old), note(new, leaves))


def at(path: Path) -> Witness:
    return Witness(COSIGNER, [KEY], Memory(path), lambda: NOW)


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    return at(tmp_path / "memory")


def test_200_is_a_cosignature_on_the_checkpoint(witness: Witness) -> None:
    for old, new in [(0, 5), (5, 8), (8, 8), (8, 33)]:
        answer = witness.add_checkpoint(body(old, new))
        assert answer.status == 200
        opened = open_note(note(new) + answer.body.decode(), [KEY, COSIGNER.key])
        assert opened.verified == (KEY, COSIGNER.key)


def test_400_for_what_is_not_a_request(witness: Witness) -> None:
    good = body(0, 5)
    hash_line = b"A" * 43 + b"=\n"
    for bad in [
        b"",
        b"\xff",
        good.replace(b"old 0", b"old 00"),
        good.replace(b"old 0", b"old -1"),
        good.replace(b"old 0", b"old"),
        good.replace(b"old 0\n", b""),
        good[:-1],
        good.replace(b"old 0\n", b"old 0\nnonsense\n"),
        good.replace(b"old 0\n", b"old 0\nAAAA\n"),
        good.replace(b"old 0\n", b"old 0\n" + 64 * hash_line),
        good.replace(b"\n5\n", b"\n05\n"),
        b"old 0\n\nno checkpoint\n\n" + good.split(b"\n\n")[2],
    ]:
        assert witness.add_checkpoint(bad).status == 400


def test_400_when_the_old_size_is_the_larger_one(witness: Witness) -> None:
    assert witness.add_checkpoint(add_checkpoint_body(6, [], note(5))).status == 400


def test_403_when_no_trusted_key_signed(witness: Witness) -> None:
    forger = Signer(ORIGIN, bytes(32))
    assert witness.add_checkpoint(add_checkpoint_body(0, [], note(5, signer=forger))).status == 403
    spoilt = note(5).replace("\n5\n", "\n6\n")
    assert witness.add_checkpoint(add_checkpoint_body(0, [], spoilt)).status == 403


def test_signatures_of_unknown_keys_are_ignored(witness: Witness) -> None:
    forger = Signer(ORIGIN, bytes(32))
    both = Checkpoint(ORIGIN, 5, mth(LEAVES[:5])).signed([forger, SIGNER])
    assert witness.add_checkpoint(add_checkpoint_body(0, [], both)).status == 200


def test_404_for_a_log_that_it_does_not_know(witness: Witness) -> None:
    assert (
        witness.add_checkpoint(add_checkpoint_body(0, [], note(5, signer=Signer("elsewhere", bytes(32))))).status == 404
    )


def test_409_tells_the_size_that_was_cosigned_last(witness: Witness) -> None:
    assert witness.add_checkpoint(add_checkpoint_body(3, [], note(5))) == WitnessReply(409, "text/x.tlog.size", b"0\n")
    witness.add_checkpoint(body(0, 5))
    assert witness.add_checkpoint(body(0, 8)) == WitnessReply(409, "text/x.tlog.size", b"5\n")
    # A log that has shrunk is told what it once was.
    assert witness.add_checkpoint(body(0, 3)) == WitnessReply(409, "text/x.tlog.size", b"5\n")


def test_409_for_another_tree_of_the_same_size(witness: Witness) -> None:
    witness.add_checkpoint(body(0, 5))
    assert witness.add_checkpoint(add_checkpoint_body(5, [], note(5, OTHER))).status == 409
    assert witness.add_checkpoint(body(5, 5)).status == 200


def test_409_for_an_empty_tree_whose_root_is_not_that_of_one(witness: Witness) -> None:
    forged = Checkpoint(ORIGIN, 0, bytes(32)).signed([SIGNER])
    assert witness.add_checkpoint(add_checkpoint_body(0, [], forged)).status == 409
    empty = Checkpoint(ORIGIN, 0, EMPTY_ROOT).signed([SIGNER])
    assert witness.add_checkpoint(add_checkpoint_body(0, [], empty)).status == 200


def test_422_when_the_proof_does_not_verify(witness: Witness) -> None:
    proof = consistency(tree_of(LEAVES[:8]).hashes(), 5)
    assert witness.add_checkpoint(add_checkpoint_body(0, proof, note(8))).status == 422
    witness.add_checkpoint(body(0, 5))
    assert witness.add_checkpoint(add_checkpoint_body(5, proof[:-1], note(8))).status == 422
    assert witness.add_checkpoint(add_checkpoint_body(5, proof, note(8, OTHER))).status == 422
    assert witness.add_checkpoint(body(5, 8, OTHER)).status == 422
    assert witness.add_checkpoint(add_checkpoint_body(5, proof, note(5))).status == 422
    assert witness.add_checkpoint(body(5, 8)).status == 200


def test_it_remembers_after_a_restart(tmp_path: Path) -> None:
    at(tmp_path / "memory").add_checkpoint(body(0, 33))
    again = at(tmp_path / "memory")
    assert again.add_checkpoint(body(0, 5)).body == b"33\n"
    assert again.add_checkpoint(body(33, 40, OTHER)).status == 422


def test_what_contradicts_is_kept_as_evidence_once(tmp_path: Path) -> None:
    witness = at(tmp_path / "memory")
    witness.add_checkpoint(body(0, 5))
    for _ in range(3):
        witness.add_checkpoint(add_checkpoint_body(5, [], note(5, OTHER)))
    with Memory(tmp_path / "memory").hold() as held:
        assert held.evidence(ORIGIN) == [note(5, OTHER)]


def test_of_many_at_once_each_size_is_cosigned_by_one_history(tmp_path: Path) -> None:
    # Ours and the forged history race for the first checkpoint; whoever comes second is refused.
    answers: dict[str, int] = {}
    start = Barrier(2, timeout=60)

    def ask(name: str, leaves: list[bytes]) -> None:
        witness = at(tmp_path / "memory")
        start.wait()
        answers[name] = witness.add_checkpoint(body(0, 7, leaves)).status

    at(tmp_path / "memory")
    threads = [Thread(target=ask, args=pair) for pair in (("ours", LEAVES), ("forged", OTHER))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers.values()) == [200, 409]


class TestOverHttp:
    @pytest.fixture
    def connection(self, witness: Witness) -> Iterator[http.client.HTTPConnection]:
        with server(witness, "127.0.0.1", 0) as serving:
            thread = Thread(target=serving.serve_forever)
            thread.start()
            with closing(http.client.HTTPConnection("127.0.0.1", serving.server_port)) as connection:
                yield connection
            serving.shutdown()
            thread.join()

    def test_a_connection_is_kept_for_several_requests(self, connection: http.client.HTTPConnection) -> None:
        for old, new, status in [(0, 5, 200), (0, 8, 409), (5, 8, 200)]:
            connection.request("POST", "/add-checkpoint", body(old, new))
            answer = connection.getresponse()
            assert (answer.status, answer.read().endswith(b"\n")) == (status, True)
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"

    def test_elsewhere_there_is_nothing(self, connection: http.client.HTTPConnection) -> None:
        connection.request("POST", "/", b"")
        assert connection.getresponse().status == 404

    def test_a_request_beyond_all_measure_is_refused_unread(self, connection: http.client.HTTPConnection) -> None:
        connection.putrequest("POST", "/add-checkpoint")
        connection.putheader("Content-Length", "99999999")
        connection.endheaders()
        answer = connection.getresponse()
        assert (answer.status, answer.headers["Connection"]) == (400, "close")


def test_its_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "key"
    made = load_or_create_key(path, "witness.example")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_or_create_key(path, "witness.example") == made
    with pytest.raises(ValueError, match="witness.example"):
        load_or_create_key(path, "other.example")
    path.write_text("nothing")
    with pytest.raises(Malformed):
        load_or_create_key(path, "witness.example")
