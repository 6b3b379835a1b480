"""Flows of leaks: secrets that are looked at, tried, ended and reported, and words in which there are more of them."""

import json
from base64 import b64encode
from hashlib import sha256
from typing import Any
from urllib.parse import quote

import httpx
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from api.leaks import revoke
from security.tokens import new_id
from tests.scenarios.secrecy.watching import Flows, Step

KEY = generate_private_key(SECP256R1())
KEY_ID = "5f1d"
GITLAB_TOKEN = "shared-with-gitlab-0123456789"


def published() -> bytes:
    """The key as GitHub would publish it, for `GRANTLOG_GITHUB_KEYS_FILE`."""
    own = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return json.dumps({"public_keys": [{"key_identifier": KEY_ID, "key": own, "is_current": True}]}).encode()


class Leaked:
    """A client of which everything leaks: its secret and a token."""

    def __init__(self, client_id: str, secret: str, token: str) -> None:
        self.client_id = client_id
        self.secret = secret
        self.token = token

    @property
    def both(self) -> tuple[str, str]:
        return self.secret, self.token


async def leaked(flows: Flows) -> Leaked:
    """Everything of a new client."""
    body = {"client_name": "Job", "grant_types": ["client_credentials"], "scope": "orders"}
    made = (await flows.admin.post("/admin/clients", json=body)).json()
    auth = (made["client_id"], made["client_secret"])
    answer = await flows.program.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=auth)
    return Leaked(*auth, answer.json()["access_token"])


def wrong(raw: str) -> str:
    """Mistyped: its checksum is that of another one."""
    return raw[:-1] + ("a" if raw[-1] != "a" else "b")


async def investigated(flows: Flows) -> None:
    """By themselves and by digest, one and many, pages and all; and what was mistyped."""
    found = await leaked(flows)
    flows.watch.secrets |= {wrong(raw) for raw in found.both}
    for raw in (*flows.misplaced(), *found.both, *map(wrong, found.both)):
        answer = await flows.admin.post("/leaks/investigate", json={"secret": raw})
        assert answer.status_code == 200, answer.text
        digest = sha256(raw.encode()).hexdigest()
        assert (await flows.admin.post("/leaks/investigate", json={"sha256": digest})).status_code == 200
        for page in ("tokens", "events", "addresses", "people"):
            await flows.admin.get(f"/leaks/investigate/{digest}/{page}")
    items = [{"secret": raw} for raw in flows.known() if len(raw) < 200]
    assert (await flows.admin.post("/leaks/investigate", json={"items": items})).status_code == 200


async def contained(flows: Flows) -> None:
    """Tried, ended with a rotation, tried once more with what is dead; evidence and a note that hold it again."""
    found = await leaked(flows)
    finder = f"{flows.unique('finder-')}@example.test"
    flows.watch.personal.add(finder)
    evidence = f"{finder} saw {found.secret} beside token={found.token}"
    ends = {"secret": found.secret, "rotate": True, "evidence": evidence}
    assert (await flows.admin.post("/leaks/contain", json=ends | {"dry_run": True})).status_code == 200
    key = {"idempotency-key": new_id()}
    done = await flows.admin.post("/leaks/contain", json=ends, headers=key)
    assert done.status_code == 200, done.text
    assert done.json()["client_secret"] in flows.watch.secrets
    repeated = await flows.admin.post("/leaks/contain", json=ends, headers=key)
    assert repeated.json()["client_secret"] is None
    auth = (found.client_id, found.secret)
    await flows.program.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=auth)
    await flows.admin.post("/leaks/contain", json={"secret": found.token})
    place = f"/leaks/incidents/{done.json()['incident_id']}"
    note = {"note": f"{finder} was told that {found.secret} is over"}
    assert (await flows.admin.post(f"{place}/close", json=note)).status_code == 200
    told = (await flows.admin.get(place)).json()
    assert finder in told["evidence"], told
    assert finder in told["note"], told
    assert (await flows.admin.get("/leaks/incidents")).status_code == 200


