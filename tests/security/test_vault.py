"""The vault: keys that are made once, destroyed for ever and never believed before the commit."""

import os
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from sqlalchemy import event, select, update
from sqlalchemy.exc import IntegrityError

from security import vault
from security.keyring import Keyring, MasterKeyError, WrapBroken
from security.vault import ANSWERS, KEYS, SECRETS, Stored, StoredAnswer, Vault

NOW = 1_767_225_600_000_000
LATER = NOW + 1_000_000
ADA = "account:ada"


@pytest.fixture
def statements(engine):
    """The statements that reach the database, which is how what is kept in memory shows."""
    seen = []
    event.listen(engine, "before_cursor_execute", lambda *given: seen.append(given[2]))
    return seen


def subject_key(safe, connection, subject, *, create, now):
    """The 32 bytes of a subject's key, made if missing and `create` is set; None if destroyed or never made."""
    found = safe.provide(connection, subject, now) if create else safe.find(connection, subject)
    return found.key if found else None


def key(engine, safe, subject=ADA, *, create=False):
    with engine.begin() as connection:
        return subject_key(safe, connection, subject, create=create, now=NOW)


# --- Subject keys -----------------------------------------------------------------------------------------------------


def test_a_key_is_made_once_and_found_again(engine, safe, elsewhere):
    assert key(engine, safe) is None
    made = key(engine, safe, create=True)
    assert made is not None
    assert len(made) == 32
    assert key(engine, safe, create=True) == key(engine, safe) == key(engine, elsewhere) == made
    assert key(engine, safe, "account:bob", create=True) != made


def test_the_database_holds_the_key_only_wrapped(engine, safe, ring):
    made = key(engine, safe, create=True)
    with engine.begin() as connection:
        row = connection.execute(select(KEYS)).one()
    assert (row.subject, row.key_id, row.created_at, row.destroyed_at) == (ADA, "one", NOW, None)
    assert made not in row.wrapped
    with pytest.raises(MasterKeyError):
        key(engine, Vault(Keyring({"other": os.urandom(32)})))
    with pytest.raises(WrapBroken):
        key(engine, Vault(Keyring({"one": os.urandom(32)})))


def test_one_subjects_key_does_not_pass_for_anothers(engine, safe, elsewhere):
    key(engine, safe, create=True)
    key(engine, safe, "account:bob", create=True)
    with engine.begin() as connection:
        wrapped = connection.scalar(select(KEYS.c.wrapped).where(KEYS.c.subject == ADA))
        connection.execute(update(KEYS).where(KEYS.c.subject == "account:bob").values(wrapped=wrapped))
    with pytest.raises(WrapBroken):
        key(engine, elsewhere, "account:bob")


@pytest.mark.parametrize("subject", ["", "a.b", "a b", "a\nb", "a\0b", "x" * 256])
def test_what_cannot_be_a_subject_is_refused(engine, safe, subject):
    with engine.begin() as connection:
        with pytest.raises(ValueError, match="subject"):
            safe.provide(connection, subject, NOW)
        with pytest.raises(ValueError, match="subject"):
            safe.destroy(connection, subject, NOW)


def test_a_committed_key_is_kept_in_memory(engine, safe, statements):
    made = key(engine, safe, create=True)
    key(engine, safe)
    statements.clear()
    assert key(engine, safe) == made
    assert not [statement for statement in statements if "vault_keys" in statement]


def test_the_memory_is_bounded(engine, ring):
    small = Vault(ring, keep=3)
    made = [key(engine, small, f"account:{number}", create=True) for number in range(10)]
    assert [key(engine, small, f"account:{number}") for number in range(10)] == made
    assert len(small._kept) == 3


def test_a_key_that_was_rolled_back_is_forgotten(engine, safe, elsewhere):
    with engine.connect() as connection:
        dropped = subject_key(safe, connection, ADA, create=True, now=NOW)
        assert subject_key(safe, connection, ADA, create=False, now=NOW) == dropped
        connection.rollback()
    assert key(engine, safe) is None
    made = key(engine, safe, create=True)
    assert made != dropped
    assert key(engine, elsewhere) == made


def test_a_key_of_a_savepoint_that_was_rolled_back_is_forgotten(engine, safe, elsewhere):
    with engine.begin() as connection:
        savepoint = connection.begin_nested()
        dropped = subject_key(safe, connection, ADA, create=True, now=NOW)
        savepoint.rollback()
        assert subject_key(safe, connection, ADA, create=False, now=NOW) is None
        made = subject_key(safe, connection, ADA, create=True, now=NOW)
    assert made != dropped
    assert key(engine, safe) == key(engine, elsewhere) == made


