"""Sealed values open where they were made for, nowhere else, and never again once a key is destroyed."""

import os
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from security.clock import DAY
from security.keyring import Keyring
from security.sealing import SealBroken, Sealer, anonymous_subject, origin_subject
from security.vault import KEYS, Vault
from tests.explore import ONE_FIXTURE_FOR_ALL

JANUARY = 1_767_225_600_000_000
FEBRUARY = JANUARY + 31 * 86_400_000_000
ADA, BOB = "account:ada", "account:bob"
EVENT, OTHER = "E" * 22, "O" * 22


@pytest.fixture
def connection(engine):
    with engine.connect() as made:
        yield made


def sealed(sealer, connection, text="ada@example.test", subject=ADA, moment=JANUARY):
    made = sealer.seal(connection, subject, moment, EVENT, "email", text)
    connection.commit()
    return made


def from_there(sealer, connection, text="192.0.2.1", subject=ADA, moment=JANUARY):
    made = sealer.seal_origin(connection, subject, moment, EVENT, "ip", text)
    connection.commit()
    return made


def test_two_who_write_at_the_turn_of_a_month_name_each_its_own(safe, connection):
    class Beside(Sealer):
        """Another thread seals of the next month whenever this one has looked which month it is."""

        @property
        def _today(self):
            return FEBRUARY // DAY, origin_subject("2026-02")

        @_today.setter
        def _today(self, value):
            pass

    assert ".origin:2026-01." in from_there(Beside(safe), connection)
    assert ".origin:2026-02." in from_there(Beside(safe), connection, moment=FEBRUARY)


@settings(suppress_health_check=ONE_FIXTURE_FOR_ALL, max_examples=50)
@given(text=st.text(), event_id=st.text("abc019", min_size=22, max_size=22), field=st.text("abc_", min_size=1))
def test_what_was_sealed_opens(sealer, safe, connection, text, event_id, field):
    made = sealer.seal(connection, ADA, JANUARY, event_id, field, text)
    assert sealer.open(connection, made, event_id, field) == text
    # One that did not seal it, and so remembers nothing.
    assert Sealer(safe).open(connection, made, event_id, field) == text


def test_the_form_of_a_sealed_text(sealer, safe, connection):
    made = sealed(sealer, connection)
    assert re.fullmatch(r"s1\.account:ada\.[\w-]+", made)
    assert "ada@" not in made
    assert sealed(sealer, connection) != made
    assert set(connection.scalars(select(KEYS.c.subject))) == {ADA}
    made = from_there(sealer, connection)
    assert re.fullmatch(r"s1\.account:ada\.origin:2026-01\.[\w-]+", made)
    assert sealer.open(connection, made, EVENT, "ip") == Sealer(safe).open(connection, made, EVENT, "ip") == "192.0.2.1"
    assert (
        set(connection.scalars(select(KEYS.c.subject))) == {ADA, "origin:2026-01"} == {ADA, origin_subject("2026-01")}
    )


def test_another_process_opens_it(sealer, connection, elsewhere):
    assert Sealer(elsewhere).open(connection, sealed(sealer, connection), EVENT, "email") == "ada@example.test"


@pytest.mark.parametrize(("event_id", "field"), [(OTHER, "email"), (EVENT, "name"), (EVENT + "\0email", ""), ("", "")])
def test_it_opens_in_its_own_place_only(sealer, connection, event_id, field):
    made = sealed(sealer, connection)
    with pytest.raises(SealBroken):
        sealer.open(connection, made, event_id, field)


def test_subjects_and_months_cannot_be_swapped(sealer, connection):
    of_ada, of_bob = sealed(sealer, connection), sealed(sealer, connection, subject=BOB)
    january, february = from_there(sealer, connection), from_there(sealer, connection, moment=FEBRUARY)
    for field, swapped in (
        ("email", of_ada.replace(ADA, BOB)),
        ("email", of_bob.replace(BOB, ADA)),
        ("email", of_ada.replace(ADA, f"{ADA}.origin:2026-01")),
        ("email", of_ada.replace(ADA, f"{ADA}.{BOB}")),
        ("ip", january.replace("2026-01", "2026-02")),
        ("ip", february.replace("2026-02", "2026-01")),
        ("ip", january.replace(".origin:2026-01", "")),
        ("ip", january.replace(ADA, BOB)),
        ("email", january),
    ):
        with pytest.raises(SealBroken):
            sealer.open(connection, swapped, EVENT, field)


def test_altering_any_character_is_noticed(sealer, connection):
    made = sealed(sealer, connection)
    start = len("s1.account:ada.")
    for place in range(start, len(made)):
        for character in "AQgw-_=+/.é ":
            altered = made[:place] + character + made[place + 1 :]
            if altered != made:
                with pytest.raises(SealBroken):
                    sealer.open(connection, altered, EVENT, "email")
    for length in range(len(made)):
        with pytest.raises(SealBroken):
            sealer.open(connection, made[:length], EVENT, "email")