async def as_user_agents(flows: Flows) -> None:
    """As the name of the program that asks, and of the one that a resource server tells of; the log seals both."""
    found = await leaked(flows)
    auth = (found.client_id, found.secret)
    for raw in sorted({raw for raw in (*flows.misplaced(), *found.both) if raw.startswith("glog_")}):
        encoded = quote(quote(raw.replace("_", "%5F"))), b64encode(f"x:{raw}".encode()).decode()
        for agent in (raw, f"curl/8 ({raw})", *encoded):
            asking: dict[str, Any] = {"auth": auth, "headers": {"user-agent": agent}}
            given = await flows.program.post("/oauth/token", data={"grant_type": "client_credentials"}, **asking)
            token = given.json()["access_token"]
            about = {"token": token, "client_ip": "203.0.113.9", "client_user_agent": agent}
            assert (await flows.program.post("/oauth/introspect", data=about, **asking)).json()["active"]
            told = (await flows.admin.post("/leaks/investigate", json={"secret": token})).json()
            assert [len(each["user_agents"]) for each in told["addresses"]] == [1], told


async def misnamed(flows: Flows) -> None:
    """As the name of anything else that a leak may be known by."""
    for raw in flows.misplaced():
        for name in ("sha256", "client_id", "account_id", "secret_id", "address", "since", raw):
            await flows.admin.post("/leaks/contain", json={name: raw, "dry_run": True})
            await flows.admin.post("/leaks/investigate", json={name: raw} if name != "since" else {"items": [raw]})
        await flows.admin.get("/leaks/incidents", params={"state": raw, "after": raw})
    for raw in [each for each in flows.known() if each.startswith("glog_")][:4]:
        for form in (raw.replace("_", "%255F"), b64encode(raw.encode()).decode()):
            await flows.admin.get(f"/leaks/incidents/{form}")
        for path in (f"/leaks/investigate/{raw}/tokens", f"/leaks/incidents/{raw}", f"/leaks/incidents/{raw}/close"):
            await flows.admin.get(path)
            await flows.admin.post(path, json={})


async def reported(flows: Flows) -> None:
    """By GitHub and GitLab, in addresses too; wrongly signed and well; twice."""
    found = await leaked(flows)
    url = f"https://github.com/octocat/Hello-World/blob/{'1' * 40}/a.txt?x={found.token}"
    report: list[dict[str, Any]] = [
        {"token": raw, "type": "grantlog_client_secret", "url": url, "source": raw} for raw in found.both
    ]
    body = json.dumps(report).encode()
    # GitHub is told again what it said.
    flows.watch.echoed = set(found.both)
    for content in (body + b" ", body, body):
        signature = b64encode(KEY.sign(body, ECDSA(SHA256()))).decode()
        answer = await _deliver(flows, content, signature)
        assert answer.status_code == (200 if content == body else 403), answer.text
    flows.watch.echoed = set()
    for raw in found.both:
        await _deliver(flows, raw.encode(), raw)
    flows.watch.secrets.add(GITLAB_TOKEN)
    for given in (GITLAB_TOKEN, found.token):
        detected = [{"type": "gitleaks_rule_id_grantlog-client-secret", "token": found.secret, "location": url}]
        headers = {"authorization": given}
        assert (await flows.program.post("/leaks/gitlab", json=detected, headers=headers)).status_code in (204, 401)
        await flows.program.post("/leaks/gitlab", json=[detected[0] | {"type": found.secret}], headers=headers)


async def _deliver(flows: Flows, content: bytes, signature: str) -> httpx.Response:
    headers = {"content-type": "application/json", "Github-Public-Key-Identifier": KEY_ID}
    headers["Github-Public-Key-Signature"] = signature
    return await flows.program.post("/leaks/github", content=content, headers=headers)


async def given_back(flows: Flows) -> None:
    """By whoever holds them, with no name."""
    found = await leaked(flows)
    raws = [*found.both, wrong(found.token), flows.person.password]
    flows.watch.secrets |= set(raws)
    for body in ({"credentials": raws}, {"credentials": [raws]}, {"credentials": {found.secret: found.token}}):
        answer = await flows.program.post("/credentials/revoke", json=body)
        assert answer.status_code in (202, 400), answer.text
    await revoke.ended(flows.world.services.ledger)


LEAKS: tuple[Step, ...] = (investigated, contained, as_user_agents, misnamed, reported, given_back)
