"""The outermost layer: ids, addresses, headers, log lines, and answers where the framework would have failed."""

import contextlib
import io
import json
import re
from typing import Annotated, Any

import pytest
from litestar import Litestar, Request, asgi, get, post
from litestar.params import FromPath, QueryParameter
from litestar.testing import TestClient
from litestar.types import Receive, Scope, Send

from api.http import load_shedding, log_lines
from api.http.error_responses import EXCEPTION_HANDLERS
from api.http.errors import AccessDenied, Clash, InvalidRequest, InvalidScope, Throttled
from api.http.middleware import Middleware
from api.http.request_context import Proxies, check, request_context

is_id = re.compile(r"[0-9A-Za-z]{22}").fullmatch

SECRET = "glog_at_" + "a1B2" * 9


@get("/admin/echo/{name:str}", sync_to_thread=False)
def echo(
    request: Request[Any, Any, Any], name: FromPath[str], limit: Annotated[int, QueryParameter(ge=1)] = 1
) -> dict[str, Any]:
    arrived = request_context(request.scope)
    return {"request_id": arrived.request_id, "address": arrived.address}


@get("/admin/crash", sync_to_thread=False)
def crash() -> None:
    raise RuntimeError(f"the password is hunter2 and the token is {SECRET}")


@get("/admin/taken", sync_to_thread=False)
def taken() -> None:
    raise Clash("The name is taken.", reason="name_taken")


@post("/dashboards/client/login", sync_to_thread=False)
def login() -> None:
    raise Throttled(7)


@get("/account/grants", sync_to_thread=False)
def grants() -> None:
    raise AccessDenied("Not yours.")


@asgi("/oauth/token", copy_scope=False)
async def token(scope: Scope, receive: Receive, send: Send) -> None:
    raise InvalidScope()


@asgi("/oauth/revoke", copy_scope=False)
async def revoke(scope: Scope, receive: Receive, send: Send) -> None:
    raise RuntimeError("no")


@asgi("/admin/half", copy_scope=False)
async def half(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    raise RuntimeError("the password is hunter2")


@get("/health/live", sync_to_thread=False)
def live() -> str:
    return "yes"


def build(**options: Any) -> Middleware:
    app = Litestar(
        [echo, crash, taken, login, grants, token, revoke, half, live],
        exception_handlers=EXCEPTION_HANDLERS,
        logging_config=None,
        openapi_config=None,
    )
    return Middleware(app, **options)


@pytest.fixture
def lines(logging_restored: None) -> io.StringIO:
    stream = io.StringIO()
    log_lines.configure(format="json", stream=stream)
    return stream


def client(*, peer: str = "127.0.0.1", crashes: bool = False, **options: Any) -> TestClient[Any]:
    wrapper: Any = build(**options)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["client"] = (peer, 1)
        await wrapper(scope, receive, send)

    shim: Any = app
    return TestClient(shim, raise_server_exceptions=crashes)


def told(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/admin/echo/x", 200),
        ("GET", "/admin/echo/x?limit=0", 400),
        ("GET", "/nowhere", 404),
        ("POST", "/admin/echo/x", 405),
        ("GET", "/admin/taken", 409),
        ("POST", "/dashboards/client/login", 429),
        ("GET", "/admin/crash", 500),
        ("POST", "/oauth/token", 400),
        ("POST", "/oauth/revoke", 500),
        ("GET", "/account/grants", 403),
    ],
)
def test_every_answer_has_its_id_its_headers_and_one_line(lines, method, path, status):
    with client() as http:
        answer = http.request(method, path)
    assert answer.status_code == status
    assert is_id(answer.headers["x-request-id"])
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    (line,) = [line for line in told(lines) if line["event"] == "request"]
    assert line["request_id"] == answer.headers["x-request-id"]
    assert (line["method"], line["path"], line["status"]) == (method, path.partition("?")[0], status)


