"""Refusals: every list of reasons has its answers, OAuth's are those of the RFCs, and none repeats what was sent."""

import enum
import json
import re
from datetime import datetime
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from litestar import exceptions as framework
from sqlalchemy.exc import OperationalError

from api.http import errors
from api.http.error_responses import as_oauth, as_problem, error_response, parameters, to_http_error, vocabulary
from api.http.errors import FieldError, HTTPError, api_error, oauth_error
from api.http.invalid_members import invalid_member
from api.http.request_context import KEY, RequestContext
from api.routes import ROUTES
from domain import decision as reasons
from domain.decision import Reason, Refusal
from security.keyring import MasterKeyError

ALLOWED = re.compile(r"[\x20-\x21\x23-\x5B\x5D-\x7E]*")
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
    code: Annotated[str, msgspec.Meta(min_length=1, pattern=r"^[a-z]*\Z")] | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=9)] = 1
    pair: tuple[bool, bool] = (False, False)
    at: datetime | None = None


def members(error: HTTPError, *, with_code: bool = False) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(as_problem(error, "id", with_code=with_code).body)
    return found


def kinds(parent: type[HTTPError] = HTTPError) -> list[type[HTTPError]]:
    return [kind for child in parent.__subclasses__() for kind in [child, *kinds(child)]]


def test_the_codes_are_those_of_the_rfcs():
    # Some stand where they are raised, which the routes import.
    assert ROUTES
    assert {kind.code for kind in kinds()} == {
        "access_denied",
        "authorization_pending",
        "consent_required",
        "enrolment_required",
        "expired_token",
        "insufficient_authorization",
        "insufficient_scope",
        "insufficient_user_authentication",
        "interaction_required",
        "invalid_authorization_details",
        "invalid_client",
        "invalid_client_metadata",
        "invalid_dpop_proof",
        "invalid_grant",
        "invalid_redirect_uri",
        "invalid_request",
        "invalid_request_object",
        "invalid_scope",
        "invalid_session",
        "invalid_target",
        "invalid_token",
        "login_required",
        "redirect_to_web",
        "request_not_supported",
        "request_uri_not_supported",
        "server_error",
        "slow_down",
        "temporarily_unavailable",
        "unauthorized_client",
        "unmet_authentication_requirements",
        "unsupported_grant_type",
        "unsupported_response_type",
        "use_dpop_nonce",
    }


def test_every_list_of_reasons_has_its_row():
    assert set(errors.BY_REASON) == set(LISTS)


@pytest.mark.parametrize("kind", LISTS)
def test_api_error_has_a_status_for_every_reason(kind):
    for reason in kind:
        assert api_error(Refusal(reason)).status in (400, 401, 403, 404, 409, 503)


@pytest.mark.parametrize("kind", LISTS)
def test_oauth_error_does_not_tell_the_cause(kind):
    answers = {as_oauth(oauth_error(Refusal(reason, f"because {reason}"))) for reason in kind}
    if kind in (reasons.InvalidClient, reasons.InvalidGrant):
        assert len(answers) == 1
        assert b"because" not in answers.pop().body


def test_api_error_keeps_field_and_reason():
    assert members(api_error(Refusal(reasons.Conflict.NAME_TAKEN, "The name is taken.", "username"))) == {
        "type": "about:blank",
        "title": "Conflict",
        "status": 409,
        "detail": "The name is taken.",
        "errors": [{"field": "username", "detail": "The name is taken."}],
        "reason": "name_taken",
        "request_id": "id",
    }


def test_wrong_credentials_say_nothing_about_the_cause():
    error = api_error(Refusal(reasons.InvalidGrant.CREDENTIALS, "no such account", "username"))
    assert (error.status, error.code, error.errors, error.reason) == (401, "invalid_grant", (), None)


HEADERS = [
    (errors.InvalidClient(), 401, "www-authenticate", 'Basic realm="grantlog", charset="UTF-8"'),
    (errors.InvalidToken(), 401, "www-authenticate", 'Bearer error="invalid_token"'),
    (
        errors.InsufficientScope("clients:write"),
        403,
        "www-authenticate",
        'Bearer error="insufficient_scope", scope="clients:write"',
    ),
    (errors.WrongMethod(["POST", "GET"]), 405, "allow", "GET, HEAD, POST"),
    (errors.WrongMethod(["POST", "OPTIONS"]), 405, "allow", "OPTIONS, POST"),
    (errors.WrongMediaType(["application/json"]), 415, "accept", "application/json"),
    (errors.Throttled(9), 429, "retry-after", "9"),
    (errors.TemporarilyUnavailable(), 503, "retry-after", "1"),
]