@settings(suppress_health_check=ONE_FIXTURE_FOR_ALL, max_examples=50)
@given(text=st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_foreign_text_is_refused_without_repeating_it(sealer, connection, text):
    for foreign in (
        text,
        f"s1.{text}",
        f"s1.account:ada.{text}",
        f"s1.account:ada.origin:2026-01.{text}",
        f"s2.account:ada.{text}",
    ):
        with pytest.raises(SealBroken) as refused:
            sealer.open(connection, foreign, EVENT, "email")
        assert len(text) < 12 or text not in str(refused.value)


@pytest.mark.parametrize("destroyed", [ADA, "origin:2026-01"])
def test_destroying_either_key_ends_where_a_request_came_from(sealer, safe, connection, destroyed):
    made = from_there(sealer, connection)
    assert sealer.open(connection, made, EVENT, "ip") is not None
    safe.destroy(connection, destroyed, FEBRUARY)
    assert sealer.open(connection, made, EVENT, "ip") is None
    connection.commit()
    assert sealer.open(connection, made, EVENT, "ip") is None
    assert Sealer(Vault(safe._keyring)).open(connection, made, EVENT, "ip") is None


def test_own_fields_end_with_the_person_and_outlive_every_month(sealer, safe, connection):
    made = sealed(sealer, connection)
    from_there(sealer, connection)
    safe.destroy(connection, "origin:2026-01", FEBRUARY)
    connection.commit()
    assert sealer.open(connection, made, EVENT, "email") == "ada@example.test"
    assert Sealer(Vault(safe._keyring)).open(connection, made, EVENT, "email") == "ada@example.test"
    safe.destroy(connection, ADA, FEBRUARY)
    assert sealer.open(connection, made, EVENT, "email") is None


def test_others_stay_readable(sealer, safe, connection):
    of_bob, january = sealed(sealer, connection, subject=BOB), from_there(sealer, connection, subject=BOB)
    february = from_there(sealer, connection, "192.0.2.2", BOB, FEBRUARY)
    safe.destroy(connection, ADA, FEBRUARY)
    safe.destroy(connection, "origin:2026-02", FEBRUARY)
    connection.commit()
    assert sealer.open(connection, of_bob, EVENT, "email") == "ada@example.test"
    assert sealer.open(connection, january, EVENT, "ip") == "192.0.2.1"
    assert sealer.open(connection, february, EVENT, "ip") is None


def test_a_destruction_that_was_rolled_back_did_not_happen(sealer, safe, connection):
    made = sealed(sealer, connection)
    safe.destroy(connection, ADA, FEBRUARY)
    assert sealer.open(connection, made, EVENT, "email") is None
    connection.rollback()
    assert sealer.open(connection, made, EVENT, "email") == "ada@example.test"


def test_another_process_learns_of_a_destruction_from_the_log(sealer, safe, connection, elsewhere):
    there, made = Sealer(elsewhere), sealed(sealer, connection)
    assert there.open(connection, made, EVENT, "email") == there.open(connection, made, EVENT, "email") is not None
    safe.destroy(connection, ADA, FEBRUARY)
    connection.commit()
    elsewhere.forget(ADA)
    assert there.open(connection, made, EVENT, "email") is None


def test_what_is_said_about_an_erased_person_is_erased_at_once(sealer, safe, connection):
    safe.destroy(connection, ADA, JANUARY)
    made = sealed(sealer, connection)
    assert made.startswith("s1.account:ada.")
    assert sealer.open(connection, made, EVENT, "email") is None


def test_keys_of_a_rolled_back_transaction_seal_nothing_later(sealer, connection, elsewhere):
    sealer.seal(connection, ADA, JANUARY, EVENT, "email", "dropped")
    connection.rollback()
    assert Sealer(elsewhere).open(connection, sealed(sealer, connection), EVENT, "email") == "ada@example.test"


def test_a_vault_that_does_not_belong_to_the_log_says_so(sealer, connection):
    made = sealed(sealer, connection)
    with pytest.raises(SealBroken, match="does it belong to this log"):
        sealer.open(connection, made.replace(ADA, "account:nobody"), EVENT, "email")


def test_the_same_subject_in_another_installation_has_other_keys(engine, sealer, connection):
    made = sealed(sealer, connection)
    connection.execute(KEYS.delete())
    connection.commit()
    other = Sealer(Vault(Keyring({"two": os.urandom(32)})))
    sealed(other, connection)
    with pytest.raises(SealBroken):
        other.open(connection, made, EVENT, "email")


def test_few_ciphers_are_kept(safe, connection):
    small = Sealer(safe, keep=2)
    made = {subject: sealed(small, connection, subject, subject) for subject in (ADA, BOB, "client:x", "client:y")}
    assert {subject: small.open(connection, text, EVENT, "email") for subject, text in made.items()} == {
        subject: subject for subject in made
    }
    assert len(small._slots) == 2


def test_strangers_share_a_subject_a_day(sealer, connection):
    assert anonymous_subject(JANUARY) == anonymous_subject(JANUARY + 86_399_999_999) == "anonymous:2026-01-01"
    assert anonymous_subject(FEBRUARY) == "anonymous:2026-02-01"
    made = from_there(sealer, connection, subject=anonymous_subject(JANUARY))
    assert made.startswith("s1.anonymous:2026-01-01.origin:2026-01.")
    assert sealer.open(connection, made, EVENT, "ip") == "192.0.2.1"
