import base64

import pytest

from eventstore.transparency.note import (
    Checkpoint,
    Signer,
    VerifierKey,
    add_signatures,
    is_key_name,
    parse_checkpoint,
    sign,
    signatures,
    text_of,
)
from tests.eventstore.transparency.vectors import (
    BAD_VKEYS,
    EMPTY,
    ENOCH_LINE,
    ENOCH_VKEY,
    NOTE_TEXT,
    PETER_LINE,
    PETER_SEED,
    PETER_VKEY,
)
from verifier.note import Cosigner

PETER = Signer("PeterNeumann", base64.b64decode(PETER_SEED)[1:])


def test_note_equals_the_reference_implementation_byte_for_byte() -> None:
    assert str(PETER.verifier) == PETER_VKEY
    assert sign(NOTE_TEXT, [PETER]) == f"{NOTE_TEXT}\n{PETER_LINE}"


def test_published_keys_verify_their_signatures_and_no_other() -> None:
    peter, enoch = VerifierKey.parse(PETER_VKEY), VerifierKey.parse(ENOCH_VKEY)
    by_peter, by_enoch = signatures(PETER_LINE + ENOCH_LINE)
    assert peter.verifies(NOTE_TEXT, by_peter)
    assert enoch.verifies(NOTE_TEXT, by_enoch)
    assert not peter.verifies(NOTE_TEXT, by_enoch)
    assert not peter.verifies(NOTE_TEXT.upper(), by_peter)
    assert not peter.verifies(NOTE_TEXT, by_peter._replace(value=b""))


@pytest.mark.parametrize("vkey", [*BAD_VKEYS, "", PETER_VKEY[:-1], PETER_VKEY + "\n", PETER_VKEY.replace("c7", "C7")])
def test_keys_that_are_none(vkey: str) -> None:
    with pytest.raises(ValueError, match="key"):
        VerifierKey.parse(vkey)


def test_cosignatures_verify_with_the_witness_key() -> None:
    cosigner = Cosigner("witness.example/w1", bytes(32))
    key = VerifierKey.parse(str(cosigner.key))
    (signature,) = signatures(cosigner.cosign(NOTE_TEXT, 1679315147))
    assert key.verifies(NOTE_TEXT, signature)
    later = (1679315148).to_bytes(8, "big")
    assert not key.verifies(NOTE_TEXT, signature._replace(value=later + signature.value[8:]))


def test_signatures_are_added_once() -> None:
    note = sign(NOTE_TEXT, [PETER])
    (enoch,) = signatures(ENOCH_LINE)
    twice = add_signatures(add_signatures(note, [enoch]), [enoch])
    assert twice == note + ENOCH_LINE
    assert text_of(twice) == NOTE_TEXT


@pytest.mark.parametrize(
    "line", ["", "\n", "— a\n", "- a AAAAAAA=\n", "— a b AAAAAAA=\n", "— a AAAA\n", PETER_LINE[:-1]]
)
def test_lines_that_are_no_signatures(line: str) -> None:
    with pytest.raises(ValueError, match="signature line"):
        list(signatures(line))


@pytest.mark.parametrize("text", ["", "no newline", "bell\x07\n", "carriage\r\n"])
def test_texts_that_cannot_be_signed(text: str) -> None:
    with pytest.raises(ValueError, match="text"):
        sign(text, [PETER])


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u2003b", "a\tb"])
def test_names_that_a_key_cannot_have(name: str) -> None:
    assert not is_key_name(name)
    with pytest.raises(ValueError, match="name"):
        Signer(name, bytes(32))


def test_a_signer_does_not_show_its_seed() -> None:
    assert "seed" not in repr(PETER)


def test_a_checkpoint_is_three_lines_and_is_read_back() -> None:
    # C2SP tlog-checkpoint, "Note text".
    checkpoint = Checkpoint("PeterNeumann", 0, EMPTY)
    assert checkpoint.text == "PeterNeumann\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"
    assert parse_checkpoint(checkpoint.signed([PETER])) == checkpoint
