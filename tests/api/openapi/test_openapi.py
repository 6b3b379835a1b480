"""The OpenAPI document agrees with the handlers, hot endpoints included, and its page loads nothing from elsewhere."""

import re
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
import pytest
from litestar import Litestar, Request, asgi, get, patch, post
from litestar.params import FromPath, JSONBody
from litestar.testing import TestClient
from litestar.types import Receive, Scope, Send

from api.http.bodies import StrictRequest
from api.http.error_responses import EXCEPTION_HANDLERS
from api.http.middleware import Middleware
from api.http.parameters import Page
from api.http.responses import raw_response, send_response
from api.openapi.document import document, openapi_config
from api.openapi.hot_endpoints import HotEndpoint


class Contact(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    email: str


class NewThing(msgspec.Struct, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(max_length=100, description="What people call it.")]
    contacts: list[Contact] = []
    labels: Annotated[list[Annotated[str, msgspec.Meta(max_length=20)]], msgspec.Meta(max_length=5)] | None = None


class Thing(msgspec.Struct):
    id: str
    name: str | None


@post(
    "/admin/things",
    summary="Make a thing",
    tags=["Things"],
    security=[{"bearer": ["things:write"]}],
    opt={"example": {"name": "A"}, "answer": {"id": "1", "name": "A"}},
    sync_to_thread=False,
)
def make(data: JSONBody[NewThing]) -> Thing:
    """Makes one."""
    return Thing("1", data.name)


@get("/admin/things", sync_to_thread=False)
def several() -> Page[Thing]:
    return Page([], None)


@patch("/admin/things/{thing_id:str}", sync_to_thread=False)
def change(thing_id: FromPath[str], data: JSONBody[NewThing]) -> Thing:
    return Thing(thing_id, data.name)


@post("/dashboards/x/login", opt={"bodies": ("json", "form")}, sync_to_thread=False)
def login(data: JSONBody[Contact] = Contact("a")) -> None:  # noqa: B008 - never changed.
    """Signs in."""


@post("/leaks/someone", opt={"body": list[Thing], "example": [{"id": "1", "name": None}]}, sync_to_thread=False)
def told_by_someone(request: Request[Any, Any, Any]) -> None:
    """Reads its body by itself."""


@get("/account/things", media_type="text/html", sync_to_thread=False)
def things() -> str:
    return ""


@asgi("/oauth/token", copy_scope=False)
async def token(scope: Scope, receive: Receive, send: Send) -> None:
    await send_response(send, raw_response(200, b"{}", "application/json"))


class TokenParameters(msgspec.Struct):
    grant_type: Annotated[str, msgspec.Meta(description="How the client asks.")]
    code: str | msgspec.UnsetType = msgspec.UNSET


class TokenBody(msgspec.Struct):
    access_token: str


TOKEN = HotEndpoint(
    path="/oauth/token",
    summary="Get a token",
    description="RFC 6749 §3.2.",
    parameters=TokenParameters,
    examples={"client credentials": {"grant_type": "client_credentials"}},
    answer=TokenBody,
    told="The token.",
)


@pytest.fixture
def app() -> Litestar:
    return Litestar(
        [make, several, change, login, told_by_someone, things, token],
        request_class=StrictRequest,
        exception_handlers=EXCEPTION_HANDLERS,
        openapi_config=openapi_config("1.2.3", [TOKEN]),
        logging_config=None,
    )


@pytest.fixture
def http(app: Litestar) -> Iterator[TestClient[Any]]:
    wrapper: Any = Middleware(app, log_requests=False)
    with TestClient(wrapper) as client:
        yield client


def test_the_hot_endpoint_stands_in_the_document(app):
    operation = document(app)["paths"]["/oauth/token"]["post"]
    assert set(operation["requestBody"]["content"]) == {"application/x-www-form-urlencoded", "application/json"}
    content = operation["requestBody"]["content"]["application/json"]
    assert content["schema"] == {"$ref": "#/components/schemas/TokenParameters"}
    assert content["examples"]["client credentials"]["value"] == {"grant_type": "client_credentials"}
    answer = operation["responses"]["200"]["content"]["application/json"]
    assert answer == {"schema": {"$ref": "#/components/schemas/TokenBody"}}
    assert operation["security"] == [{"client": []}, {}]
    error = document(app)["components"]["schemas"]["OAuthErrorBody"]
    assert set(error["properties"]) == {"error", "error_description"}
    assert error["required"] == ["error"]


def test_bodies_are_described_as_they_are_read(app):
    paths = document(app)["paths"]
    assert set(paths["/admin/things"]["post"]["requestBody"]["content"]) == {"application/json"}
    assert set(paths["/admin/things/{thing_id}"]["patch"]["requestBody"]["content"]) == {
        "application/json",
        "application/merge-patch+json",
    }
    login_body = paths["/dashboards/x/login"]["post"]["requestBody"]
    assert set(login_body["content"]) == {"application/json", "application/x-www-form-urlencoded"}
    assert login_body["required"] is False


def test_body_read_by_its_handler_is_described_as_it_says(app):
    body = document(app)["paths"]["/leaks/someone"]["post"]["requestBody"]
    (content,) = body["content"].values()
    assert body["required"] is True
    assert content["schema"] == {"type": "array", "items": {"$ref": "#/components/schemas/Thing"}}
    assert content["example"] == [{"id": "1", "name": None}]


def test_structs_that_forbid_unknown_members_say_so(app):
    schemas = document(app)["components"]["schemas"]
    assert schemas["NewThing"]["additionalProperties"] is False
    assert schemas["Contact"]["additionalProperties"] is False
    assert "additionalProperties" not in schemas["Thing"]
    assert schemas["NewThing"]["properties"]["name"]["maxLength"] == 100


def test_names_do_not_say_where_a_struct_stands(app):
    told = document(app)
    answered = told["paths"]["/admin/things"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert answered == {"$ref": "#/components/schemas/Page_Thing_"}
    assert "." not in "".join(told["components"]["schemas"])


def test_limits_are_told_however_far_in_they_stand(app):
    labels = document(app)["components"]["schemas"]["NewThing"]["properties"]["labels"]
    limited = {"type": "array", "maxItems": 5, "items": {"type": "string", "maxLength": 20}}
    assert labels == {"anyOf": [limited, {"type": "null"}], "default": None}


def test_what_nothing_refers_to_is_left_out(app):
    schemas = document(app)["components"]["schemas"]
    told = str([document(app)["paths"], schemas])
    assert all(f"'#/components/schemas/{name}'" in told for name in schemas)


def test_refusals_look_as_they_do_in_that_place(app):
    paths = document(app)["paths"]
    made = paths["/admin/things"]["post"]
    assert set(made["responses"]) == {"201", "default"}
    assert list(made["responses"]["default"]["content"]) == ["application/problem+json"]
    assert made["responses"]["201"]["content"]["application/json"]["example"] == {"id": "1", "name": "A"}
    assert made["requestBody"]["content"]["application/json"]["example"] == {"name": "A"}
    assert list(paths["/account/things"]["get"]["responses"]["default"]["content"]) == ["text/html"]


def test_every_reference_leads_somewhere(app, http):
    text = http.get("/schema/openapi.json").text
    names = set(re.findall(r'"#/components/schemas/([^"]+)"', text))
    assert names
    assert names <= set(document(app)["components"]["schemas"])


def test_it_is_served_as_it_is_made(app, http):
    served = http.get("/schema/openapi.json")
    assert served.json() == document(app)
    assert served.json()["openapi"].startswith("3.1")
    assert served.json()["info"]["version"] == "1.2.3"


@pytest.mark.parametrize("path", ["/schema", "/schema/"])
def test_page_loads_nothing_foreign_and_runs_no_script(http, path):
    page = http.get(path)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert not re.search(r"(?:src|href)=\"(?!/)", page.text)
    assert "<script" not in page.text
    assert " style=" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    shown = re.sub("<[^>]+>", "", page.text)
    for words in ("POST /oauth/token", "Make a thing", "things:write", "What people call it.", "list of Contact"):
        assert words in shown


def test_other_paths_below_are_not_there(http):
    assert http.get("/schema/swagger").status_code == 404
