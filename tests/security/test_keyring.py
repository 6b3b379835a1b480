"""Master keys: reading them, wrapping with them, rotating them; and HKDF under them."""

import base64
import itertools
import os
import pickle
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from security.keyring import (
    Keyring,
    MasterKeyError,
    WrapBroken,
    hkdf_sha256,
    key_id_of,
    new_master_key,
    open_keyring,
    parse_keyring,
    wrapped_with,
)

# RFC 5869 appendix A, the cases with SHA-256: key, salt, info, output.
RFC5869 = [
    (
        "0b" * 22,
        "000102030405060708090a0b0c",
        "f0f1f2f3f4f5f6f7f8f9",
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
    ),
    (
        bytes(range(0x00, 0x50)).hex(),
        bytes(range(0x60, 0xB0)).hex(),
        bytes(range(0xB0, 0x100)).hex(),
        "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09"
        "da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
    ),
    (
        "0b" * 22,
        "",
        "",
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
    ),
]


@pytest.mark.parametrize(("key", "salt", "info", "output"), RFC5869)
def test_the_published_vectors_of_hkdf(key, salt, info, output):
    made = hkdf_sha256(bytes.fromhex(key), salt=bytes.fromhex(salt), info=bytes.fromhex(info), length=len(output) // 2)
    assert made.hex() == output


def rings(*ids):
    return Keyring({key_id: os.urandom(32) for key_id in ids})


@given(st.text(max_size=40), st.binary(max_size=200))
def test_what_is_wrapped_comes_back(purpose, secret):
    ring = rings("one")
    wrapped = ring.wrap(purpose, secret)
    assert ring.unwrap(purpose, wrapped) == secret
    assert wrapped_with(wrapped) == "one"
    assert len(secret) < 4 or secret not in wrapped
    assert ring.wrap(purpose, secret) != wrapped


@given(st.integers(0), st.integers(1, 255))
def test_altering_any_byte_is_noticed(place, change):
    ring = rings("one", "two")
    wrapped = bytearray(ring.wrap("here", b"secret"))
    wrapped[place % len(wrapped)] ^= change
    with pytest.raises((WrapBroken, MasterKeyError)):
        ring.unwrap("here", bytes(wrapped))


@given(st.binary(max_size=60))
def test_what_was_never_wrapped_is_refused(octets):
    with pytest.raises((WrapBroken, MasterKeyError)):
        rings("one").unwrap("here", octets)


def test_a_wrap_is_good_for_one_purpose_only():
    ring = rings("one")
    with pytest.raises(WrapBroken):
        ring.unwrap("there", ring.wrap("here", b"secret"))


def test_a_wrap_cut_short_is_refused():
    ring = rings("one")
    wrapped = ring.wrap("here", b"secret")
    for length in range(len(wrapped)):
        with pytest.raises(WrapBroken):
            ring.unwrap("here", wrapped[:length])


def test_rotation_wraps_with_the_first_key_and_unwraps_by_all():
    old, new = os.urandom(32), os.urandom(32)
    before, during, after = Keyring({"old": old}), Keyring({"new": new, "old": old}), Keyring({"new": new})
    wrapped = before.wrap("here", b"secret")
    assert during.unwrap("here", wrapped) == b"secret"
    assert wrapped_with(during.wrap("here", b"secret")) == during.active_id == "new"
    with pytest.raises(MasterKeyError, match=r"master key old.*GRANTLOG_MASTER_KEY=<active>,old:<key>"):
        after.unwrap("here", wrapped)


def test_derived_keys_stay_until_the_oldest_key_leaves():
    old, new = os.urandom(32), os.urandom(32)
    before, during, after = Keyring({"old": old}), Keyring({"new": new, "old": old}), Keyring({"new": new})
    assert before.derive("index") == during.derive("index") != after.derive("index")
    assert (before.derivation_id, during.derivation_id, after.derivation_id) == ("old", "old", "new")
    assert before.derive("index") != before.derive("other")
    assert len(before.derive("index")) == 32


def test_a_key_without_an_id_gets_one_that_is_always_the_same():
    text = new_master_key()
    ring = parse_keyring(text)
    assert ring.ids == (key_id_of(base64.urlsafe_b64decode(text + "=")),)
    assert parse_keyring(f" {text}= \n").ids == ring.ids
    assert ring.active_id not in text


def test_several_keys_the_first_is_active():
    first, second, third = new_master_key(), new_master_key(), new_master_key()
    ring = parse_keyring(f"2026-08:{first}, {second},old_one:{third}")
    assert ring.active_id == "2026-08"
    assert ring.ids[2] == ring.derivation_id == "old_one"
    assert parse_keyring(third).derive("index") == ring.derive("index")


GOOD = new_master_key()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "key 1 of GRANTLOG_MASTER_KEY is not base64url of 32 bytes. Make one with"),
        (GOOD + ",", "key 2 of"),
        (GOOD[:-1], "key 1 of"),
        (GOOD + "AAAA", "key 1 of"),
        ("hunter2-hunter2-hunter2-hunter2-hunter2", "key 1 of"),
        ("+" + GOOD[1:], "key 1 of"),
        ("A" * 43, "placeholder"),
        (base64.urlsafe_b64encode(b"changeme" * 4).decode(), "placeholder"),
        (":" + GOOD, "the id of key 1"),
        ("a b:" + GOOD, "the id of key 1"),
        ("a:b:" + GOOD, "the id of key 1"),
        ("x" * 33 + ":" + GOOD, "the id of key 1"),
        (f"one:{GOOD},one:{new_master_key()}", "key 2 of GRANTLOG_MASTER_KEY has the id one"),
        (f"{GOOD},{GOOD}", "which an earlier one has too"),
    ],
    # Not by their values, which are made anew in every process.
    ids=map(str, itertools.count()),
)
def test_mistakes_are_named_and_keys_are_not(text, says):
    with pytest.raises(MasterKeyError) as refused:
        parse_keyring(text)
    message = str(refused.value)
    assert says in message
    assert GOOD[:43] not in message
    assert "hunter2" not in message


