"""The samples of `docs/proxies.md` for nginx and Caddy, as they stand there, before a server that is real.

Only what is another machine's is put in: ports, and a certificate that is made here.
"""

import re
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import DEVNULL
from typing import Any, NamedTuple

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from security.keyring import new_master_key
from tests.cli.processes import Running, running
from tests.started import PATIENCE, end, free_port, program, start

is_id = re.compile(r"[0-9A-Za-z]{22}").fullmatch

PAGE = (Path(__file__).parents[2] / "docs" / "proxies.md").read_text(encoding="utf-8")
NAME = "login.example.com"
ONE, OTHER = "127.0.0.2", "127.0.0.3"
BURST = 5
"""Requests to public endpoints that one address may make at once. Further ones come back with each second."""
MANY = range(200)
"""More than a slow machine's test makes before it has made them faster than they come back."""


def sample(language: str) -> str:
    """The one block of that language on the page."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    return str(found)


def put(text: str, *replaced: tuple[str, str]) -> str:
    """The text with each of these put in once, which fails when the sample has another one by now."""
    for before, after in replaced:
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    return text


class Certificate(NamedTuple):
    """A self-signed one for `NAME`."""

    chain: Path
    key: Path


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    directory = tmp_path_factory.mktemp("certificate")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    found = Certificate(directory / "chain.pem", directory / "key.pem")
    found.chain.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    found.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return found


class Caller(httpx.Client):
    """Asks for `NAME` in the handshake, whatever the address."""

    def request(self, method: str, url: Any, **given: Any) -> httpx.Response:
        return super().request(method, url, **(given | {"extensions": {"sni_hostname": NAME}}))


class Proxy(NamedTuple):
    """A proxy that listens on loopback, and the certificate that it shows."""

    port: int
    certificate: Certificate

    @contextmanager
    def caller(self, address: str) -> Iterator[Caller]:
        """A program at one of this machine's addresses."""
        trusted = ssl.create_default_context(cafile=str(self.certificate.chain))
        transport = httpx.HTTPTransport(verify=trusted, local_address=address)
        with Caller(
            transport=transport,
            base_url=f"https://127.0.0.1:{self.port}",
            headers={"host": NAME},
            timeout=PATIENCE,
        ) as client:
            yield client