def test_each_place_answers_in_its_own_words():
    with client() as http:
        problem = http.get("/admin/taken")
        assert problem.headers["content-type"] == "application/problem+json"
        assert problem.json() == {
            "type": "about:blank",
            "title": "Conflict",
            "status": 409,
            "detail": "The name is taken.",
            "reason": "name_taken",
            "request_id": problem.headers["x-request-id"],
        }
        throttled = http.post("/dashboards/client/login")
        assert (throttled.headers["retry-after"], throttled.json()["error"]) == ("7", "temporarily_unavailable")
        assert http.post("/oauth/token").json()["error"] == "invalid_scope"
        assert http.post("/oauth/revoke").json() == {
            "error": "server_error",
            "error_description": "Something went wrong on the server.",
        }
        page = http.get("/account/grants")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert "Not yours." in page.text
        assert http.get("/nowhere", headers={"accept": "text/html"}).headers["content-type"].startswith("text/html")
        assert http.get("/nowhere").headers["content-type"] == "application/problem+json"


def test_a_crash_tells_the_log_where_and_nobody_what(lines):
    with client() as http:
        answer = http.get("/admin/crash")
    assert "hunter2" not in answer.text + lines.getvalue()
    assert SECRET not in answer.text + lines.getvalue()
    (line,) = [line for line in told(lines) if line["event"] == "request failed"]
    assert line["exception"] == "builtins.RuntimeError"
    assert line["request_id"] == answer.headers["x-request-id"] == answer.json()["request_id"]
    assert line["trace"][-1].endswith(" crash")


def test_an_answer_that_breaks_off_is_cut_and_says_nothing_else(lines):
    with client(crashes=True) as http, pytest.raises(ConnectionAbortedError, match="broken off") as caught:
        http.get("/admin/half")
    assert caught.value.__suppress_context__
    assert "hunter2" not in lines.getvalue()


def test_405_names_the_methods_that_work():
    with client() as http:
        assert http.delete("/admin/echo/x").headers["allow"] == "GET, HEAD, OPTIONS"


def test_head_is_answered_like_get_without_a_body():
    with client() as http:
        get_, head = http.get("/admin/echo/x"), http.head("/admin/echo/x")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == get_.headers["content-length"]


@pytest.mark.parametrize(
    ("path", "headers", "field"),
    [
        ("/admin/echo/%ff", {}, "path"),
        ("/admin/echo/%c3%28", {}, "path"),
        ("/admin/echo/a%00b", {}, "path"),
        ("/admin/echo/a%0Ab", {}, "path"),
        ("/admin/echo/x?p=1&q=%ff", {}, "q"),
        ("/admin/echo/x?p=1&q=%00", {}, "q"),
        ("/admin/echo/x?limit=5%0A", {}, "limit"),
        ("/admin/echo/x?glog_at_Ab=%0A", {}, "query"),
        ("/admin/echo/x?access_token=abc", {}, "access_token"),
        ("/admin/echo/x?q=1&access%5ftoken=abc", {}, "access_token"),
        ("/admin/echo/x?%61cces%73_token=abc", {}, "access_token"),
        ("/admin/echo/x?limit=0", {"host": "a:99999"}, "Host"),
        ("/admin/echo/x?limit=0", {"host": "[::1"}, "Host"),
        ("/admin/echo/x", {"host": "a b"}, "Host"),
        ("/admin/echo/x", {"content-length": "-1"}, "Content-Length"),
        ("/admin/echo/x", {"content-length": "1e3"}, "Content-Length"),
        ("/admin/echo/x", {"content-type": b"\xff"}, "Content-Type"),
    ],
)
def test_what_the_framework_would_stumble_over_is_a_400(path, headers, field):
    with client() as http:
        answer = http.get(path, headers=headers)
        assert (answer.status_code, answer.json()["title"]) == (400, "Bad Request")
        assert [each["field"] for each in answer.json()["errors"]] == [field]
        assert http.post(path.replace("/admin/echo", "/oauth"), headers=headers).json()["error"] == "invalid_request"


