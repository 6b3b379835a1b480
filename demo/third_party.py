"""An ordinary third-party web application that asks people for access to their account at an OAuth 2.0 server."""

import argparse
import hmac
import json
import secrets
import signal
import socketserver
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import jinja2
import msgspec

from demo.authorization import Authorization, Config, Pending, Person, Token, Trouble

# What the demo application remembers about browsers: in memory, gone when it stops.

SESSIONS = 1000


@dataclass(frozen=True)
class Session:
    """What the application remembers about one browser. `person` is who signed in; `trouble`, `done` and `answer` are
    for the next page only."""

    csrf: str
    pending: Pending | None = None
    token: Token | None = None
    person: Person | None = None
    trouble: Trouble | None = None
    done: str | None = None
    answer: dict[str, Any] | None = None


class Sessions:
    """Sessions in memory by a random id; the one unused for longest goes first."""

    def __init__(self) -> None:
        self.kept: OrderedDict[str, Session] = OrderedDict()
        self.lock = threading.Lock()

    def find(self, key: str | None) -> Session:
        with self.lock:
            if key is None or key not in self.kept:
                return Session(csrf=secrets.token_urlsafe(16))
            self.kept.move_to_end(key)
            return self.kept[key]

    def keep(self, former: str | None, session: Session, *, fresh: bool) -> str:
        """Remembers the session, under a new id where `fresh`, and gives its id."""
        with self.lock:
            known = former is not None and former in self.kept
            key = former if former is not None and known and not fresh else secrets.token_urlsafe(32)
            if former is not None and known and fresh:
                del self.kept[former]
            self.kept[key] = session
            self.kept.move_to_end(key)
            while len(self.kept) > SESSIONS:
                self.kept.popitem(last=False)
            return key