@pytest.fixture(scope="module")
def server(module_sqlite_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    directory = tmp_path_factory.mktemp("server")
    environment = {
        "GRANTLOG_PORT": str(free_port()),
        "GRANTLOG_ISSUER": f"https://{NAME}",
        "GRANTLOG_DATABASE_URL": module_sqlite_url,
        "GRANTLOG_DATA_DIR": str(directory),
        "GRANTLOG_MASTER_KEY": new_master_key(),
        "GRANTLOG_TRUSTED_PROXIES": "127.0.0.1",
        "GRANTLOG_PUBLIC_BURST": str(BURST),
        "GRANTLOG_PUBLIC_RATE": "1",
        # The proxy's own connections are more than this part of them.
        "GRANTLOG_CONNECTIONS": "64",
        "GRANTLOG_ADDRESS_SHARE": "0.02",
    }
    with running("serve", environment=environment, directory=directory) as served:
        yield served


def nginx(server: Running, certificate: Certificate, directory: Path, port: int) -> list[str]:
    """The command that starts nginx with the page's sample."""
    site = put(
        sample("nginx"),
        ("server 127.0.0.1:8400;", f"server 127.0.0.1:{server.port};"),
        ("listen 443 ssl http2;", f"listen 127.0.0.1:{port} ssl http2;"),
        (f"/etc/ssl/{NAME}.pem", str(certificate.chain)),
        (f"/etc/ssl/{NAME}.key", str(certificate.key)),
    )
    paths = "".join(
        f"{kind}_temp_path {directory / kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = directory / "nginx.conf"
    config.write_text(
        f"daemon off;\nmaster_process off;\npid {directory}/nginx.pid;\nerror_log {directory}/error.log;\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{paths}{site}}}\n"
    )
    return [program("nginx"), "-e", str(directory / "error.log"), "-p", str(directory), "-c", str(config)]


def caddy(server: Running, certificate: Certificate, directory: Path, port: int) -> list[str]:
    """The command that starts Caddy with the page's sample."""
    config = directory / "Caddyfile"
    config.write_text(
        put(
            sample("caddyfile"),
            ("{\n    servers {", "{\n    admin off\n    auto_https off\n    servers {"),
            (f"{NAME} {{\n", f"https://{NAME}:{port} {{\n    tls {certificate.chain} {certificate.key}\n"),
            ("127.0.0.1:8400", f"127.0.0.1:{server.port}"),
        )
    )
    return [program("caddy"), "run", "--config", str(config), "--adapter", "caddyfile"]


@pytest.fixture(params=[nginx, caddy], ids=["nginx", "caddy"])
def proxy(request: pytest.FixtureRequest, server: Running, certificate: Certificate, tmp_path: Path) -> Iterator[Proxy]:
    port = free_port()
    command = request.param(server, certificate, tmp_path, port)
    with (tmp_path / "printed").open("wb") as printed:
        environment = {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
        process = start(command, env=environment, cwd=tmp_path, stdin=DEVNULL, stdout=printed, stderr=printed)
    try:
        for _ in range(PATIENCE * 20):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, (tmp_path / "printed").read_text()
            time.sleep(0.05)
        yield Proxy(port, certificate)
    finally:
        end(process)


def test_requests_come_through_with_their_id_and_answers_back(proxy: Proxy) -> None:
    with proxy.caller(ONE) as caller:
        answer = caller.get("/health/ready")
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
        # The proxy made the id, and its log has it too.
        assert re.fullmatch(r"[0-9a-f-]{32,36}", answer.headers["x-request-id"])
        assert not is_id(answer.headers["x-request-id"])
        # Nobody outside chooses it.
        sent = caller.get("/health/live", headers={"x-request-id": "chosen-outside"})
        assert sent.headers["x-request-id"] != "chosen-outside"
        assert answer.headers["strict-transport-security"]
        assert caller.get("/metrics").status_code == 404
        for _ in range(20):
            assert caller.get("/health/live").status_code == 200


def test_an_address_is_the_callers_own_whatever_it_writes(proxy: Proxy) -> None:
    forged = {"x-forwarded-for": OTHER, "forwarded": f"for={OTHER}"}
    form = {"credentials": []}
    with proxy.caller(ONE) as caller, proxy.caller(OTHER) as other:
        # Whatever it writes, it is one caller, who soon has made as many requests as one may.
        for headers in (forged, {}):
            assert any(caller.post("/credentials/revoke", json=form, headers=headers).status_code == 429 for _ in MANY)
        # None of them was counted for the other one, nor for the proxy.
        assert other.post("/credentials/revoke", json=form).status_code == 202


def test_large_heads_pass_and_too_large_bodies_are_refused(proxy: Proxy) -> None:
    with proxy.caller(ONE) as caller:
        assert caller.get("/health/live", headers={"x-long": "x" * 20_000}).status_code == 200
        answer = caller.post("/oauth/token", data={"grant_type": "x" * 100_000})
        assert (answer.status_code, answer.json()["error"]) == (413, "invalid_request")
        # One that the proxy lets through, and one that it does not.
        for size in (1_900_000, 3_000_000):
            assert caller.post("/oauth/token", content=b"x" * size).status_code == 413
        assert caller.get("/health/live", headers={"x-long": "x" * 80_000}).status_code in (400, 431)


def test_an_idle_connection_of_the_proxy_can_be_used_again(proxy: Proxy) -> None:
    with proxy.caller(ONE) as caller:
        for _ in range(3):
            assert caller.post("/oauth/token", data={"grant_type": "odd"}).status_code in (400, 401)