def test_what_only_tells_of_an_access_token_is_let_in():
    with client() as http:
        for query in ("state=a%26access_token=b", "next=%3Faccess_token%3Db", "my_access_token=b"):
            assert http.get(f"/admin/echo/x?{query}").status_code != 400, query


@pytest.mark.parametrize(
    ("name", "values", "well_formed"),
    [
        (b"host", (b"a",), True),
        (b"host", (b"a", b"b"), False),
        (b"origin", (b"https://evil.example", b"https://own.example"), False),
        (b"origin", (b"https://own.example", b"https://own.example"), False),
        (b"accept", (b"a/b", b"c/d"), True),
    ],
)
def test_what_decides_stands_there_once(name, values, well_formed):
    headers = [(name, value) for value in values]
    wanted = contextlib.nullcontext() if well_formed else pytest.raises(InvalidRequest)
    with wanted:
        check({"path": "/", "query_string": b"", "headers": headers})


def test_a_valid_path_of_any_script_passes():
    with client() as http:
        assert http.get("/admin/echo/%C3%A4%F0%9F%98%80").status_code == 200


def test_secrets_in_a_path_are_masked_and_queries_are_not_logged(lines):
    with client() as http:
        http.get(f"/admin/{SECRET}?code={SECRET}")
    assert SECRET not in lines.getvalue()
    assert told(lines)[-1]["path"] == "/admin/glog_at_***"


def test_request_id_and_address_count_from_trusted_proxies_only():
    sent = {"x-request-id": "abc-123", "x-forwarded-for": "9.9.9.9"}
    with client(peer="10.0.0.1") as http:
        seen = http.get("/admin/echo/x", headers=sent).json()
        assert is_id(seen["request_id"])
        assert seen["address"] == "10.0.0.1"
    with client(peer="10.0.0.1", proxies=Proxies(("10.0.0.0/8",))) as http:
        assert http.get("/admin/echo/x", headers=sent).json() == {"request_id": "abc-123", "address": "9.9.9.9"}
        assert is_id(http.get("/admin/echo/x", headers={"x-request-id": "a b"}).json()["request_id"])
        assert is_id(http.get("/admin/echo/x", headers={"x-request-id": "a" * 65}).json()["request_id"])


async def call(wrapper: Middleware, path: str, send: Any) -> None:
    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [],
        "client": ("1.2.3.4", 5),
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    await wrapper(scope, receive, send)


@pytest.mark.anyio
async def test_too_many_at_once_are_told_to_come_back(monkeypatch):
    monkeypatch.setattr(load_shedding, "HELD_BACK", 0)
    inner: list[dict[str, Any]] = []
    outer: list[dict[str, Any]] = []
    wrapper: Middleware

    async def nested(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/admin/first":
            # While the only place is taken, a second request comes, and then the liveness probe.
            await call(wrapper, "/admin/second", collect(inner))
            await call(wrapper, "/health/live", collect(inner))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    def collect(into: list[dict[str, Any]]) -> Any:
        async def send(message: dict[str, Any]) -> None:
            into.append(message)

        return send

    wrapper = Middleware(nested, in_flight=1, log_requests=False)
    await call(wrapper, "/admin/first", collect(outer))
    assert [message["status"] for message in inner if "status" in message] == [503, 200]
    assert dict(inner[0]["headers"])[b"retry-after"] == b"1"
    assert outer[0]["status"] == 200
    assert wrapper.load.taken == 0
    await call(wrapper, "/admin/later", collect(outer))
    assert outer[-2]["status"] == 200


def test_hsts_is_sent_over_https_only():
    with client(secure=True) as http:
        assert http.get("/health/live").headers["strict-transport-security"] == "max-age=31536000"
    with client() as http:
        assert "strict-transport-security" not in http.get("/health/live").headers
