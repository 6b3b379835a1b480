"""Bodies: read strictly or refused in the endpoint's own words, the member at fault named and no value repeated."""

import json
from typing import Annotated, Any

import msgspec
import pytest
from litestar import Litestar, get, post
from litestar.handlers import asgi
from litestar.params import JSONBody, QueryParameter, URLEncodedBody
from litestar.testing import TestClient
from litestar.types import Receive, Scope, Send

from api.http import bodies
from api.http.bodies import StrictRequest, check_handlers, check_query, encoding, read_body, read_parameters
from api.http.error_responses import EXCEPTION_HANDLERS
from api.http.errors import InvalidRequest, TooLarge, WrongMediaType
from api.http.middleware import Middleware
from api.http.responses import raw_response, send_response


class Person(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    age: int | None = None
    ok: bool = False
    tags: list[str] = []


class Rotation(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    others_expire_in: int | None = None


@post("/admin/people", sync_to_thread=False)
def add(data: JSONBody[Person]) -> Person:
    return data


@post("/admin/rotate", sync_to_thread=False)
def rotate(data: JSONBody[Rotation] = Rotation(5)) -> Rotation:  # noqa: B008 - frozen.
    return data


@post("/dashboards/client/login", opt={"bodies": ("json", "form")}, sync_to_thread=False)
def login(data: JSONBody[Person]) -> Person:
    return data


@post("/account/form")
async def form(request: StrictRequest) -> dict[str, str]:
    return {**await request.form(), "n": str(len(await request.form()))}


@get("/admin/list", opt={"repeatable": ("type",)}, sync_to_thread=False)
def listing(kinds: Annotated[list[str] | None, QueryParameter(name="type")] = None) -> list[str]:
    return kinds or []


@asgi("/oauth/token", copy_scope=False)
async def token(scope: Scope, receive: Receive, send: Send) -> None:
    parameters = await read_parameters(scope, receive, 1000)
    await send_response(send, raw_response(200, json.dumps(parameters).encode(), "application/json"))


def client() -> TestClient[Any]:
    app = Litestar(
        [add, rotate, login, form, listing, token],
        request_class=StrictRequest,
        before_request=check_query,
        request_max_body_size=2000,
        exception_handlers=EXCEPTION_HANDLERS,
        logging_config=None,
        openapi_config=None,
    )
    check_handlers(app)
    wrapper: Any = Middleware(app, log_requests=False)
    return TestClient(wrapper, raise_server_exceptions=False)


JSON = {"content-type": "application/json"}
FORM = {"content-type": "application/x-www-form-urlencoded"}

BAD_JSON = [
    (b'{"name": "a", "name": "b"}', "name"),
    (b'{"name": "a", "tags": [{"x": 1, "x": 2}]}', "tags[0].x"),
    (b'{"name": "\xff"}', "body"),
    (b'{"name": "\\u0000"}', "name"),
    (b'{"\\u0000": 1}', "body"),
    (b'{"name": "\\ud800"}', "name"),
    (b'{"name": "a\nb"}', "body"),
    (b'{"age": 9007199254740992}', "age"),
    (b'{"age": -9007199254740992}', "age"),
    (b'{"age": ' + b"9" * 1500 + b"}", "age"),
    (b'{"age": 1e999}', "age"),
    (b'{"age": NaN}', "age"),
    (b'{"age": -Infinity}', "age"),
    (b'{"name": "a", "age": "5"}', "age"),
    (b'{"name": "a", "ok": "true"}', "ok"),
    (b'{"name": "a", "ok": 1}', "ok"),
    (b'{"name": "a", "age": 1.5}', "age"),
    (b'{"name": "a", "x": 1}', "x"),
    (b'{"age": 1}', "name"),
    (b'{"name": null}', "name"),
    (b"[1]", "body"),
    (b'"x"', "body"),
    (b"null", "body"),
    (b"{", "body"),
    (b'{"name": "a"} x', "body"),
    (b'\xef\xbb\xbf{"name": "a"}', "body"),
    (b'{"name": "a"}'.decode().encode("utf-16"), "body"),
    (b'{"name":' * 40 + b"1" + b"}" * 40, "name"),
    (b"[" * 1999, "body"),
    (b'{"tags": [' + b"[" * 32 + b"]" * 32 + b"]}", "tags"),
    (b"", "body"),
]


@pytest.mark.parametrize(("body", "field"), BAD_JSON)
def test_bad_json_is_a_400_that_names_the_member(body, field):
    with client() as http:
        answered = http.post("/admin/people", content=body, headers=JSON)
    assert answered.status_code == 400
    (error,) = answered.json()["errors"]
    assert error["field"].split("[")[0].split(".")[0] == field.split("[")[0]
    if len(field) > 4 and field != "body":
        assert error["field"].startswith(field)


def test_good_json_arrives_as_the_struct():
    with client() as http:
        body = {"name": "Ä 😀", "age": 2**53 - 1, "ok": True, "tags": ["a"]}
        assert http.post("/admin/people", json=body).json() == body
        patch = {"content-type": 'Application/Merge-Patch+JSON; charset="UTF-8"; x=y'}
        assert http.post("/admin/people", content=b'{"name":"a"}', headers=patch).status_code == 201


def test_an_empty_body_is_the_default_where_there_is_one():
    with client() as http:
        assert http.post("/admin/rotate").json() == {"others_expire_in": 5}
        assert http.post("/admin/rotate", json={}).json() == {"others_expire_in": None}
        assert http.post("/admin/people").json()["errors"] == [{"field": "body", "detail": "is missing or not valid"}]


@pytest.mark.parametrize(
    "media_type",
    [
        "text/plain",
        "application/xml",
        "application/vnd.api+json",
        "application/json; charset=latin-1",
        "application/json, text/plain",
        "application/json;;=",
        "multipart/form-data; boundary=x",
        "application/x-msgpack",
        "application/x-www-form-urlencoded",
        "",
        None,
    ],
)
def test_other_media_types_are_415(media_type):
    headers = {} if media_type is None else {"content-type": media_type}
    with client() as http:
        answered = http.post("/admin/people", content=b'{"name":"a"}', headers=headers)
    assert (answered.status_code, answered.headers["accept"]) == (415, "application/json")


def test_a_handler_may_take_both_forms_of_a_body():
    with client() as http:
        asked = http.post("/dashboards/client/login", content=b"name=a+b%C3%A4&age=5&ok=true", headers=FORM)
        assert asked.json() == {"name": "a bä", "age": 5, "ok": True, "tags": []}
        assert http.post("/dashboards/client/login", json={"name": "null"}).json()["name"] == "null"
        assert http.post("/dashboards/client/login", content=b"name=null", headers=FORM).json()["name"] == "null"
        wrong = http.post("/dashboards/client/login", content=b"name=a&x=1", headers=FORM)
        assert (wrong.status_code, wrong.json()["error"]) == (400, "invalid_request")
        assert wrong.json()["errors"] == [{"field": "x", "detail": "is not known here"}]


BAD_FORMS = [
    (b"a=1&a=2", "a"),
    (b"a=1&a=1", "a"),
    (b"a=%zz", "body"),
    (b"a=%", "body"),
    (b"a=%f", "body"),
    (b"a=%ff", "a"),
    (b"%ff=1", "body"),
    (b"a=\xc3\xa4", "body"),
    (b"a=%00", "a"),
    (b"&".join(b"p%d=1" % n for n in range(101)), "body"),
]


@pytest.mark.parametrize(("body", "field"), BAD_FORMS)
def test_bad_forms_are_refused(body, field):
    with pytest.raises(InvalidRequest) as caught:
        bodies.read_form(body)
    assert caught.value.errors[0].field == field
    with client() as http:
        answered = http.post("/oauth/token", content=body, headers=FORM)
        assert (answered.status_code, answered.json()["error"]) == (400, "invalid_request")
        page = http.post("/account/form", content=body, headers=FORM)
        assert (page.status_code, page.headers["content-type"]) == (400, "text/html; charset=utf-8")


def test_only_what_holds_no_secret_is_known_again(monkeypatch):
    known: dict[bytes, Any] = {}
    monkeypatch.setattr(bodies, "_known", known)
    monkeypatch.setattr(bodies, "KNOWN", 4)
    plain, secret = b"grant_type=client_credentials&scope=a+b", b"grant_type=password&username=p&password=p"
    with client() as http:
        for _ in range(2):
            answered = http.post("/oauth/token", content=plain, headers=FORM)
            assert answered.json() == {"grant_type": "client_credentials", "scope": "a b"}
            assert http.post("/oauth/token", content=secret, headers=FORM).json()["password"] == "p"
            assert http.post("/oauth/token", content=b"scope=a&scope=b", headers=FORM).status_code == 400
        assert http.post("/oauth/token", content=plain, headers={"content-type": "text/plain"}).status_code == 415
        assert http.post("/oauth/token", content=plain, headers=JSON).status_code == 400
        assert list(known) == [plain]
        for number in range(8):
            http.post("/oauth/token", content=b"scope=%d" % number, headers=FORM)
        http.post("/oauth/token", content=b"scope=" + b"x" * bodies.LONGEST_KNOWN, headers=FORM)
    assert 0 < len(known) <= 4


def test_the_token_endpoint_takes_forms_and_objects_of_strings():
    with client() as http:
        assert http.post("/oauth/token", content=b"a=1&b=&c=x%2By", headers=FORM).json() == {"a": "1", "c": "x+y"}
        assert http.post("/oauth/token", json={"a": "1", "b": ""}).json() == {"a": "1"}
        assert http.post("/oauth/token").json() == {}
        number = http.post("/oauth/token", json={"a": 1})
        assert number.json() == {"error": "invalid_request", "error_description": "a: must be a string"}
        assert http.post("/oauth/token", json=["a"]).status_code == 400
        assert http.post("/oauth/token", content=b"x", headers={"content-type": "text/plain"}).status_code == 415
        large = http.post("/oauth/token", content=b"a=" + b"x" * 999, headers=FORM)
        assert (large.status_code, large.json()["error"]) == (413, "invalid_request")


def test_a_large_body_is_413_with_or_without_its_length():
    def chunks() -> Any:
        yield from [b"{" + b" " * 1500, b" " * 1500]

    with client() as http:
        announced = http.post("/admin/people", content=b" " * 2001, headers=JSON)
        streamed = http.post("/admin/people", content=chunks(), headers=JSON)
    assert (announced.status_code, streamed.status_code) == (413, 413)
    assert "2000 bytes" in streamed.json()["detail"]


@pytest.mark.anyio
async def test_chunked_body_is_joined_and_a_broken_one_refused():
    async def receive_from(messages: list[dict[str, Any]], limit: int) -> bytes:
        async def receive() -> dict[str, Any]:
            return messages.pop(0)

        return await read_body({"headers": []}, receive, limit)

    pieces: list[dict[str, Any]] = [
        {"type": "http.request", "body": b"ab", "more_body": True},
        {"type": "http.request", "body": b"c"},
    ]
    assert await receive_from(list(pieces), 3) == b"abc"
    with pytest.raises(TooLarge):
        await receive_from(list(pieces), 2)
    with pytest.raises(InvalidRequest):
        await receive_from([pieces[0], {"type": "http.disconnect"}], 3)


def test_repeated_query_parameter_is_refused_unless_allowed():
    with client() as http:
        assert http.get("/admin/list?type=a&type=b").json() == ["a", "b"]
        doubled = http.get("/admin/list?limit=1&limit=2")
        assert (doubled.status_code, doubled.json()["errors"][0]["field"]) == (400, "limit")


def test_two_content_types_are_none():
    headers = [(b"content-type", b"application/json"), (b"content-type", b"application/json")]
    with pytest.raises(WrongMediaType):
        encoding({"headers": headers}, ["json"])


def test_a_handler_that_leaves_forms_to_the_framework_is_found():
    @post("/x", sync_to_thread=False)
    def lenient(data: URLEncodedBody[Person]) -> None: ...

    with pytest.raises(RuntimeError, match="JSONBody"):
        check_handlers(Litestar([lenient], logging_config=None, openapi_config=None))
