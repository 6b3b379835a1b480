import pytest

from eventstore.transparency import published
from eventstore.transparency.note import Signer
from eventstore.transparency.published import read_leaves
from tests.verifier.published_log import KEY, PublishedLog
from verifier.note import Cosigner, Key
from verifier.proofs import check_receipt, parse_receipt

WITNESS = Cosigner("witness.example", bytes(32))


def receipt_of(log: PublishedLog, position: int = 7) -> str:
    log.grow(20)
    with log.engine.connect() as connection:
        receipt = published.receipt(connection, position, read_leaves)
    assert receipt is not None
    return receipt


def test_the_event_may_come_beside_the_receipt(log: PublishedLog) -> None:
    whole = receipt_of(log)
    event = parse_receipt(whole).extra
    assert event is not None
    bare = "\n".join(line for line in whole.split("\n") if not line.startswith("extra "))
    assert check_receipt(whole, [KEY]).outcome == "verified"
    assert check_receipt(bare, [KEY], leaf=event).outcome == "verified"
    assert check_receipt(bare, [KEY]).outcome == "unverifiable"
    changed = check_receipt(bare, [KEY], leaf=event.replace(b"grant:0", b"grant:1"))
    assert (changed.outcome, changed.position) == ("tampered", 7)


def test_a_receipt_for_another_position_is_found(log: PublishedLog) -> None:
    assert check_receipt(receipt_of(log).replace("index 6", "index 7"), [KEY]).outcome == "tampered"


def test_another_key_did_not_sign_it(log: PublishedLog) -> None:
    other = Key.parse(str(Signer(KEY.name, bytes(32)).verifier))
    assert check_receipt(receipt_of(log), [other]).outcome == "tampered"


def test_witnesses_can_be_demanded(log: PublishedLog) -> None:
    receipt = receipt_of(log)
    assert check_receipt(receipt, [KEY], witnesses=[WITNESS.key], quorum=1).exit_code == 2
    text = receipt.split("\n\n")[1] + "\n"
    verdict = check_receipt(receipt + WITNESS.cosign(text, 1), [KEY], witnesses=[WITNESS.key], quorum=1)
    assert (verdict.outcome, verdict.cosigned_by) == ("verified", ("witness.example",))


@pytest.mark.parametrize(
    "text",
    [
        # The malformed ones are those of transparency-dev/merkle, proof/tlog_proof_test.go.
        "",
        "wrong-header\nindex 0\n\ncheckpoint\n",
        "c2sp.org/tlog-proof@v1\nextra !!notbase64!!\nindex 0\n\ncheckpoint\n",
        "c2sp.org/tlog-proof@v1\n\n\ncheckpoint\n",
        "c2sp.org/tlog-proof@v1\nindex notanumber\n\ncheckpoint\n",
        "c2sp.org/tlog-proof@v1\nindex -5\n\ncheckpoint\n",
        "c2sp.org/tlog-proof@v1\nindex 00\n\ncheckpoint\n",
        "c2sp.org/tlog-proof@v1\nindex 0\n!!notbase64!!\n\ncheckpoint\n",
        f"c2sp.org/tlog-proof@v1\nindex 0\n{'A' * 86}==\n\ncheckpoint\n",
        "c2sp.org/tlog-proof@v1\nindex 0",
    ],
)
def test_what_is_no_receipt_proves_nothing(text: str) -> None:
    assert check_receipt(text, [KEY], leaf=b"").outcome == "unverifiable"