def test_the_advice_works(tmp_path):
    with pytest.raises(MasterKeyError) as refused:
        open_keyring(None, tmp_path / "master.key", create=False)
    assert "GRANTLOG_MASTER_KEY is not set" in str(refused.value)
    program = str(refused.value).partition("python3 -c '")[2].rpartition("'")[0]
    made: list[str] = []
    exec(program, {"print": made.append})  # noqa: S102 - the very words that we tell people to run
    assert parse_keyring(made[0]).ids


@pytest.mark.parametrize("keys", [{}, {"one": b"short"}, {"o ne": b"x" * 32}, {"": b"x" * 32}])
def test_a_ring_of_anything_else_is_refused(keys):
    with pytest.raises(MasterKeyError):
        Keyring(keys)


def test_the_setting_wins_over_the_file(tmp_path):
    file = tmp_path / "master.key"
    open_keyring(None, file, create=True)
    assert open_keyring(f"given:{GOOD}", file, create=False).ids == ("given",)


def test_the_demo_creates_a_file_that_only_its_owner_reads(tmp_path):
    file = tmp_path / "var" / "master.key"
    before = os.umask(0)
    try:
        made = open_keyring("", file, create=True)
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(file.parent.iterdir()) == [file]
    assert open_keyring(None, file, create=True).ids == open_keyring(None, file, create=False).ids == made.ids


def test_processes_that_start_at_once_agree_on_one_key(tmp_path):
    file = tmp_path / "master.key"
    with ThreadPoolExecutor(16) as pool:
        made = list(pool.map(lambda _: open_keyring(None, file, create=True).ids, range(64)))
    assert len(set(made)) == 1
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_file_that_others_may_read_is_refused(tmp_path, mode):
    file = tmp_path / "master.key"
    open_keyring(None, file, create=True)
    file.chmod(mode)
    with pytest.raises(MasterKeyError, match="chmod 600"):
        open_keyring(None, file, create=False)


def test_a_damaged_file_is_named(tmp_path):
    file = tmp_path / "master.key"
    file.write_text("\u00e4" + GOOD)
    file.chmod(0o600)
    with pytest.raises(MasterKeyError, match=r"the file master\.key is not base64url") as refused:
        open_keyring(None, file, create=False)
    assert GOOD not in str(refused.value)


def test_a_ring_shows_ids_only():
    ring = parse_keyring(f"given:{GOOD}")
    assert repr(ring) == str(ring) == "Keyring(given)"
    with pytest.raises(TypeError):
        pickle.dumps(ring)


def test_the_keys_of_two_issuers_have_nothing_in_common():
    ring = Keyring({"new": os.urandom(32), "old": os.urandom(32)})
    one, other = ring.of_issuer("one"), ring.of_issuer("other")
    assert one.ids == other.ids == ring.ids
    assert len({each.derive("blind") for each in (ring, one, other)}) == 3
    wrapped = one.wrap("purpose", b"secret")
    assert ring.of_issuer("one").unwrap("purpose", wrapped) == b"secret"
    for stranger in (ring, other):
        with pytest.raises(WrapBroken):
            stranger.unwrap("purpose", wrapped)
