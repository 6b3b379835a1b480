"""`grantlog demo` as a process of a test's own, and what its administrator does before a browser comes."""

import base64
import contextlib
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from commands.clients import vault_name
from eventstore.database.engines import reading
from security.keyring import parse_keyring
from security.vault import Vault
from tests import plain_http
from tests.cli.processes import running
from tests.started import PATIENCE, free_port

PASSWORD = "correct horse battery staple"

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Person:
    username: str
    password: str


@dataclass(frozen=True)
class Demo:
    """The server at `issuer` and the third-party application at `application`; `made` is demo.json."""

    issuer: str
    application: str
    made: dict[str, Any]
    database_url: str
    master_key: str = field(repr=False)
    http: httpx.Client

    @property
    def hosts(self) -> set[str]:
        """The only hosts that a page may talk to."""
        return {self.issuer.removeprefix("http://"), self.application.removeprefix("http://")}

    @property
    def paul(self) -> Person:
        return Person(self.made["person"]["username"], self.made["person"]["password"])

    @property
    def ada(self) -> Person:
        return Person(self.made["administrator"]["username"], self.made["administrator"]["password"])

    @property
    def petra(self) -> Person:
        """Who has a second factor."""
        return Person(self.made["person_with_factor"]["username"], self.made["person_with_factor"]["password"])

    def person(self) -> Person:
        """Somebody new on the platform, who has allowed nothing yet."""
        name = f"visitor{next(_numbers)}"
        self.call("POST", "/admin/people", {"realm": "platform", "username": name, "password": PASSWORD})
        return Person(name, PASSWORD)

    def device(self) -> str:
        """The address that a device of the third party shows, which has just asked."""
        client = self.made["third_party"]
        path = f"{self.issuer}/oauth/device_authorization"
        answer = self.http.post(path, auth=(client["client_id"], client["client_secret"]))
        assert answer.is_success, answer.text
        address: str = answer.json()["verification_uri_complete"]
        return address

    def hidden(self, slug: str) -> tuple[str, str]:
        """The client id of a dashboard, and its secret, which the server keeps in its vault and tells nobody."""
        items = self.call("GET", "/admin/dashboards")["items"]
        client_id: str = next(each["client_id"] for each in items if each["slug"] == slug)
        engine = reading(self.database_url, 1)
        with engine.connect() as connection:
            stored = Vault(parse_keyring(self.master_key)).get_secret(connection, vault_name(client_id))
        engine.dispose()
        assert stored is not None
        return client_id, stored.value.decode()

    def call(self, method: str, path: str, body: Any = None, token: str | None = None) -> Any:
        """One call of the administration, by the demo's service unless another token is given."""
        headers = {"Authorization": f"Bearer {token or self.service_token()}"}
        answer = self.http.request(method, self.issuer + path, json=body, headers=headers)
        assert answer.is_success, answer.text
        return answer.json()

    def service_token(self) -> str:
        service = self.made["service"]
        answer = self.http.post(
            f"{self.issuer}/oauth/token",
            data={"grant_type": "client_credentials"},
            auth=(service["client_id"], service["client_secret"]),
        )
        token: str = answer.json()["access_token"]
        return token


def spellings(client_id: str, secret: str) -> list[bytes]:
    """Everything in which a client's id or secret could hide: both as they are, and both in a header of Basic."""
    basic = base64.b64encode(f"{client_id}:{secret}".encode())
    return [client_id.encode(), secret.encode(), basic, b"glog_cs_", b"client_secret", b"client_id"]


@contextlib.contextmanager
def demonstration(directory: Path, database_url: str | None = None, host: str | None = None) -> Iterator[Demo]:
    """A fresh demo, over a file of its own or over the given database, ready on both its ports; `host` is how browsers
    are to name it."""
    port = str(free_port())
    environment = {
        **({"GRANTLOG_ISSUER": f"http://{host}:{port}"} if host else {}),
        "GRANTLOG_DATA_DIR": str(directory / "data"),
        "GRANTLOG_PORT": port,
        "GRANTLOG_DEMO_PORT": str(free_port()),
        # Pages in a loop are as fast as they can be.
        "GRANTLOG_PERSON_TOKENS_PER_MINUTE": "100000",
        **({"GRANTLOG_DATABASE_URL": database_url} if database_url else {}),
    }
    with (
        running("demo", environment=environment, directory=directory) as server,
        plain_http.client() as http,
    ):
        made = json.loads((directory / "data" / "demo.json").read_text())
        application = f"http://127.0.0.1:{environment['GRANTLOG_DEMO_PORT']}"
        _wait_for(application)
        database_url = database_url or f"sqlite:///{directory / 'data' / 'grantlog.db'}"
        master_key = (directory / "data" / "master.key").read_text().strip()
        demo = Demo(made["issuer"], application, made, database_url, master_key, http)
        yield demo
        assert server.stop() == 0


def _wait_for(application: str) -> None:
    # The server may be ready first. Every retry waits twice as long as the one before.
    with httpx.Client(transport=httpx.HTTPTransport(retries=7, verify=plain_http.NO_TLS), timeout=PATIENCE) as client:
        assert "Paperboat" in client.get(application).text