def test_unsettled_subjects_do_not_pile_up(engine, safe, monkeypatch):
    monkeypatch.setattr(vault, "_UNSETTLED_BEFORE_SWEEP", 8)
    for number in range(50):
        key(engine, safe, f"client:{number}", create=True)
    assert len(safe._unsettled) <= 8


def test_processes_that_make_a_key_at_once_agree_on_one(engine, ring):
    together = Barrier(8, timeout=60)

    def make(_):
        mine = Vault(ring)
        together.wait()
        return [key(engine, mine, f"account:{number}", create=True) for number in range(20)]

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(make, range(8)))
    assert all(None not in keys for keys in made)
    assert all(keys == made[0] for keys in made)


# --- Destruction ------------------------------------------------------------------------------------------------------


def destroy(engine, safe, subject=ADA, now=LATER):
    with engine.begin() as connection:
        return safe.destroy(connection, subject, now)


def test_a_destroyed_key_is_gone_for_ever(engine, safe):
    key(engine, safe, create=True)
    key(engine, safe)
    assert destroy(engine, safe) is True
    assert key(engine, safe) is None
    assert key(engine, safe, create=True) is None
    assert destroy(engine, safe, now=LATER + 1) is False
    with engine.begin() as connection:
        row = connection.execute(select(KEYS)).one()
    assert (row.wrapped, row.key_id, row.destroyed_at) == (None, None, LATER)


def test_destruction_shows_within_its_own_transaction(engine, safe):
    key(engine, safe, create=True)
    key(engine, safe)
    with engine.begin() as connection:
        safe.destroy(connection, ADA, LATER)
        assert subject_key(safe, connection, ADA, create=True, now=LATER) is None


def test_a_destruction_that_was_rolled_back_did_not_happen(engine, safe):
    made = key(engine, safe, create=True)
    with engine.connect() as connection:
        safe.destroy(connection, ADA, LATER)
        assert subject_key(safe, connection, ADA, create=False, now=LATER) is None
        connection.rollback()
    assert key(engine, safe) == made


def test_a_subject_can_be_destroyed_before_it_has_a_key(engine, safe):
    assert destroy(engine, safe) is False
    assert key(engine, safe, create=True) is None


def test_another_process_learns_of_a_destruction_from_the_log(engine, safe, elsewhere):
    made = key(engine, safe, create=True)
    assert key(engine, elsewhere) == made
    destroy(engine, safe)
    elsewhere.forget(ADA)
    assert key(engine, elsewhere) is None
    assert key(engine, elsewhere, create=True) is None


def test_a_reader_that_was_overtaken_does_not_bring_a_key_back(engine, safe, elsewhere, monkeypatch):
    key(engine, safe, create=True)
    unwrap = elsewhere._keyring.unwrap

    def overtaken(purpose, wrapped):
        elsewhere.forget(ADA)
        return unwrap(purpose, wrapped)

    monkeypatch.setattr(elsewhere, "_keyring", type("Overtaken", (), {"unwrap": staticmethod(overtaken)})())
    key(engine, elsewhere)
    assert key(engine, elsewhere) is None


@pytest.mark.parametrize("empty_database_url", ["sqlite"], indirect=True)
def test_sqlite_keeps_no_trace_of_a_destroyed_wrap(engine, safe, empty_database_url):
    key(engine, safe, create=True)
    with engine.begin() as connection:
        wrapped = connection.scalar(select(KEYS.c.wrapped))
    file = empty_database_url.removeprefix("sqlite:///")

    def octets():
        with open(file, "rb") as stream:
            return stream.read()

    assert wrapped in octets()
    destroy(engine, safe)
    assert wrapped not in octets()


def test_the_database_refuses_half_a_destruction(engine, safe):
    key(engine, safe, create=True)
    with pytest.raises(IntegrityError), engine.begin() as connection:
        connection.execute(update(KEYS).values(wrapped=None))


# --- Named secrets ----------------------------------------------------------------------------------------------------


def test_named_secrets_are_replaced_and_numbered(engine, safe, elsewhere):
    with engine.begin() as connection:
        assert safe.get_secret(connection, "dashboard:client") is None
        assert safe.put_secret(connection, "dashboard:client", b"first", NOW) == 1
        assert safe.put_secret(connection, "dashboard:client", b"second", LATER) == 2
        assert safe.put_secret(connection, "dashboard:administration", b"other", NOW) == 1
    with engine.begin() as connection:
        found = elsewhere.get_secret(connection, "dashboard:client")
        assert found == Stored(b"second", 2, LATER)
        assert "second" not in repr(found)
        assert b"second" not in connection.scalar(select(SECRETS.c.wrapped).where(SECRETS.c.version == 2))
        assert elsewhere.delete_secret(connection, "dashboard:client") is True
        assert elsewhere.delete_secret(connection, "dashboard:client") is False
        assert safe.get_secret(connection, "dashboard:client") is None


