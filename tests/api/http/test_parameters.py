"""Pages and cursors."""

from base64 import urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from litestar import Litestar, get
from litestar.testing import TestClient

from api.http.error_responses import EXCEPTION_HANDLERS
from api.http.errors import InvalidRequest
from api.http.middleware import Middleware
from api.http.parameters import DEFAULT, After, Limit, Page, decode_cursor, encode_cursor, page

KEYS = st.tuples(st.integers(-(2**63), 2**63 - 1), st.text(st.characters(codec="utf-8", exclude_characters="\0")))


@get("/admin/numbers", sync_to_thread=False)
def numbers(limit: Limit = DEFAULT, after: After = None) -> Page[str]:
    key = decode_cursor("numbers", after, int)
    start = key[0] if key else 0
    rows = list(range(start + 1, 121))[: limit + 1]
    return page(rows, limit, kind="numbers", key=lambda row: (row,), item=str)


@pytest.fixture
def http():
    app = Litestar([numbers], exception_handlers=EXCEPTION_HANDLERS, logging_config=None, openapi_config=None)
    with TestClient(Middleware(app, log_requests=False)) as client:
        yield client


def test_a_list_is_walked_to_its_end(http):
    seen, after = [], None
    while True:
        body = http.get("/admin/numbers", params={"after": after} if after else {}).json()
        seen.append(len(body["items"]))
        if (after := body["next"]) is None:
            break
    assert seen == [50, 50, 20]


def test_a_page_that_ends_the_list_exactly_has_no_next(http):
    assert http.get("/admin/numbers?limit=120").json()["next"] is None
    assert http.get("/admin/numbers?limit=119").json()["next"] is not None


@pytest.mark.parametrize("limit", ["0", "201", "-1", "x", "1.5", "", "9" * 400])
def test_a_limit_out_of_range_is_a_400(http, limit):
    answer = http.get("/admin/numbers", params={"limit": limit})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "limit")


@pytest.mark.parametrize(
    "after", ["x", "!!!", "W10", encode_cursor("others", (1,)), encode_cursor("numbers", ("1",)), ""]
)
def test_a_cursor_that_was_never_given_out_is_a_400(http, after):
    answer = http.get("/admin/numbers", params={"after": after})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "after")


@given(KEYS)
def test_a_cursor_holds_its_key(key):
    assert decode_cursor("list", encode_cursor("list", key), int, str) == key


@given(st.text() | st.binary().map(lambda octets: urlsafe_b64encode(octets).decode()))
def test_no_text_does_worse_than_a_400(text):
    try:
        assert encode_cursor("list", decode_cursor("list", text, int, str)) == text
    except InvalidRequest as problem:
        field = problem.errors[0].field
    else:
        field = "after"
    assert field == "after"


@pytest.mark.parametrize("key", [(2**63,), ("a\0b",), (True,), (1.5,), (None,), ([],)])
def test_values_that_no_database_takes_are_refused(key):
    forged = encode_cursor("list", key)
    with pytest.raises(InvalidRequest):
        decode_cursor("list", forged, type(key[0]) if isinstance(key[0], str) else int)
