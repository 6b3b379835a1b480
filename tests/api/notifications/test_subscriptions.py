"""Settings that say who is told: what is wrong with them is said before any start, and repeats nothing of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from api.config.settings import Settings, effective
from api.environment import SettingsError, load
from api.notifications.channels import destinations
from api.notifications.channels.webhook import webhooks
from api.notifications.message import chosen
from projections.outbox import SECURITY, TYPES, USUAL
from tests.api.notifications.receiver import SECRET

URL = "https://hooks.example/services/T0P-S3CR3T"


def settings(tmp_path: Path, **given: Any) -> Settings:
    if isinstance(given.get("webhooks"), list):
        given["webhooks"] = json.dumps(given["webhooks"])
    return load({}, None, **{"environment": "demo", "data_dir": tmp_path} | given)


@pytest.fixture
def env(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("PAGER_SECRET", SECRET)
    return "PAGER_SECRET"


def test_a_webhook_hears_everything_unless_it_asks_for_less(tmp_path: Path, env: str) -> None:
    found = settings(
        tmp_path,
        webhooks=[
            {"url": URL, "secret_env": env},
            {"url": URL, "secret_env": env, "name": "grants", "types": ["grant.*", "incident.closed"]},
        ],
    )
    everything, some = destinations(found)
    assert (everything.name, everything.types) == ("hooks.example", frozenset(USUAL))
    assert some.types == {"grant.code_replayed", "grant.refresh_replayed", "incident.closed"}


def test_security_team_asks_for_a_set_by_one_word() -> None:
    """Who asks for nothing goes on hearing what they heard."""
    assert chosen(("security",)) == set(SECURITY)
    assert chosen(("security", "*")) == set(TYPES)
    assert {
        *("account.registered", "account.roles_changed", "account.factors_reset", "realm_policy.changed"),
        *("client.updated", "log_key.activated", "server.log_diverged"),
    } <= set(SECURITY)
    assert "client.updated" not in USUAL
    assert chosen(("account.*",)) == {"account.registered", "account.roles_changed", "account.factors_reset"}


def test_secret_file_may_hold_the_next_key_beside_the_present(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"{SECRET}\n{SECRET[:-4]}aaaa\n")
    found = settings(tmp_path, webhooks=[{"url": URL, "secret_file": str(tmp_path / "keys")}])
    (each,) = webhooks(found)
    assert len(each.keys) == 2
    assert repr(each) == "Subscription(hooks.example)"


def test_neither_the_url_nor_a_secret_is_shown(tmp_path: Path, env: str) -> None:
    found = settings(tmp_path, webhooks=[{"url": URL, "secret_env": env}])
    assert "S3CR3T" not in json.dumps(effective(found))
    assert "S3CR3T" not in repr(found)


@pytest.mark.parametrize(
    "given",
    [
        "no json",
        "{}",
        [{"url": URL}],
        [{"url": URL, "secret_env": "PAGER_SECRET", "secret_file": "/x"}],
        [{"url": URL, "secret_env": "NO_SUCH_VARIABLE"}],
        [{"url": URL, "secret_file": "/no/such/file"}],
        [{"url": URL, "secret_env": "TOO_SHORT"}],
        [{"url": URL, "secret_env": "NO_BASE64"}],
        [{"url": URL, "secret_env": "PAGER_SECRET", "types": ["grant.issued"]}],
        [{"url": URL, "secret_env": "PAGER_SECRET", "types": [""]}],
        [{"url": URL, "secret_env": "PAGER_SECRET", "colour": "red"}],
        [{"url": URL, "secret_env": "PAGER_SECRET"}] * 2,
        [{"url": URL, "secret_env": "PAGER_SECRET", "name": "mail"}],
        [{"url": URL.replace("https", "http"), "secret_env": "PAGER_SECRET"}],
        [{"url": "https://user:S3CR3T@hooks.example/", "secret_env": "PAGER_SECRET"}],
        [{"url": "https://hooks.example:port/", "secret_env": "PAGER_SECRET"}],
        [{"url": "ftp://hooks.example/", "secret_env": "PAGER_SECRET"}],
        [{"url": "https:///nowhere", "secret_env": "PAGER_SECRET"}],
    ],
    ids=str,
)
def test_what_cannot_be_used_is_refused_without_being_repeated(
    tmp_path: Path, env: str, monkeypatch: pytest.MonkeyPatch, given: Any
) -> None:
    monkeypatch.setenv("TOO_SHORT", "whsec_c2hvcnQ=")
    monkeypatch.setenv("NO_BASE64", "whsec_a")
    with pytest.raises(SettingsError, match="^GRANTLOG_WEBHOOKS: ") as refused:
        settings(tmp_path, webhooks=given)
    assert "S3CR3T" not in str(refused.value)


@pytest.mark.parametrize(
    ("given", "at_fault"),
    [
        ({"mail_to": "ops@example.test"}, "MAIL_FROM"),
        ({"mail_from": "grantlog@example.test"}, "MAIL_TO"),
        ({"mail_from": "a@b\r\nBcc: c@d", "mail_to": "ops@example.test"}, "MAIL_FROM"),
        ({"mail_from": "a@b", "mail_to": "ops@example.test,nobody"}, "MAIL_TO"),
        ({"mail_from": "a@b", "mail_to": "c@d", "mail_types": "people.*"}, "MAIL_TYPES"),
        ({"mail_from": "a@b", "mail_to": "c@d", "mail_username": "u"}, "MAIL_PASSWORD"),
        (
            {"mail_from": "a@b", "mail_to": "c@d", "mail_username": "u", "mail_password": "p", "mail_tls": "none"},
            "MAIL_TLS",
        ),
    ],
)
def test_mail_needs_all_its_parts(tmp_path: Path, given: dict[str, str], at_fault: str) -> None:
    with pytest.raises(SettingsError, match=f"^GRANTLOG_{at_fault}: "):
        settings(tmp_path, mail_host="mail.example", **given)