@pytest.mark.parametrize(("error", "status", "header", "value"), HEADERS)
def test_every_rendering_has_the_status_and_its_header(error, status, header, value):
    for told in (as_problem(error, "id"), as_oauth(error)):
        headers = {name.decode(): text.decode() for name, text in told.headers}
        assert (told.status, headers[header], headers["cache-control"]) == (status, value, "no-store")
    assert members(error)["status"] == status


def test_dashboards_carry_the_code():
    assert members(errors.InvalidToken(), with_code=True)["error"] == "invalid_token"
    assert "error" not in members(errors.InvalidToken())


def test_throttled_problem_says_how_long():
    assert members(errors.Throttled(7))["retry_after"] == 7


@given(st.text())
def test_description_has_only_the_characters_of_rfc_6749(text):
    body = json.loads(as_oauth(errors.InvalidRequest(text)).body)
    assert ALLOWED.fullmatch(body.get("error_description", ""))


def test_oauth_error_is_json_that_nobody_stores():
    told = as_oauth(errors.InvalidScope("Unknown."))
    assert (told.status, json.loads(told.body)) == (400, {"error": "invalid_scope", "error_description": "Unknown."})
    headers = dict(told.headers)
    assert (headers[b"cache-control"], headers[b"pragma"]) == (b"no-store", b"no-cache")
    assert headers[b"content-type"] == b"application/json"


def test_members_at_fault_stand_in_the_description():
    assert parameters(errors.InvalidRequest.field("scope", "is missing")) == [
        ("error", "invalid_request"),
        ("error_description", "scope: is missing"),
    ]
    assert parameters(errors.AccessDenied("No.")) == [("error", "access_denied"), ("error_description", "No.")]


@pytest.mark.parametrize(
    ("body", "field", "detail"),
    [
        (b"{}", "name", "is missing"),
        (b'{"name": 1}', "name", "must be text"),
        (b'{"name": "long"}', "name", "must have at most 3 characters"),
        (b'{"name": "a", "x": 1}', "x", "is not known here"),
        (b'{"name": "a", "<script>": 1}', "body", "is not known here"),
        (b'{"name": "a", "glog_at_0123456789abcdefghij": 1}', "body", "is not known here"),
        (b'{"name": "a", "colour": "hunter2"}', "colour", "is none of the allowed values"),
        (b'{"name": "a", "uris": [{"uri": "a"}, {"uri": 1}]}', "uris[1].uri", "must be text"),
        (b'{"name": "a", "uris": [{}]}', "uris[0].uri", "is missing"),
        (b'{"name": "a", "names": {"k": "v"}}', "names[...]", "must be a whole number"),
        (b"[]", "body", "must be an object"),
        (b'{"name": "a", "code": ""}', "code", "must have at least 1 characters"),
        (b'{"name": "a", "code": "A"}', "code", "does not have the form that is asked for"),
        (b'{"name": "a", "code": 1}', "code", "must be text or null"),
        (b'{"name": "a", "limit": 0}', "limit", "must be at least 1"),
        (b'{"name": "a", "limit": 99999999999999999999}', "limit", "must be at most 9"),
        (b'{"name": "a", "pair": [true]}', "pair", "must have exactly 2 items"),
        (b'{"name": "a", "pair": [true, 1]}', "pair[1]", "must be true or false"),
        (b'{"name": "a", "at": "hunter2"}', "at", "must be a time (RFC 3339)"),
    ],
)
def test_a_member_at_fault_is_named_and_its_value_is_not(body, field, detail):
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.json.decode(body, type=Body)
    assert invalid_member(caught.value).errors == (FieldError(field, detail),)


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
    found = to_http_error(error, SCOPE)
    assert found.status == status
    assert b"hunter2" not in as_problem(found, "id").body


def test_the_frameworks_faults_keep_their_names():
    error = framework.ValidationException(
        "Validation failed for GET /x?limit=0",
        extra=[{"key": "limit", "message": "Expected `int` >= 1", "source": "query"}, {"key": "data", "message": "hm"}],
    )
    assert to_http_error(error, SCOPE).errors == (
        FieldError("limit", "must be at least 1"),
        FieldError("body", "is missing or not valid"),
    )
    missing = framework.ValidationException("Missing required query parameter 'client_id' for path /x?code=1")
    assert to_http_error(missing, SCOPE).errors == (FieldError("client_id", "is missing"),)


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


def test_a_page_is_told_in_html_with_the_request_id():
    scope = {"path": "/account", "headers": [], KEY: RequestContext("the-id", None)}
    told = error_response(scope, errors.AccessDenied("No <b>."))
    assert told.status == 403
    assert b"No &lt;b&gt;." in told.body
    assert b"the-id" in told.body
    assert dict(told.headers)[b"content-security-policy"].startswith(b"default-src 'none'")
