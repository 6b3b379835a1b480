"""A refusal that leaves the body unread says that the connection ends with it."""

from typing import Any

import pytest
from litestar import Litestar, post
from litestar.testing import TestClient

from api.http.error_responses import EXCEPTION_HANDLERS
from api.http.errors import InvalidToken
from api.http.middleware import Middleware
from api.http.request_context import SMALL_BODY


@post("/admin/refused", sync_to_thread=False)
def refused() -> None:
    raise InvalidToken()


@post("/admin/accepted", sync_to_thread=False)
def accepted() -> None:
    return


@pytest.fixture
def http() -> TestClient[Any]:
    app = Litestar(
        [refused, accepted],
        exception_handlers=EXCEPTION_HANDLERS,
        logging_config=None,
        openapi_config=None,
    )
    wrapper: Any = Middleware(app, log_requests=False)
    return TestClient(wrapper)


@pytest.mark.parametrize(
    ("path", "size", "closes"),
    [
        ("/admin/refused", SMALL_BODY + 1, True),
        ("/admin/refused", SMALL_BODY, False),
        ("/admin/refused", 0, False),
        ("/admin/accepted", SMALL_BODY + 1, False),
        ("/admin/nothing", SMALL_BODY + 1, True),
    ],
)
def test_a_large_body_that_nobody_reads_ends_the_connection(http, path, size, closes):
    answer = http.post(path, content=b"x" * size)
    assert (answer.headers.get("connection") == "close") is closes


def test_so_does_one_of_unknown_size(http):
    answer = http.post("/admin/refused", content=iter([b"x"]))
    assert answer.headers["connection"] == "close"