ROOM = Path(__file__).parent
COOKIE = "paperboat"
LARGEST_FORM = 16 * 1024
STATIC = {
    name: (media_type, (ROOM / "static" / name).read_bytes())
    for name, media_type in {"paperboat.css": "text/css; charset=utf-8", "paperboat.svg": "image/svg+xml"}.items()
}
PAGE = jinja2.Environment(
    loader=jinja2.FileSystemLoader(ROOM / "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
).get_template("page.html")


class TooLarge(Exception):
    """A form longer than any of ours."""


@dataclass(frozen=True)
class Reply:
    """An answer, and the session as it is afterwards; `fresh` gives the browser a new session id."""

    status: str
    headers: dict[str, str]
    body: bytes = b""
    session: Session | None = None
    fresh: bool = False


def see_other(location: str, session: Session, *, fresh: bool = False) -> Reply:
    return Reply("303 See Other", {"Location": location}, session=session, fresh=fresh)


def plain(status: str, **headers: str) -> Reply:
    return Reply(status, {"Content-Type": "text/plain; charset=utf-8", **headers}, f"{status}\n".encode())


def shorten(secret: str) -> str:
    """A token's two ends, enough to tell one from another and too little to use."""
    return f"{secret[:11]}…{secret[-4:]}" if len(secret) >= 32 else "…"


def members(answer: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """An answer's members as the page shows them."""
    for name, value in answer.items():
        if name.endswith("_token") and isinstance(value, str):
            yield name, shorten(value)
        else:
            yield name, value if isinstance(value, str) else json.dumps(value)


class ThirdParty:
    """The application (PEP 3333)."""

    def __init__(self, config: Config, authorization: Authorization | None = None) -> None:
        self.config = config
        self.authorization = authorization or Authorization(config)
        self.sessions = Sessions()
        issuer = urlsplit(config.issuer)
        self.page_headers = {
            "Content-Type": "text/html; charset=utf-8",
            # The connect form leads to the server by a redirect, and browsers hold redirects to `form-action` too.
            "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; "
            f"form-action 'self' {issuer.scheme}://{issuer.netloc}; frame-ancestors 'none'; base-uri 'none'",
            "Referrer-Policy": "same-origin",
            "X-Content-Type-Options": "nosniff",
        }
        self.routes: dict[str, tuple[str, Callable[[Session, str], Reply]]] = {
            "/": ("GET", self.home),
            "/connect": ("GET", self.connect),
            "/sign-in": ("GET", self.sign_in),
            urlsplit(config.redirect_uri).path: ("GET", self.callback),
            "/sign-out": ("POST", self.sign_out),
            "/refresh": ("POST", self.refresh),
            "/revoke": ("POST", self.revoke),
            "/introspect": ("POST", self.introspect),
        }

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        key = read_cookie(environ.get("HTTP_COOKIE", ""))
        reply = self.answer(environ, self.sessions.find(key))
        headers = {"Cache-Control": "no-store", **reply.headers, "Content-Length": str(len(reply.body))}
        if reply.session is not None:
            kept = self.sessions.keep(key, reply.session, fresh=reply.fresh)
            secure = "; Secure" if self.config.redirect_uri.startswith("https:") else ""
            headers["Set-Cookie"] = f"{COOKIE}={kept}; Path=/; HttpOnly; SameSite=Lax{secure}"
        start_response(reply.status, list(headers.items()))
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [reply.body]

    def answer(self, environ: dict[str, Any], session: Session) -> Reply:
        path, method = environ.get("PATH_INFO", "/"), environ["REQUEST_METHOD"]
        method = "GET" if method == "HEAD" else method
        name = path.removeprefix("/static/")
        if name != path and name in STATIC and method == "GET":
            return Reply("200 OK", {"Content-Type": STATIC[name][0], "Cache-Control": "max-age=300"}, STATIC[name][1])
        if path not in self.routes:
            return plain("404 Not Found")
        expected, handle = self.routes[path]
        if method != expected:
            return plain("405 Method Not Allowed", Allow=expected)
        try:
            return handle(session, environ.get("QUERY_STRING", "") if method == "GET" else self.form(environ, session))
        except TooLarge:
            return plain("413 Content Too Large")
        except Trouble as trouble:
            return see_other("/", replace(session, trouble=trouble))

    def form(self, environ: dict[str, Any], session: Session) -> str:
        """What a browser sent that was shown the form; raises TooLarge, and Trouble for anything else."""
        length = environ.get("CONTENT_LENGTH") or "0"
        if not length.isdecimal() or int(length) > LARGEST_FORM:
            raise TooLarge
        form: str = environ["wsgi.input"].read(int(length)).decode("ascii", "replace")
        sent = parse_qs(form).get("csrf", [""])[0]
        if not hmac.compare_digest(sent.encode(), session.csrf.encode()):
            raise Trouble("That form is too old. Please try again.")
        return form

    def home(self, session: Session, _query: str) -> Reply:
        token = session.token or {}
        body = PAGE.render(
            name=self.config.name,
            issuer=self.config.issuer,
            scope=self.config.scope,
            csrf=session.csrf,
            token=list(members(token)),
            person=list(members(session.person or {})),
            called=called(session.person),
            actions=list(actions(token)),
            answer=list(members(session.answer or {})),
            trouble=session.trouble,
            done=session.done,
        )
        shown = replace(session, trouble=None, done=None, answer=None)
        return Reply("200 OK", self.page_headers, body.encode(), shown)

    def connect(self, session: Session, _query: str) -> Reply:
        pending = self.authorization.begin()
        return see_other(pending.url, replace(session, pending=pending))

    def sign_in(self, session: Session, _query: str) -> Reply:
        pending = self.authorization.begin_sign_in()
        return see_other(pending.url, replace(session, pending=pending))

    def sign_out(self, session: Session, _form: str) -> Reply:
        """Forgets who came, and has the server sign them out too."""
        hint = (session.token or {}).get("id_token")
        if not isinstance(hint, str):
            raise Trouble("Nobody is signed in.")
        signed_out = Session(csrf=secrets.token_urlsafe(16), done="Signed out.")
        return see_other(self.authorization.sign_out(hint), signed_out, fresh=True)

    def callback(self, session: Session, query: str) -> Reply:
        pending, person = session.pending, None
        try:
            token = self.authorization.finish(pending, query)
            if pending is not None and pending.nonce is not None:
                person = self.authorization.who(token, pending.nonce)
        except Trouble as trouble:
            # A request has one answer: whatever came of it, a second one is not waited for.
            return see_other("/", replace(session, pending=None, trouble=trouble))
        done = "Connected." if person is None else "Signed in."
        connected = Session(csrf=secrets.token_urlsafe(16), token=token, person=person, done=done)
        return see_other("/", connected, fresh=True)

    def refresh(self, session: Session, _form: str) -> Reply:
        former = session.token or {}
        if "refresh_token" not in former:
            raise Trouble("There is no refresh token.")
        token = self.authorization.refresh(former["refresh_token"])
        token.setdefault("refresh_token", former["refresh_token"])
        return see_other("/", replace(session, token=token, done="Refreshed."))

    def revoke(self, session: Session, form: str) -> Reply:
        self.authorization.revoke(chosen(session, form))
        return see_other("/", replace(session, done="Revoked."))

    def introspect(self, session: Session, form: str) -> Reply:
        return see_other("/", replace(session, answer=self.authorization.introspect(chosen(session, form))))


def called(person: Person | None) -> str | None:
    """What to call who signed in; None where nobody did."""
    if person is None:
        return None
    found = next(filter(None, (person.get(claim) for claim in ("name", "nickname", "preferred_username"))), None)
    return str(found or person["sub"])


def actions(token: Token) -> Iterator[tuple[str, str, str]]:
    """The buttons under a token answer: route, member that it is about, words."""
    if "refresh_token" in token:
        yield "refresh", "refresh_token", "Refresh"
    for member, words in (("access_token", "access token"), ("refresh_token", "refresh token")):
        if member in token:
            yield "introspect", member, f"Introspect {words}"
            yield "revoke", member, f"Revoke {words}"


def chosen(session: Session, form: str) -> str:
    """The token that a button is about; raises Trouble where there is none."""
    member = parse_qs(form).get("token", ["access_token"])[0]
    token = (session.token or {}).get(member) if member in ("access_token", "refresh_token") else None
    if not isinstance(token, str):
        raise Trouble("There is no such token.")
    return token


def read_cookie(header: str) -> str | None:
    try:
        cookie = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return None
    return cookie.value if cookie else None


class QuietHandler(WSGIRequestHandler):
    """Writes no request lines: those of the callback hold codes. A silent connection is given up after a while."""

    timeout = 30

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(socketserver.ThreadingMixIn, WSGIServer):
    """One thread for each connection, since browsers open some that they do not use."""

    daemon_threads = True

    def server_bind(self) -> None:
        # The parent looks its own name up, which takes seconds where no name server answers.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


def read_config(source: str) -> Config:
    """Raises SystemExit with a message that names the member at fault."""
    try:
        raw = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
        return msgspec.json.decode(raw, type=Config)
    except (OSError, msgspec.DecodeError) as error:
        raise SystemExit(f"The configuration cannot be read: {error}") from None


def serve(config: Config) -> None:
    """Serves until SIGTERM or SIGINT."""
    at = urlsplit(config.redirect_uri)
    host = config.host if config.host is not None else at.hostname or "127.0.0.1"
    port = config.port if config.port is not None else at.port or 8401
    with Server((host, port), QuietHandler) as server:
        server.set_app(ThirdParty(config))
        for number in (signal.SIGTERM, signal.SIGINT):
            # `shutdown` waits for the loop that this handler interrupts, so it needs a thread of its own.
            signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
        print(f"{config.name} listens on http://{host}:{server.server_port}/", flush=True)
        server.serve_forever(poll_interval=0.1)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m demo.third_party", description="A demo third-party application.")
    parser.add_argument("--config", metavar="FILE", required=True, help="JSON configuration; - for standard input")
    serve(read_config(parser.parse_args(arguments).config))


if __name__ == "__main__":
    main()
