"""Problem details: every closed list of reasons has its answer, and no answer repeats what was sent."""

import enum
import json
from typing import Annotated, Any

import msgspec
import pytest
from litestar import exceptions as framework
from sqlalchemy.exc import OperationalError

from api import problems
from api.error_answers import ErrorAnswers, invalid, plain_page, to_problem, vocabulary
from api.problems import FieldError, Problem, from_refusal
from domain import refusal as reasons
from domain.decision import Reason, Refusal
from security.keyring import MasterKeyError

LISTS = [
    kind
    for kind in vars(reasons).values()
    if isinstance(kind, type) and issubclass(kind, Reason) and kind is not Reason
]


class Colour(enum.StrEnum):
    RED = "red"


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    uri: str


class Body(msgspec.Struct, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(max_length=3)]
    colour: Colour = Colour.RED
    uris: list[Inner] = []
    names: dict[str, int] = {}


def test_every_list_of_reasons_has_its_answer():
    assert set(problems.BY_REASON) == set(LISTS)
    for kind in LISTS:
        for reason in kind:
            assert from_refusal(Refusal(reason)).status in (400, 401, 403, 404, 409, 503)


def test_a_refusal_keeps_its_field_and_reason():
    problem = from_refusal(Refusal(reasons.Conflict.NAME_TAKEN, "The name is taken.", "username"))
    assert problem.members("id") == {
        "type": "about:blank",
        "title": "Conflict",
        "status": 409,
        "detail": "The name is taken.",
        "errors": (FieldError("username", "The name is taken."),),
        "reason": "name_taken",
        "request_id": "id",
    }


def test_wrong_credentials_say_nothing_about_the_cause():
    problem = from_refusal(Refusal(reasons.InvalidGrant.CREDENTIALS, "no such account", "username"))
    assert (problem.status, problem.error, problem.errors, problem.reason) == (401, "invalid_grant", (), None)


@pytest.mark.parametrize(
    ("problem", "status", "header", "value"),
    [
        (problems.Unauthenticated(), 401, "www-authenticate", 'Bearer error="invalid_token"'),
        (
            problems.InsufficientScope("clients:write"),
            403,
            "www-authenticate",
            'Bearer error="insufficient_scope", scope="clients:write"',
        ),
        (problems.WrongMethod(["POST", "GET"]), 405, "allow", "GET, HEAD, POST"),
        (problems.WrongMediaType(["application/json"]), 415, "accept", "application/json"),
        (problems.Throttled(9), 429, "retry-after", "9"),
        (problems.Unavailable(), 503, "retry-after", "1"),
    ],
)
def test_headers_of_each_status(problem, status, header, value):
    given = problem.answer("id")
    headers = {name.decode(): text.decode() for name, text in given.headers}
    assert (given.status, headers[header]) == (status, value)
    assert headers["cache-control"] == "no-store"
    assert json.loads(given.body)["status"] == status


def test_dashboards_carry_the_oauth_word():
    assert problems.Unauthenticated().members("id", dashboard=True)["error"] == "invalid_token"
    assert "error" not in problems.Unauthenticated().members("id")


@pytest.mark.parametrize(
    ("body", "field", "detail"),
    [
        (b"{}", "name", "is missing"),
        (b'{"name": 1}', "name", "Expected `str`, got `int`"),
        (b'{"name": "long"}', "name", "Expected `str` of length <= 3"),
        (b'{"name": "a", "x": 1}', "x", "is not known here"),
        (b'{"name": "a", "<script>": 1}', "body", "is not known here"),
        (b'{"name": "a", "glog_at_0123456789abcdefghij": 1}', "body", "is not known here"),
        (b'{"name": "a", "colour": "hunter2"}', "colour", "is none of the allowed values"),
        (b'{"name": "a", "uris": [{"uri": "a"}, {"uri": 1}]}', "uris[1].uri", "Expected `str`, got `int`"),
        (b'{"name": "a", "uris": [{}]}', "uris[0].uri", "is missing"),
        (b'{"name": "a", "names": {"k": "v"}}', "names[...]", "Expected `int`, got `str`"),
        (b"[]", "body", "Expected `object`, got `array`"),
    ],
)
def test_a_member_at_fault_is_named_and_its_value_is_not(body, field, detail):
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.json.decode(body, type=Body)
    assert invalid(caught.value).errors == (FieldError(field, detail),)


