"""The demo application against an authorization server that this file plays: it believes nothing it did not ask for."""

import base64
import hashlib
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit
from wsgiref.util import setup_testing_defaults

import httpx
import pytest

from demo.authorization import Authorization, Config
from demo.third_party import SESSIONS, Session, Sessions, ThirdParty, read_config, shorten
from tests.started import PATIENCE, started

ISSUER = "https://id.example.test"
CONFIG = Config(
    ISSUER, "client-1", "s3cret-of-the-client", "https://boat.example.test/callback", "profile catalog:read"
)
ACCESS, REFRESH = "glog_at_" + "a" * 36, "glog_rt_" + "b" * 36


class AuthorizationServer:
    """Plays the server's side; `seen` holds the requests of this client, `answers` what differs from the usual."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, str], str | None]] = []
        self.answers: dict[str, httpx.Response] = {}
        self.metadata: dict[str, Any] = {
            "issuer": ISSUER,
            "authorization_endpoint": f"{ISSUER}/oauth/authorize",
            "token_endpoint": f"{ISSUER}/oauth/token",
            "revocation_endpoint": f"{ISSUER}/oauth/revoke",
            "introspection_endpoint": f"{ISSUER}/oauth/introspect",
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
        }

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        form = {name: values[0] for name, values in parse_qs(request.content.decode()).items()}
        self.seen.append((path, form, request.headers.get("authorization")))
        if path in self.answers:
            return self.answers[path]
        if path == "/.well-known/oauth-authorization-server":
            return httpx.Response(200, json=self.metadata)
        if path == "/oauth/token":
            token = {"access_token": ACCESS, "token_type": "Bearer", "expires_in": 600, "scope": "profile"}
            return httpx.Response(200, json=token | {"refresh_token": REFRESH})
        if path == "/oauth/introspect":
            return httpx.Response(200, json={"active": True, "client_id": "client-1"})
        return httpx.Response(200)


class Browser:
    """One browser at the demo application, called without a network."""

    def __init__(self, application: ThirdParty) -> None:
        self.application = application
        self.cookie = ""
        self.status = 0
        self.headers: dict[str, str] = {}

    def __call__(self, method: str, target: str, form: dict[str, str] | None = None) -> str:
        path, _, query = target.partition("?")
        body = urlencode(form or {}).encode()
        environ: dict[str, Any] = {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query}
        environ |= {"HTTP_COOKIE": self.cookie, "CONTENT_LENGTH": str(len(body)), "wsgi.input": BytesIO(body)}
        setup_testing_defaults(environ)

        def start_response(status: str, headers: list[tuple[str, str]]) -> None:
            self.status, self.headers = int(status.split()[0]), dict(headers)

        answer = b"".join(self.application(environ, start_response)).decode()
        if "Set-Cookie" in self.headers:
            self.cookie = self.headers["Set-Cookie"].split(";")[0]
        return answer

    def connect(self) -> dict[str, str]:
        return self.go("/connect")

    def go(self, path: str) -> dict[str, str]:
        """The authorization request that a button leads to."""
        self("GET", path)
        assert self.status == 303
        return {name: values[0] for name, values in parse_qs(urlsplit(self.headers["Location"]).query).items()}

    def call_back(self, **parameters: str) -> str:
        self("GET", f"/callback?{urlencode(parameters)}")
        assert (self.status, self.headers["Location"]) == (303, "/")
        return self("GET", "/")

    def press(self, action: str, member: str = "access_token") -> str:
        (csrf,) = set(re.findall(r'name="csrf" value="([^"]+)"', self("GET", "/")))
        self("POST", f"/{action}", {"csrf": csrf, "token": member})
        assert self.status == 303
        return self("GET", "/")


@pytest.fixture
def server() -> AuthorizationServer:
    return AuthorizationServer()


@pytest.fixture
def browser(server: AuthorizationServer) -> Browser:
    http = httpx.Client(transport=httpx.MockTransport(server))
    return Browser(ThirdParty(CONFIG, Authorization(CONFIG, http)))


@pytest.fixture
def connected(browser: Browser) -> Browser:
    request = browser.connect()
    browser.call_back(code="c", state=request["state"], iss=ISSUER)
    return browser


def test_home_offers_to_connect_and_says_to_whom(browser: Browser) -> None:
    page = browser("GET", "/")
    assert browser.status == 200
    assert "Connect</button>" in page
    assert ISSUER in page
    assert "<script" not in page
    assert " style=" not in page
    assert "form-action 'self' https://id.example.test;" in browser.headers["Content-Security-Policy"]
    assert browser.headers["Set-Cookie"].endswith("; Path=/; HttpOnly; SameSite=Lax; Secure")


def test_connect_asks_as_rfc_6749_and_7636_say(browser: Browser) -> None:
    request = browser.connect()
    assert browser.headers["Location"].startswith(f"{ISSUER}/oauth/authorize?")
    assert request.keys() == {
        "response_type",
        "client_id",
        "redirect_uri",
        "scope",
        "state",
        "code_challenge",
        "code_challenge_method",
    }
    assert (request["response_type"], request["code_challenge_method"]) == ("code", "S256")
    assert (request["client_id"], request["redirect_uri"]) == ("client-1", CONFIG.redirect_uri)
    assert request["scope"] == CONFIG.scope


def test_callback_redeems_the_code_and_shows_shortened_tokens(browser: Browser, server: AuthorizationServer) -> None:
    request = browser.connect()
    before = browser.cookie
    page = browser.call_back(code="code-1", state=request["state"], iss=ISSUER)
    path, form, authorization = server.seen[-1]
    assert path == "/oauth/token"
    assert (form["grant_type"], form["code"]) == ("authorization_code", "code-1")
    assert form["redirect_uri"] == CONFIG.redirect_uri
    digest = hashlib.sha256(form["code_verifier"].encode()).digest()
    assert base64.urlsafe_b64encode(digest).decode().rstrip("=") == request["code_challenge"]
    assert authorization == "Basic " + base64.b64encode(b"client-1:s3cret-of-the-client").decode()
    assert "client_secret" not in form
    assert "Connected." in page
    assert "glog_at_aaa…aaaa" in page
    assert ACCESS not in page
    assert "expires_at" not in page
    assert REFRESH not in page
    assert browser.cookie != before, "a session id from before the sign-in must not be the one after it"


@pytest.mark.parametrize(
    ("response", "words"),
    [
        ({"code": "c", "state": "other", "iss": ISSUER}, "belongs to no request"),
        ({"code": "c", "iss": ISSUER}, "belongs to no request"),
        ({"code": "c", "state": "mine", "iss": "https://evil.example"}, "another server"),
        ({"code": "c", "state": "mine"}, "another server"),
        ({"error": "server_error", "state": "mine", "iss": "https://evil.example"}, "another server"),
        ({"state": "mine", "iss": ISSUER}, "no code"),
        ({"error": "access_denied", "state": "mine", "iss": ISSUER}, "access_denied"),
        ({"error": "invalid_scope", "error_description": "No <b>.", "state": "mine", "iss": ISSUER}, "No &lt;b&gt;."),
    ],
)
def test_callback_believes_only_the_answer_to_its_own_request(
    browser: Browser, server: AuthorizationServer, response: dict[str, str], words: str
) -> None:
    state = browser.connect()["state"]
    parameters = {name: state if value == "mine" else value for name, value in response.items()}
    assert words in browser.call_back(**parameters)
    assert "/oauth/token" not in [path for path, _, _ in server.seen]


def test_callback_refuses_doubled_parameters_and_a_second_answer(browser: Browser, server: AuthorizationServer) -> None:
    state = browser.connect()["state"]
    browser("GET", f"/callback?code=a&code=b&state={state}&iss={ISSUER}")
    assert "twice" in browser("GET", "/")
    assert "belongs to no request" in browser.call_back(code="c", state=state, iss=ISSUER)
    assert "/oauth/token" not in [path for path, _, _ in server.seen]


def test_callback_of_another_browser_is_refused(browser: Browser, server: AuthorizationServer) -> None:
    state = browser.connect()["state"]
    other = Browser(browser.application)
    assert "belongs to no request" in other.call_back(code="c", state=state, iss=ISSUER)


def test_a_refused_code_is_shown_with_the_servers_words(browser: Browser, server: AuthorizationServer) -> None:
    problem = {"error": "invalid_grant", "error_description": 'The code "has" ended.'}
    server.answers["/oauth/token"] = httpx.Response(400, json=problem)
    page = browser.call_back(code="c", state=browser.connect()["state"], iss=ISSUER)
    assert "The code &#34;has&#34; ended." in page
    assert "invalid_grant" in page


@pytest.mark.parametrize(
    "answer", [httpx.Response(500, text="no"), httpx.Response(200, text="no"), httpx.Response(200, json=[])]
)
def test_an_answer_that_is_no_token_answer_is_trouble(
    browser: Browser, server: AuthorizationServer, answer: httpx.Response
) -> None:
    server.answers["/oauth/token"] = answer
    assert 'role="alert"' in browser.call_back(code="c", state=browser.connect()["state"], iss=ISSUER)


@pytest.mark.parametrize(
    "change",
    [
        {"issuer": "https://other.example"},
        {"issuer": ISSUER + "/"},
        {"code_challenge_methods_supported": ["plain"]},
        {"code_challenge_methods_supported": []},
    ],
)
def test_metadata_of_another_issuer_or_without_pkce_is_not_used(
    browser: Browser, server: AuthorizationServer, change: dict[str, Any]
) -> None:
    server.metadata |= change
    browser("GET", "/connect")
    assert browser.headers["Location"] == "/"
    assert 'id="trouble"' in browser("GET", "/")


def test_a_server_that_was_away_is_asked_again(browser: Browser, server: AuthorizationServer) -> None:
    server.answers["/.well-known/oauth-authorization-server"] = httpx.Response(503)
    browser("GET", "/connect")
    assert "Is the server running?" in browser("GET", "/")
    server.answers.clear()
    assert browser.connect()["client_id"] == "client-1"


def test_refresh_takes_the_rotated_tokens(connected: Browser, server: AuthorizationServer) -> None:
    fresh = {"access_token": "glog_at_" + "x" * 36, "token_type": "Bearer", "refresh_token": "glog_rt_" + "y" * 36}
    server.answers["/oauth/token"] = httpx.Response(200, json=fresh)
    page = connected.press("refresh")
    assert server.seen[-1][1]["refresh_token"] == REFRESH
    assert "Refreshed." in page
    assert "glog_at_xxx…xxxx" in page
    assert "glog_rt_yyy…yyyy" in page
    del fresh["refresh_token"]
    server.answers["/oauth/token"] = httpx.Response(200, json=fresh)
    assert "glog_rt_yyy…yyyy" in connected.press("refresh")


def test_introspect_and_revoke_ask_about_the_chosen_token(connected: Browser, server: AuthorizationServer) -> None:
    page = connected.press("introspect", "refresh_token")
    assert server.seen[-1][:2] == ("/oauth/introspect", {"token": REFRESH})
    assert '<dd id="answer-active">true</dd>' in page
    assert "Revoked." in connected.press("revoke")
    path, form, authorization = server.seen[-1]
    assert (path, form) == ("/oauth/revoke", {"token": ACCESS})
    assert authorization is not None
    assert "There is no such token." in connected.press("revoke", "client_secret")


def test_refusals_of_introspection_and_revocation_are_shown(connected: Browser, server: AuthorizationServer) -> None:
    server.answers["/oauth/introspect"] = httpx.Response(401, json={"error": "invalid_client"})
    server.answers["/oauth/revoke"] = httpx.Response(503)
    assert "invalid_client" in connected.press("introspect")
    assert "The server" in connected.press("revoke")


def test_messages_are_shown_once(connected: Browser) -> None:
    assert "Revoked." in connected.press("revoke")
    assert "Revoked." not in connected("GET", "/")


@pytest.mark.parametrize("form", [{}, {"csrf": ""}, {"csrf": "ü"}, {"csrf": "other"}])
def test_a_foreign_form_does_nothing(connected: Browser, server: AuthorizationServer, form: dict[str, str]) -> None:
    before = len(server.seen)
    connected("POST", "/revoke", form)
    assert "too old" in connected("GET", "/")
    assert len(server.seen) == before


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("POST", "/connect", 405),
        ("GET", "/revoke", 405),
        ("GET", "/static/../third_party.py", 404),
        ("GET", "/nothing", 404),
        ("GET", "/static/paperboat.css", 200),
        ("HEAD", "/", 200),
    ],
)
def test_routes(browser: Browser, method: str, target: str, status: int) -> None:
    body = browser(method, target)
    assert browser.status == status
    assert bool(body) is (method != "HEAD")


def test_a_large_form_is_not_read(connected: Browser) -> None:
    connected("POST", "/revoke", {"csrf": "x" * 20_000})
    assert connected.status == 413


def test_sessions_are_bounded_and_evict_the_least_recently_used() -> None:
    sessions = Sessions()
    first = sessions.keep(None, Session(csrf="first"), fresh=False)
    second = sessions.keep(None, Session(csrf="second"), fresh=False)
    for _ in range(SESSIONS - 2):
        sessions.keep(None, Session(csrf="more"), fresh=False)
    sessions.find(first)
    sessions.keep("chosen by the browser", Session(csrf="last"), fresh=False)
    assert sessions.find(first).csrf == "first"
    assert sessions.find(second).csrf != "second"
    assert "chosen by the browser" not in sessions.kept


def test_tokens_are_shown_by_their_ends_and_short_ones_never() -> None:
    assert shorten(ACCESS) == "glog_at_aaa…aaaa"
    assert shorten("short-secret") == "…"


def test_configuration_says_what_is_wrong_and_shows_no_secret(tmp_path: Path) -> None:
    assert CONFIG.client_secret not in repr(CONFIG)
    with pytest.raises(SystemExit, match="issuer"):
        read_config(str(write(tmp_path, client_id="c")))
    with pytest.raises(SystemExit, match="cannot be read"):
        read_config(str(tmp_path / "nowhere.json"))


def write(folder: Path, **config: object) -> Path:
    path = folder / "third_party.json"
    path.write_text(json.dumps(config))
    return path


@pytest.fixture
def program(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    config = write(
        tmp_path,
        issuer="http://127.0.0.1:9",
        client_id="client-1",
        client_secret="s3cret-of-the-client",
        redirect_uri="http://127.0.0.1:8401/callback",
        scope="profile",
        port=0,
    )
    command = [sys.executable, "-W", "error", "-m", "demo.third_party", "--config", str(config)]
    root = Path(__file__).parents[2]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with started(command, cwd=root, **pipes, text=True, bufsize=1) as process:
        yield process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_program_serves_and_stops_cleanly(program: subprocess.Popen[str], number: signal.Signals) -> None:
    assert program.stdout is not None
    line = program.stdout.readline()
    address = line.split()[-1]
    with httpx.Client(base_url=address, trust_env=False, timeout=PATIENCE) as http:
        assert http.get("/").status_code == 200
        assert http.get("/connect").headers["location"] == "/"
        assert "Is the server running?" in http.get("/").text
    program.send_signal(number)
    out, err = program.communicate(timeout=PATIENCE)
    assert (program.returncode, out, err) == (0, "", "")
    assert re.fullmatch(r"Paperboat listens on http://127\.0\.0\.1:\d+/\n", line)
