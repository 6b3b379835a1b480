"""The strict readers against everything that a generator can think of."""

import json
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

from hypothesis import given
from hypothesis import strategies as st

from api.http import bodies
from api.http.errors import InvalidRequest


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1),
        st.text(st.characters(codec="utf-8", exclude_characters="\0")),
    )
)
def test_every_form_that_a_client_encodes_is_read_back(parameters):
    assert bodies.read_form(urlencode(parameters).encode()) == parameters


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_characters="\0")),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8", exclude_characters="\0")), inner)
    ),
)


@given(json_values)
def test_every_value_within_the_limits_is_read_back(value):
    assert bodies.read_json(json.dumps(value).encode()) == value


@given(st.binary())
def test_no_octets_do_worse_than_a_400(body):
    readers: list[Any] = [bodies.read_json, bodies.read_json_object, bodies.read_form]
    for read in readers:
        with suppress(InvalidRequest):
            read(body)


class Compared(str):
    """A name that counts how often it is compared with another one."""

    __slots__ = ()
    times = 0
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        Compared.times += 1
        return str.__eq__(self, other)


def test_a_doubled_name_is_found_without_comparing_all_with_all():
    names = [f"n{number}" for number in range(5_000)]
    Compared.times = 0
    read = bodies._object([(Compared(name), 0) for name in [*names, names[-1]]])
    assert Compared.times < 10 * len(names)
    assert isinstance(read[names[-1]], bodies._Fault)