SCOPE: dict[str, Any] = {"path": "/admin/x", "headers": []}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (framework.NotFoundException(), 404),
        (framework.NotAuthorizedException(), 401),
        (framework.PermissionDeniedException(), 403),
        (framework.MethodNotAllowedException(headers={"allow": "GET"}), 405),
        (framework.TooManyRequestsException(), 429),
        (framework.ServiceUnavailableException(), 503),
        (framework.ClientException("the value hunter2 is bad"), 400),
        (framework.ValidationException("?password=hunter2"), 400),
        (framework.InternalServerException("hunter2"), 500),
        (framework.ImproperlyConfiguredException("hunter2"), 500),
        (OperationalError("SELECT", {"p": "hunter2"}, Exception("hunter2")), 503),
        (MasterKeyError("hunter2"), 503),
        (ValueError("hunter2"), 500),
    ],
)
def test_every_failure_is_a_problem_that_repeats_nothing(error, status):
    problem = to_problem(error, SCOPE)
    assert problem.status == status
    assert b"hunter2" not in problem.answer("id").body


def test_the_frameworks_faults_keep_their_names():
    error = framework.ValidationException(
        "Validation failed for GET /x?limit=0",
        extra=[{"key": "limit", "message": "Expected `int` >= 1", "source": "query"}, {"key": "data", "message": "hm"}],
    )
    assert to_problem(error, SCOPE).errors == (
        FieldError("limit", "Expected `int` >= 1"),
        FieldError("body", "is missing or not valid"),
    )
    missing = framework.ValidationException("Missing required query parameter 'client_id' for path /x?code=1")
    assert to_problem(missing, SCOPE).errors == (FieldError("client_id", "is missing"),)


@pytest.mark.parametrize(
    ("path", "accept", "words"),
    [
        ("/oauth/token", "", "oauth"),
        ("/oauth/nowhere", "text/html", "oauth"),
        ("/oauth/authorize", "", "page"),
        ("/oauth/authorize/consent", "", "page"),
        ("/oauth/authorized", "", "oauth"),
        ("/account/grants", "", "page"),
        ("/dashboards/client/login", "text/html", "dashboard"),
        ("/admin/clients", "text/html", "problem"),
        ("/adminx", "text/html", "page"),
        ("/", "", "problem"),
        ("/", "text/html,*/*", "page"),
    ],
)
def test_the_path_decides_whose_words_are_spoken(path, accept, words):
    assert vocabulary({"path": path, "headers": [(b"accept", accept.encode())]}) == words


def test_a_handler_can_decide_otherwise():
    class Handler:
        opt = {"answers": "page"}

    assert vocabulary({"path": "/dashboards/client", "headers": [], "route_handler": Handler()}) == "page"


def test_the_error_page_is_a_hook():
    from api.arrival import KEY, Arrival

    def page(problem: Problem, request_id: str) -> tuple[bytes, dict[str, str]]:
        return f"<p>{problem.status} {request_id}".encode(), {"content-security-policy": "default-src 'self'"}

    scope = {"path": "/account", "headers": [], KEY: Arrival("id", None)}
    given = ErrorAnswers(page).answer(scope, problems.Denied("No."))
    assert (given.status, given.body) == (403, b"<p>403 id")
    assert (b"content-security-policy", b"default-src 'self'") in given.headers
    assert b"No." in plain_page(problems.Denied("No."), "id")[0]