def test_one_name_does_not_open_anothers_secret(engine, safe):
    with engine.begin() as connection:
        safe.put_secret(connection, "one", b"secret", NOW)
        connection.execute(update(SECRETS).values(name="other"))
        with pytest.raises(WrapBroken):
            safe.get_secret(connection, "other")


# --- Answers ----------------------------------------------------------------------------------------------------------

FIRST = StoredAnswer(b"b" * 32, 201, b'{"id": 1}')
SECOND = StoredAnswer(b"c" * 32, 409, b'{"id": 2}')


def test_the_first_answer_stands_until_its_time_is_over(engine, safe, elsewhere):
    with engine.begin() as connection:
        assert safe.get_answer(connection, b"k" * 32, NOW) is None
        assert safe.put_answer(connection, b"k" * 32, FIRST, now=NOW, expires_at=LATER) is True
        assert safe.put_answer(connection, b"k" * 32, SECOND, now=LATER - 1, expires_at=LATER + 9) is False
        assert elsewhere.get_answer(connection, b"k" * 32, LATER - 1) == FIRST
        assert elsewhere.get_answer(connection, b"k" * 32, LATER) is None
        assert safe.put_answer(connection, b"k" * 32, SECOND, now=LATER, expires_at=LATER + 9) is True
        assert elsewhere.get_answer(connection, b"k" * 32, LATER) == SECOND
    assert '"id"' not in repr(FIRST)


@pytest.mark.parametrize(
    "change", [{"body_hash": b"x" * 32}, {"status": 200}, {"key_hash": b"x" * 32}, {"expires_at": LATER + 1}]
)
def test_an_answer_is_bound_to_its_command(engine, safe, change):
    with engine.begin() as connection:
        safe.put_answer(connection, b"k" * 32, FIRST, now=NOW, expires_at=LATER)
        assert FIRST.content not in connection.scalar(select(ANSWERS.c.answer))
        connection.execute(update(ANSWERS).values(**change))
        with pytest.raises(WrapBroken):
            safe.get_answer(connection, change.get("key_hash", b"k" * 32), NOW)


def test_old_answers_leave_in_batches_the_oldest_first(engine, safe):
    with engine.begin() as connection:
        for number in (3, 1, 4, 2, 0):
            safe.put_answer(connection, bytes([number]) * 32, FIRST, now=NOW, expires_at=NOW + number)
        assert safe.prune_answers(connection, NOW + 3, 2) == 2
        assert set(connection.scalars(select(ANSWERS.c.expires_at))) == {NOW + 2, NOW + 3, NOW + 4}
        assert safe.prune_answers(connection, NOW + 3, 100) == 2
        assert safe.prune_answers(connection, NOW + 3, 100) == 0
        assert set(connection.scalars(select(ANSWERS.c.expires_at))) == {NOW + 4}


# --- Another master key -----------------------------------------------------------------------------------------------


def test_rewrap_goes_in_batches_and_the_old_key_can_go(engine):
    old, new = os.urandom(32), os.urandom(32)
    before, during = Vault(Keyring({"old": old})), Vault(Keyring({"new": new, "old": old}))
    keys = {f"account:{number}": key(engine, before, f"account:{number}", create=True) for number in range(7)}
    with engine.begin() as connection:
        before.put_secret(connection, "dashboard:client", b"secret", NOW)
        before.put_answer(connection, b"k" * 32, FIRST, now=NOW, expires_at=LATER)
        before.destroy(connection, "account:gone", NOW)
    counts: list[int] = []
    while not counts or counts[-1]:
        with engine.begin() as connection:
            counts.append(during.rewrap(connection, 3))
    assert counts == [5, 3, 1, 0]
    after = Vault(Keyring({"new": new}))
    assert {subject: key(engine, after, subject) for subject in keys} == keys
    assert key(engine, after, "account:gone", create=True) is None
    with engine.begin() as connection:
        assert after.get_secret(connection, "dashboard:client") == Stored(b"secret", 1, NOW)
        assert after.get_answer(connection, b"k" * 32, NOW) == FIRST


def test_rewrapping_without_the_old_key_says_which_is_missing(engine):
    key(engine, Vault(Keyring({"old": os.urandom(32)})), create=True)
    with engine.begin() as connection, pytest.raises(MasterKeyError, match="master key old"):
        Vault(Keyring({"new": os.urandom(32)})).rewrap(connection, 10)
