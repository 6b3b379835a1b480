"""Blind indexes find all spellings of a name, and only in its own field and realm."""

import hashlib
import hmac
import os
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from security.keyring import Keyring
from security.mac import BlindIndex, normalise

RING = Keyring({"one": os.urandom(32)})
INDEX = BlindIndex(RING)


@pytest.mark.parametrize(
    ("spelling", "normal"),
    [
        ("Ada@Example.TEST", "ada@example.test"),
        ("  ada\t\n", "ada"),
        ("STRASSE", "strasse"),
        ("Straße", "strasse"),
        ("Zu\u0308rich", "zürich"),
        ("ａｄａ", "ada"),
        ("ﬁona", "fiona"),
        ("ΜΆΪΟΣ", "μάϊοσ"),
        ("K", "k"),
        ("two words", "two words"),
        ("", ""),
    ],
)
def test_spellings_of_one_name(spelling, normal):
    assert normalise(spelling) == normal
    assert INDEX.index("username", "platform", spelling) == INDEX.index("username", "platform", normal)


@given(st.text())
def test_normalising_is_done_once_and_for_all(text):
    assert normalise(normalise(text)) == normalise(text)


@given(st.text())
def test_letter_case_never_matters(text):
    # Upper-casing is not reversible for every script; folding the decomposed text is what Unicode compares by (D145).
    assert normalise(normalize("NFD", text).casefold()) == normalise(text)


@given(st.text(), st.text())
def test_indexes_are_equal_exactly_when_normal_forms_are(one, other):
    equal = INDEX.index("email", "platform", one) == INDEX.index("email", "platform", other)
    assert equal == (normalise(one) == normalise(other))


def test_fields_realms_and_master_keys_are_kept_apart():
    places = [("email", "platform"), ("username", "platform"), ("email", "administration"), ("emailp", "latform")]
    rings = [INDEX, BlindIndex(Keyring({"two": os.urandom(32)}))]
    made = {index.index(field, realm, "ada") for index in rings for field, realm in places}
    assert len(made) == len(places) * len(rings)


def test_an_index_is_hmac_sha_256_under_the_derived_key():
    key = RING.derive("blind-index\0email\0platform")
    expected = hmac.new(key, b"ada@example.test", hashlib.sha256).digest()
    assert INDEX.index("email", "platform", "Ada@Example.test") == expected
    assert BlindIndex(RING).index("email", "platform", "Ada@Example.test") == expected


def test_the_published_vector_of_hmac_sha_256():
    # RFC 4231 §4.3, with the key put where the derived one goes.
    class Fixed:
        def derive(self, purpose):
            return b"Jefe"

    made = BlindIndex(Fixed()).index("email", "platform", "what do ya want for nothing?")
    assert made.hex() == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"


@pytest.mark.parametrize(("field", "realm"), [("em\0ail", "platform"), ("email", "plat\0form")])
def test_fields_and_realms_cannot_run_into_each_other(field, realm):
    with pytest.raises(ValueError, match="NUL"):
        INDEX.index(field, realm, "ada")
