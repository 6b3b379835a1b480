import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventstore.transparency.merkle import ProvenExport
from eventstore.transparency.note import Checkpoint
from tests.eventstore.transparency.memory_tree import MemoryTree, mth, tree_of
from tests.verifier.published_log import KEY, ORIGIN, SIGNER, events
from verifier.note import Cosigner
from verifier.proofs import verify_export

LEAVES = [row["state"].encode() for row in events(600)]
TREE = tree_of(LEAVES)


def note_of(size: int) -> str:
    return Checkpoint(ORIGIN, size, mth(LEAVES[:size])).signed([SIGNER])


NOTE = note_of(600)


def export(positions: list[int], tree: MemoryTree = TREE, note: str = NOTE) -> list[bytes]:
    writer = ProvenExport(tree.hashes(), note)
    lines = [line for position in positions for line in writer.record(position, LEAVES[position - 1])]
    return [*lines, *writer.end()]


def test_a_stretch_without_a_gap() -> None:
    lines = export(list(range(100, 301)))
    assert len(lines) == 201 + 3
    verdict = verify_export(lines, [KEY])
    assert (verdict.outcome, verdict.checked, verdict.size) == ("verified", 201, 600)
    assert "positions 100 to 300 without a gap" in verdict.reason


@given(st.sets(st.integers(1, 600), max_size=40))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_any_choice_of_records(chosen: set[int]) -> None:
    verdict = verify_export(export(sorted(chosen)), [KEY])
    assert (verdict.outcome, verdict.checked) == ("verified", len(chosen))
    left_out = max(chosen) - min(chosen) + 1 - len(chosen) if chosen else 0
    assert (f"{left_out} events between them" in verdict.reason) == (left_out > 0)


def test_line_ends_that_were_changed_on_the_way_matter_not() -> None:
    lines = [line.replace(b"\n", b"\r\n") for line in export([100, 101, 200])]
    lines[0] = b"\xef\xbb\xbf" + lines[0]
    verdict = verify_export(lines, [KEY])
    assert (verdict.outcome, verdict.checked) == ("verified", 3)
    lines[1] = lines[1].replace("é 100".encode(), "é 999".encode())
    assert verify_export(lines, [KEY]).outcome == "tampered"


def test_a_changed_record_is_found() -> None:
    lines = export([100, 101, 102])
    lines[2] = lines[2].replace("é 101".encode(), "é 999".encode())
    verdict = verify_export(lines, [KEY])
    assert (verdict.outcome, verdict.position, verdict.until) == ("tampered", 100, 102)


def test_a_record_that_was_taken_out_is_found() -> None:
    lines = export([100, 101, 102])
    del lines[2]
    verdict = verify_export(lines, [KEY])
    assert (verdict.outcome, verdict.position) == ("tampered", 101)


@pytest.mark.parametrize(
    ("line", "position"),
    [
        (b'{"gap":{"from":1,"to":99,"hashes":[]}}\n', 1),
        (b'{"gap":{"from":2,"to":99,"hashes":[]}}\n', 1),
        (b'{"gap":{"from":1,"to":0,"hashes":[]}}\n', 1),
        (b'{"gap":{}}\n', 1),
        (b'{"gap":{"from":1,"to":1,"hashes":["AAAA"]}}\n', 1),
        (b"nonsense\n", 1),
        (b"\xff\n", 1),
    ],
)
def test_a_broken_proof_is_a_finding(line: bytes, position: int) -> None:
    lines = export([100, 101])
    lines[0] = line
    verdict = verify_export(lines, [KEY])
    assert (verdict.outcome, verdict.position) == ("tampered", position)


@pytest.mark.parametrize(
    "lines",
    [
        LEAVES[4:7],
        [b"position,id,type", b"1,x,client.registered"],
        [b'{"items":[],"next":null}'],
        [b"a diary"],
        export([100, 101, 102])[:3],
        [b"\x00\xff" * 50],
    ],
)
def test_what_nobody_signed_is_not_called_tampered(lines: list[bytes]) -> None:
    verdict = verify_export(lines, [KEY])
    assert (verdict.outcome, verdict.exit_code) == ("unverifiable", 2)
    assert "carries no proof" in verdict.reason


def test_too_many_hashes_are_refused() -> None:
    lines = export([2])
    lines[0] = lines[0].replace(b'"]', b'","' + lines[0].split(b'"')[-2] + b'"]')
    assert verify_export(lines, [KEY]).outcome == "tampered"


def test_an_export_that_was_cut_off_carries_no_proof() -> None:
    assert verify_export(export([1, 2])[:-1], [KEY]).outcome == "unverifiable"
    assert verify_export([], [KEY]).outcome == "unverifiable"


def test_nothing_may_follow_the_checkpoint() -> None:
    assert verify_export([*export([600]), LEAVES[0] + b"\n"], [KEY]).outcome == "tampered"


def test_kept_checkpoints_are_compared_where_the_export_allows() -> None:
    everything = export(list(range(1, 601)))
    assert verify_export(everything, [KEY], kept=[note_of(77)]).outcome == "verified"
    forged = Checkpoint(ORIGIN, 77, mth(LEAVES[1:78])).signed([SIGNER])
    verdict = verify_export(everything, [KEY], kept=[note_of(50), forged])
    assert (verdict.outcome, verdict.position, verdict.until) == ("tampered", 51, 77)
    # Position 77 lies inside a gap here.
    assert verify_export(export([200]), [KEY], kept=[note_of(77)]).outcome == "unverifiable"


def test_an_export_of_a_log_that_has_shrunk() -> None:
    lines = export(list(range(1, 101)), tree_of(LEAVES[:100]), note_of(100))
    verdict = verify_export(lines, [KEY], kept=[NOTE])
    assert (verdict.outcome, verdict.position) == ("tampered", 101)


def test_witnesses_can_be_demanded() -> None:
    witness = Cosigner("witness.example", bytes(32))
    assert verify_export(export([1]), [KEY], witnesses=[witness.key], quorum=1).exit_code == 2
    cosigned = NOTE + witness.cosign(NOTE.split("\n\n")[0] + "\n", 1)
    assert verify_export(export([1], note=cosigned), [KEY], witnesses=[witness.key], quorum=1).exit_code == 0


def test_writer_refuses_disorder_and_records_past_checkpoint() -> None:
    writer = ProvenExport(TREE.hashes(), NOTE)
    list(writer.record(5, LEAVES[4]))
    for position in (5, 4, 601):
        with pytest.raises(ValueError, match="out of order"):
            list(writer.record(position, b""))
