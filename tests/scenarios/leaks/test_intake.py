"""Reports by GitHub and GitLab: who may report, what a report ends, and that a repeat does nothing."""

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from api.leaks import address_target, reported_keys, reports
from api.leaks.containment import Containment
from api.leaks.reports import FINDINGS_AT_MOST, Finding, evidence
from commands import signing_keys
from domain import incident
from domain.event import SECOND
from domain.keys import signing_key
from eventstore.mapper import MAX_BYTES
from security import pasted_keys
from security.keyring import Keyring
from security.scanning import TYPES
from security.tokens import Format, Kind
from tests.cases import cases
from tests.scenarios.administration import ok, problem
from tests.scenarios.assertions import made_key, public, register_signer
from tests.scenarios.secrecy.traces import database, holds
from tests.scenarios.world import Client, World, open_world

KEY = generate_private_key(SECP256R1())
KEY_ID = "5f1d"

# GitHub publishes this example, https://docs.github.com/en/code-security/secret-scanning/secret-scanning-partner-program
SAMPLE = b'[{"token":"some_token","type":"some_type","url":"some_url","source":"some_source"}]'
SAMPLE_ID = "f9525bf080f75b3506ca1ead061add62b8633a346606dc5fe544e29231c6ee0d"
SAMPLE_SIGNATURE = "MEUCIFLZzeK++IhS+y276SRk2Pe5LfDrfvTXu6iwKKcFGCrvAiEAhHN2kDOhy2I6eGkOFmxNkOJ+L2y8oQ9A2T9GGJo6WJY="
SAMPLE_KEY = """-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEsz9ugWDj5jK5ELBK42ynytbo38gP
HzZFI03Exwz8Lh/tCfL3YxwMdLjB+bMznsanlhK0RwcGP3IDb34kQDIo3Q==
-----END PUBLIC KEY-----
"""
COMMIT = "12345600b9cbe38a219f39a9941c9319b600c002"
URL = f"https://github.com/octocat/Hello-World/blob/{COMMIT}/foo/bar.txt"
GITLAB_TOKEN = "shared-with-gitlab-0123456789"


def published() -> bytes:
    own = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    keys = [(SAMPLE_ID, SAMPLE_KEY), (KEY_ID, own), ("none", "no key at all")]
    return json.dumps(
        {"public_keys": [{"key_identifier": name, "key": key, "is_current": True} for name, key in keys]}
    ).encode()


@pytest.fixture
def settings_given(tmp_path: Path, request: pytest.FixtureRequest) -> dict[str, Any]:
    file = tmp_path / "github-keys.json"
    file.write_bytes(published())
    return {"github_keys_file": file, "gitlab_token": GITLAB_TOKEN} | getattr(request, "param", {})


def signature(body: bytes) -> str:
    return b64encode(KEY.sign(body, ECDSA(SHA256()))).decode()


async def deliver(
    world: World, body: bytes, *, identifier: str | None = KEY_ID, signed: str | None = None
) -> httpx.Response:
    headers = {"content-type": "application/json"}
    if identifier is not None:
        headers["Github-Public-Key-Identifier"] = identifier
    if signed != "":
        headers["Github-Public-Key-Signature"] = signature(body) if signed is None else signed
    return await world.client.post("/leaks/github", content=body, headers=headers)


def report(*raws: str, url: str = URL) -> bytes:
    return json.dumps(
        [{"token": raw, "type": "grantlog_access_token", "url": url, "source": "content"} for raw in raws]
    ).encode()


async def issue(world: World) -> tuple[Client, str]:
    client = await world.register_client(grant_types=("client_credentials",), scope=("catalog:read",))
    answer = await world.client.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=client.auth)
    return client, answer.json()["access_token"]


async def is_active(world: World, client: Client, raw: str) -> bool:
    answer = await world.client.post("/oauth/introspect", data={"token": raw}, auth=client.auth)
    assert answer.status_code == 200, answer.text
    active: bool = answer.json()["active"]
    return active


async def incidents(world: World) -> list[str]:
    return [each.type for each in await world.events("incident.*")]


async def unsealed(world: World, state: incident.State) -> str:
    text = await world.services.ledger.unseal(state.evidence)
    assert text is not None
    return text


