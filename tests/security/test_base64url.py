"""base64url as the standard library has it, without padding."""

from base64 import urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis.strategies import binary

from security import base64url


@given(binary(max_size=64))
def test_what_is_written_is_read_and_is_the_standard_form(octets: bytes) -> None:
    text = base64url.encode(octets)
    assert text == urlsafe_b64encode(octets).rstrip(b"=").decode()
    assert base64url.decode(text) == octets


@pytest.mark.parametrize("text", ["A", "A A", "A.AA", "AAAAA", "ä", "AA\n", "AA+A", "AA/A", "AA=="])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        base64url.decode(text)
