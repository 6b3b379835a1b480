"""The short way of reading a form answers what the long one does."""

from hypothesis import example, given
from hypothesis import strategies as st

from api.http import bodies
from api.http.errors import InvalidRequest

PIECES = st.sampled_from(
    [b"a", b"b", b"token", b"=", b"&", b"x=1", b"%41", b"%", b"+", b"\0", b"\xc3\xa9", b"&a=", b"="]
)


def the_long_way(text: bytes, omit_empty: bool) -> dict[str, str] | str:
    pairs: dict[str, str] = {}
    try:
        for name, value in bodies.form_pairs(text):
            if name in pairs:
                return "refused"
            pairs[name] = value
    except InvalidRequest:
        return "refused"
    return {name: value for name, value in pairs.items() if value or not omit_empty}


@given(st.lists(PIECES, max_size=12).map(b"".join), st.booleans())
@example(b"a=1&b=", True)
@example(b"a=1&&b=2", False)
@example(b"=1&a=2", False)
@example(b"a&a", True)
@example(b"&".join(b"p%d=1" % number for number in range(101)), False)
def test_both_ways_agree(text: bytes, omit_empty: bool) -> None:
    try:
        found: dict[str, str] | str = bodies.read_form(text, omit_empty=omit_empty)
    except InvalidRequest:
        found = "refused"
    assert found == the_long_way(text, omit_empty)