async def test_githubs_own_example_is_taken(world: World) -> None:
    answer = await deliver(world, SAMPLE, identifier=SAMPLE_ID, signed=SAMPLE_SIGNATURE)
    assert answer.status_code == 200, answer.text
    assert answer.json() == [{"token_raw": "some_token", "token_type": "some_type", "label": "false_positive"}]
    assert await incidents(world) == []


async def test_a_private_half_of_an_own_key_is_an_alarm(world: World) -> None:
    ledger = world.services.ledger
    keys: signing_key.State = await ledger.state(signing_key.STREAM)
    key_id = keys.active["ES256"]
    private = await ledger.read(signing_keys.private_half, ledger.vault, key_id)
    assert private is not None
    body = report(json.dumps(keys.keys[key_id].jwk), private.decode())
    for _ in range(2):
        labels = [each["label"] for each in (await deliver(world, body)).json()]
        assert labels == ["false_positive", "true_positive"]
    (exposed,) = await world.events("signing_key.exposed")
    assert (exposed.event.key_id, exposed.actor.credential) == (key_id, {"intake": "github"})


@pytest.mark.parametrize("settings_given", [{"leaks_contain": ("cs",)}, {"leaks_contain": ("at",)}], indirect=True)
async def test_a_clients_private_key_is_ended_like_its_secret(world: World) -> None:
    leaked = made_key("ES256", "leaked")
    signer = await register_signer(world, leaked)
    client = await world.register_client("API", grant_types=("client_credentials",), scope=("introspect",))
    given = ok(await signer.ask())["access_token"]
    assert await is_active(world, client, given)
    # Who shows a public half shows what everybody may know; a half that is not its own proves nothing.
    other = made_key("ES256", "other").as_dict(private=True)["d"]
    for shown in (json.dumps(public(leaked)), json.dumps(public(leaked) | {"d": other})):
        assert [each["label"] for each in (await deliver(world, report(shown))).json()] == ["false_positive"]
    assert await incidents(world) == []
    ends = "cs" in world.services.settings.leaks_contain
    body = report(leaked.as_pem(private=True).decode())
    for _ in range(2):
        assert [each["label"] for each in (await deliver(world, body)).json()] == ["true_positive"]
        await address_target.settle(world.services.ledger)
    told = ["incident.reported", "incident.identified", "incident.contained"]
    assert await incidents(world) == (told if ends else told[:2])
    (reported,) = await world.events("incident.reported")
    assert (reported.event.kind, reported.event.sha256) == ("key", pasted_keys.hex_of(leaked.thumbprint()))
    assert await is_active(world, client, given) is not ends
    assert (await signer.ask()).status_code == (401 if ends else 200)


