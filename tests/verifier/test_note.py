import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.eventstore.transparency.vectors import (
    BAD_NOTES,
    BAD_VKEYS,
    ENOCH_LINE,
    ENOCH_VKEY,
    NOTE_TEXT,
    PETER_LINE,
    PETER_VKEY,
)
from verifier.note import BadSignature, Cosigner, Key, Malformed, open_note, parse_checkpoint

PETER, ENOCH = Key.parse(PETER_VKEY), Key.parse(ENOCH_VKEY)
ROOT = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="


def test_known_keys_verify_and_unknown_ones_are_ignored() -> None:
    note = NOTE_TEXT + "\n" + PETER_LINE + ENOCH_LINE
    assert open_note(note, [PETER]).verified == (PETER,)
    assert open_note(note, [ENOCH, PETER]).verified == (PETER, ENOCH)
    assert open_note(note, []).verified == ()
    assert open_note(note, [PETER]).text == NOTE_TEXT
    assert open_note(note, []).signed_by == (("PeterNeumann", "c74f20a3"), ("EnochRoot", "af0cfe78"))


def test_a_repeated_signature_counts_once() -> None:
    assert open_note(NOTE_TEXT + "\n" + PETER_LINE * 2, [PETER]).verified == (PETER,)


def test_a_wrong_signature_of_a_known_key_spoils_the_note() -> None:
    spoilt = PETER_LINE[:60] + "ABCD" + PETER_LINE[60:]
    with pytest.raises(BadSignature):
        open_note(NOTE_TEXT + "\n" + spoilt + ENOCH_LINE, [PETER, ENOCH])
    assert open_note(NOTE_TEXT + "\n" + spoilt + ENOCH_LINE, [ENOCH]).verified == (ENOCH,)
    with pytest.raises(BadSignature):
        open_note(NOTE_TEXT.upper() + "\n" + PETER_LINE, [PETER])


@pytest.mark.parametrize("note", BAD_NOTES)
def test_published_notes_that_are_malformed(note: str) -> None:
    with pytest.raises(Malformed):
        open_note(note, [PETER])


@pytest.mark.parametrize("vkey", [*BAD_VKEYS, PETER_VKEY[1:], PETER_VKEY[:-1], PETER_VKEY.replace("c74f", "c74e")])
def test_keys_that_are_none(vkey: str) -> None:
    with pytest.raises(Malformed):
        Key.parse(vkey)


@pytest.mark.parametrize("text", [PETER_VKEY, PETER_VKEY + "\n"])
def test_a_key_is_read_from_a_file_with_its_newline(text: str) -> None:
    assert str(Key.parse(text)) == PETER_VKEY


def test_the_specifications_checkpoint_is_read() -> None:
    # C2SP tlog-checkpoint and tlog-cosignature, with the witness's line.
    note = (
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
        "— example.com/behind-the-sofa "
        "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
        "— witness.example.com/w1 "
        "jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
    )
    opened = open_note(note, [])
    checkpoint = parse_checkpoint(opened.text)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert opened.signed_by == (("example.com/behind-the-sofa", "033de0ae"), ("witness.example.com/w1", "8d66cf3f"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "log\n1\n",
        f"log\n1\n{ROOT}",
        f"\n1\n{ROOT}\n",
        f"log\n01\n{ROOT}\n",
        f"log\n-1\n{ROOT}\n",
        f"log\n1 \n{ROOT}\n",
        f"log\n١\n{ROOT}\n",
        f"log\n\n1\n{ROOT}\n",
        "log\n1\nAAAA\n",
        f"log\n1\n{ROOT[:-1]}\n",
        f"log\n1\n{ROOT.replace('FU=', 'FV=')}\n",
        f"log\n1\n{ROOT}\n\n",
    ],
)
def test_texts_that_are_no_checkpoints(text: str) -> None:
    with pytest.raises(Malformed):
        parse_checkpoint(text)


def test_extension_lines_are_allowed() -> None:
    assert parse_checkpoint(f"log\n0\n{ROOT}\nextension\n").size == 0


def test_a_witness_key_is_kept_as_text_and_cosigns() -> None:
    cosigner = Cosigner("witness.example/w1", bytes(range(32)))
    assert Cosigner.parse(cosigner.reveal() + "\n") == cosigner
    assert "seed" not in repr(cosigner)
    text = f"log\n0\n{ROOT}\n"
    note = text + "\n" + cosigner.cosign(text, 1679315147)
    assert open_note(note, [cosigner.key]).verified == (cosigner.key,)
    with pytest.raises(BadSignature):
        open_note(note.replace("\n0\n", "\n1\n"), [cosigner.key])


@pytest.mark.parametrize("spoil", [(0, 1), (20, 21), (-2, -1)])
def test_a_spoilt_witness_key_is_refused_without_being_shown(spoil: tuple[int, int]) -> None:
    text = Cosigner("w", bytes(32)).reveal()
    with pytest.raises(Malformed) as refused:
        Cosigner.parse(text[: spoil[0]] + text[spoil[1] :])
    assert "AAAA" not in str(refused.value)


@given(st.text(max_size=200))
def test_no_text_makes_the_reader_fall_over(text: str) -> None:
    for read in (lambda: open_note(text, [PETER]), lambda: parse_checkpoint(text), lambda: Key.parse(text)):
        try:
            read()
        except Malformed:
            continue