@pytest.mark.parametrize("settings_given", [{"leaks_contain": ("cs",)}], indirect=True)
@pytest.mark.parametrize("used", [False, True])
async def test_key_whose_report_is_broken_off_looks_contained(
    world: World, monkeypatch: pytest.MonkeyPatch, used: bool
) -> None:
    leaked = made_key("ES256", "leaked")
    signer = await register_signer(world, leaked)
    if used:
        ok(await signer.ask())

    def lost(_: Containment) -> Any:
        raise ConnectionError

    with monkeypatch.context() as killed:
        killed.setattr(Containment, "commands", lost)
        assert (await deliver(world, report(leaked.as_pem(private=True).decode()))).status_code == 500
    # What it had ended is told by whichever process comes next; of nothing there is nothing to tell.
    if used:
        assert await incidents(world) == ["incident.reported", "incident.identified"]
    world.clock.advance(address_target.LEFT_AFTER // SECOND + 1)
    await address_target.resume_settling(world.services.ledger)
    assert await incidents(world) == ["incident.reported", "incident.identified", "incident.contained"]
    (contained,) = await world.events("incident.contained")
    assert (contained.event.numbers.secrets_ended, contained.event.numbers.tokens_ended) == (0, 1) if used else (1, 0)


async def test_what_fails_about_a_key_keeps_no_secret_alive(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    client, raw = await issue(world)

    async def fails(*_: object) -> None:
        raise ValueError

    monkeypatch.setattr(reported_keys, "held", fails)
    answer = await deliver(world, report(json.dumps({"kty": "EC", "d": raw})))
    assert answer.status_code == 500
    assert not await is_active(world, client, raw)


async def test_index_far_behind_keeps_no_secret_alive(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    client, raw = await issue(world)
    key = made_key("ES256", "leaked").as_pem(private=True).decode()
    monkeypatch.setattr(reported_keys, "CATCHING_UP", 0)
    problem(await deliver(world, report(f"{key}\n{raw}")), 503)
    assert not await is_active(world, client, raw)


@cases(
    ("change", "status"),
    [
        ({"signed": ""}, 401),
        ({"identifier": None}, 401),
        ({"identifier": "nobody's"}, 403),
        ({"identifier": SAMPLE_ID}, 403),
        ({"signed": "not base64!"}, 403),
        ({"signed": SAMPLE_SIGNATURE}, 403),
        ({"signed": b64encode(b"not DER").decode()}, 403),
    ],
)
async def test_what_github_did_not_sign_changes_nothing(world: World, change: dict[str, Any], status: int) -> None:
    client, raw = await issue(world)
    before = await world.head()
    answer = await deliver(world, report(raw), **change)
    assert answer.status_code == status
    assert await world.head() == before
    assert await is_active(world, client, raw)


async def test_one_changed_octet_breaks_the_signature(world: World) -> None:
    _, raw = await issue(world)
    body = report(raw)
    before = await world.head()
    for changed in (body + b" ", body.replace(b"content", b"comment"), b" " + body):
        assert (await deliver(world, changed, signed=signature(body))).status_code == 403
    assert await world.head() == before


async def test_a_reported_token_is_ended_and_the_incident_tells(world: World) -> None:
    client, raw = await issue(world)
    answer = await deliver(world, report(raw))
    assert answer.json() == [{"token_raw": raw, "token_type": "grantlog_access_token", "label": "true_positive"}]
    assert await incidents(world) == ["incident.reported", "incident.identified", "incident.contained"]
    reported, identified, contained = await world.events("incident.*")
    assert reported.event.source == "github"
    assert reported.event.sha256 == world.services.format.read(raw).hex
    assert identified.event.client_id == client.client_id
    assert contained.event.numbers.tokens_ended == 1
    assert "octocat" not in reported.event.evidence
    state = await world.services.ledger.state(reported.stream)
    told = json.loads(await unsealed(world, state))
    assert told == {"url": URL, "source": "content", "repository": "octocat/Hello-World", "commit": COMMIT}
    assert not await is_active(world, client, raw)


async def test_a_repeated_delivery_changes_nothing(world: World) -> None:
    _, raw = await issue(world)
    body = report(raw, raw)
    first = await deliver(world, body)
    before = await world.head()
    assert (await deliver(world, body)).json() == first.json()
    assert await world.head() == before
    assert (await incidents(world)).count("incident.reported") == 1


async def test_client_secret_is_only_reported_by_default(world: World) -> None:
    client, _ = await issue(world)
    assert (await deliver(world, report(client.auth[1]))).json()[0]["label"] == "true_positive"
    assert await incidents(world) == ["incident.reported", "incident.identified"]
    answer = await world.client.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=client.auth)
    assert answer.status_code == 200


async def test_the_setting_ends_client_secrets_too(
    database_url: str, tmp_path: Path, keyring: Keyring, settings_given: dict[str, Any]
) -> None:
    given = settings_given | {"leaks_contain": "cs"}
    async with open_world(database_url, tmp_path, keyring, **given) as world:
        asking, _ = await issue(world)
        client, raw = await issue(world)
        await deliver(world, report(raw, client.auth[1]))
        contained = await world.events("incident.contained")
        assert [each.event.numbers.secrets_ended for each in contained] == [1]
        assert not await is_active(world, asking, raw)
        answer = await world.client.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=client.auth)
        assert answer.status_code == 401


async def test_what_was_never_issued_is_a_false_positive(world: World) -> None:
    raw = world.services.format.mint(Kind.ACCESS_TOKEN).reveal()
    assert (await deliver(world, report(raw))).json()[0]["label"] == "false_positive"
    assert await incidents(world) == ["incident.reported"]


async def test_no_secret_in_an_address_is_kept(world: World, database_url: str) -> None:
    _, raw = await issue(world)
    _, other = await issue(world)
    await deliver(world, report(raw, url=f"https://paste.example/?a={raw}&b={other}"))
    (reported,) = await world.events("incident.reported")
    state = await world.services.ledger.state(reported.stream)
    told = await unsealed(world, state)
    assert raw not in told
    assert other not in told
    for name, content in database(database_url):
        assert not holds(content, raw), name
        assert not holds(content, other), name


LONG = ("é" * 1_400, '"' * 2_000, "文" * 300, "😀" * 1_990, "\\" * 2_000, "\1" * 4_000, "\U0010ffff" * 4_000)
"""What takes more octets, or more characters in JSON, than it has characters."""


@pytest.mark.parametrize("long", LONG, ids=lambda long: f"{len(long)} times {long[0]!a}")
async def test_a_place_of_any_characters_keeps_no_secret_alive(world: World, long: str) -> None:
    asking, raw = await issue(world)
    its_own, other = await issue(world)
    found = json.dumps([{"token": raw, "type": "t", "url": long, "source": long}]).encode()
    assert (await deliver(world, found)).json()[0]["label"] == "true_positive"
    headers, kind = {"authorization": GITLAB_TOKEN}, "gitleaks_rule_id_grantlog-access-token"
    detected = [{"type": kind, "token": other, "location": long}]
    assert (await world.client.post("/leaks/gitlab", json=detected, headers=headers)).status_code == 204
    assert not await is_active(world, asking, raw)
    assert not await is_active(world, its_own, other)
    for reported in await world.events("incident.reported"):
        told = json.loads(await unsealed(world, await world.services.ledger.state(reported.stream)))
        assert {each for each in told.values() if long.startswith(each)} == set(told.values())
        assert all(len(each) > 300 or each == long for each in told.values())


def test_the_longest_evidence_fits_into_an_event_sealed() -> None:
    url = f"https://github.com/{'😀' * 1_000}/{'😀' * 1_000}/blob/{'1' * 64}/{'😀' * 2_000}"
    format_ = Format("glog")
    for written in (
        evidence(format_, Finding("x", url, "😀" * 4_000)),
        evidence(format_, Finding("x", LONG[5], LONG[5])),
    ):
        assert len(written) <= incident.EVIDENCE_MAXIMUM
        assert json.loads(written)
    # Sealed text is base64 with a few words before it; three quarters of an event are left for the rest of it.
    assert len("😀".encode() * incident.EVIDENCE_MAXIMUM) * 4 // 3 < MAX_BYTES * 3 // 4


async def test_what_goes_wrong_with_one_finding_keeps_no_other_alive(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking, raw = await issue(world)
    its_own, spared = await issue(world)

    def faulty(format_: Format, finding: Finding) -> str:
        return "x" * (incident.EVIDENCE_MAXIMUM + 1) if finding.raw == spared else evidence(format_, finding)

    body, kind = report(spared, raw), "gitleaks_rule_id_grantlog-access-token"
    detected = [{"type": kind, "token": each, "location": "a"} for each in (spared, raw)]
    with monkeypatch.context() as failing:
        failing.setattr(reports, "evidence", faulty)
        assert (await deliver(world, body)).status_code == 500
        assert not await is_active(world, asking, raw)
        answer = await world.client.post("/leaks/gitlab", json=detected, headers={"authorization": GITLAB_TOKEN})
        assert answer.status_code == 500
    assert await is_active(world, its_own, spared)
    assert len(await world.events("incident.contained")) == 2
    # Whoever is told that something went wrong delivers once more.
    assert [each["label"] for each in (await deliver(world, body)).json()] == ["true_positive", "true_positive"]
    assert not await is_active(world, its_own, spared)
    assert len(await world.events("incident.contained")) == 3


async def test_a_body_that_is_no_report_is_a_400(world: World) -> None:
    for body in (b"{}", b"[1]", b'[{"token": 1}]', b"no JSON"):
        assert (await deliver(world, body)).status_code == 400, body


async def test_github_is_throttled_like_everybody(
    sqlite_url: str, tmp_path: Path, keyring: Keyring, settings_given: dict[str, Any]
) -> None:
    async with open_world(sqlite_url, tmp_path, keyring, **settings_given, public_burst=2) as world:
        statuses = [(await deliver(world, b"[]", signed="")).status_code for _ in range(3)]
    assert statuses == [401, 401, 429]


async def test_a_flood_at_one_intake_silences_no_other(
    sqlite_url: str, tmp_path: Path, keyring: Keyring, settings_given: dict[str, Any]
) -> None:
    async with open_world(sqlite_url, tmp_path, keyring, **settings_given, public_burst=1) as world:

        async def statuses() -> list[int]:
            answers = [
                await deliver(world, b"[]", signed=""),
                await world.client.post("/leaks/gitlab", json=[], headers={"authorization": GITLAB_TOKEN}),
                await world.client.post("/credentials/revoke", json={"credentials": []}),
                await world.client.get("/log/vkey"),
            ]
            return [answer.status_code for answer in answers]

        assert await statuses() == [401, 204, 202, 200]
        assert await statuses() == [429] * 4


async def test_without_keys_nothing_is_taken(sqlite_url: str, tmp_path: Path, keyring: Keyring) -> None:
    async with open_world(sqlite_url, tmp_path, keyring) as world:
        assert (await deliver(world, SAMPLE, identifier=SAMPLE_ID, signed=SAMPLE_SIGNATURE)).status_code == 403
        headers = {"authorization": GITLAB_TOKEN}
        assert (await world.client.post("/leaks/gitlab", json=[], headers=headers)).status_code == 403


# GitLab -----------------------------------------------------------------------------------------------------------


async def test_gitlab_ends_what_it_names(world: World) -> None:
    client, raw = await issue(world)
    asking, _ = await issue(world)
    headers = {"authorization": GITLAB_TOKEN}
    types = (await world.client.get("/leaks/gitlab/types", headers=headers)).json()["types"]
    assert len(types) == len(TYPES)
    detected = [
        {"type": "gitleaks_rule_id_grantlog-access-token", "token": raw, "location": "https://gitlab.example/a"},
        {"type": "gitleaks_rule_id_grantlog-client-secret", "token": client.auth[1], "location": ""},
    ]
    for _ in range(2):
        answer = await world.client.post("/leaks/gitlab", json=detected, headers=headers)
        assert answer.status_code == 204
        assert not answer.content
    assert [each.event.source for each in await world.events("incident.reported")] == ["gitlab", "gitlab"]
    assert not await is_active(world, asking, raw)


@cases("given", [None, "", "wrong", "Bearer wrong", GITLAB_TOKEN[:-1]])
async def test_wrong_gitlab_token_learns_and_changes_nothing(world: World, given: str | None) -> None:
    _, raw = await issue(world)
    before = await world.head()
    headers = {} if given is None else {"authorization": given}
    detected = [{"type": "gitleaks_rule_id_grantlog-access-token", "token": raw}]
    assert (await world.client.post("/leaks/gitlab", json=detected, headers=headers)).status_code == 401
    assert (await world.client.get("/leaks/gitlab/types", headers=headers)).status_code == 401
    assert await world.head() == before


async def test_an_unknown_type_is_refused_as_a_whole(world: World) -> None:
    client, raw = await issue(world)
    detected = [
        {"type": "gitleaks_rule_id_grantlog-access-token", "token": raw},
        {"type": "gitleaks_rule_id_other", "token": raw},
    ]
    answer = await world.client.post("/leaks/gitlab", json=detected, headers={"authorization": GITLAB_TOKEN})
    assert answer.status_code == 400
    assert await is_active(world, client, raw)


async def test_a_report_of_too_many_findings_is_refused(world: World) -> None:
    many = [{"type": "x", "token": "x"}] * (FINDINGS_AT_MOST + 1)
    headers = {"authorization": GITLAB_TOKEN}
    problem(await world.client.post("/leaks/gitlab", json=many, headers=headers), 400, field="body")
    problem(await deliver(world, json.dumps(many).encode()), 400, field="body")
    # One less is read, and then refused for what it says.
    problem(await world.client.post("/leaks/gitlab", json=many[1:], headers=headers), 400, field="[0].type")
