"""`deploy/monitoring`: each alert comes with its cause and none without, and all ask for numbers that there are."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

from api.server.metrics import Metrics
from tests.api.server.test_metrics import STANDING
from tests.deploy.conftest import DEPLOY, ROOT
from tests.started import program

ALERTS = DEPLOY / "monitoring" / "alerts.yaml"
DASHBOARD = DEPLOY / "monitoring" / "dashboard.json"

WELL = {
    'up{job="grantlog"}': "1x150",
    'grantlog_database_up{job="grantlog"}': "1x150",
    'grantlog_log_diverged{job="grantlog"}': "0x150",
    'grantlog_log_forged{job="grantlog"}': "0x150",
    'grantlog_projections_differing{job="grantlog"}': "0x150",
    'grantlog_log_archive_away{job="grantlog"}': "0x150",
    'grantlog_issuer_alarms{job="grantlog",issuer="https://b.example",alarm="forged"}': "0x150",
    'grantlog_requests_total{job="grantlog",status="2xx"}': "0+6000x150",
    'grantlog_requests_total{job="grantlog",status="5xx"}': "0x150",
    'grantlog_request_seconds_bucket{job="grantlog",route="/oauth/token",le="0.5"}': "0+6000x150",
    'grantlog_request_seconds_bucket{job="grantlog",route="/oauth/token",le="2.5"}': "0+6000x150",
    'grantlog_request_seconds_bucket{job="grantlog",route="/oauth/token",le="+Inf"}': "0+6000x150",
    'grantlog_replays_total{job="grantlog",kind="code"}': "0x150",
    'grantlog_sign_ins_total{job="grantlog",outcome="failed"}': "0+6x150",
    'grantlog_sign_ins_total{job="grantlog",outcome="succeeded"}': "0+600x150",
    'grantlog_refusals_total{job="grantlog",error="invalid_client",reason="unknown"}': "0+6x150",
    'grantlog_incidents_open{job="grantlog"}': "0x150",
    'grantlog_secrets_expiring{job="grantlog"}': "0x150",
    'grantlog_lag_events{job="grantlog",follower="event_index"}': "40x150",
    'grantlog_outbox_dead{job="grantlog"}': "0x150",
    'grantlog_outbox_undistributed{job="grantlog"}': "3x150",
    'grantlog_letters_oldest_seconds{job="grantlog"}': "4x150",
    'grantlog_letters_given_up_total{job="grantlog"}': "0x150",
    'grantlog_log_witnesses_short{job="grantlog"}': "0x150",
}
"""A server that does well for two hours and a half, a sample each minute."""

CAUSES = {
    "GrantlogLogDiverged": {"grantlog_log_diverged": "1x150"},
    "GrantlogLogForged": {"grantlog_log_forged": "1x150"},
    "GrantlogProjectionsDiffer": {"grantlog_projections_differing": "2x150"},
    "GrantlogArchiveAway": {"grantlog_log_archive_away": "1x150"},
    "GrantlogIssuerAlarm": {"grantlog_issuer_alarms": "1x150"},
    "GrantlogDatabaseAway": {"grantlog_database_up": "0x150"},
    "GrantlogDown": {"up": "0x150"},
    "GrantlogErrors": {'grantlog_requests_total{job="grantlog",status="5xx"': "0+120x150"},
    "GrantlogSlow": {'grantlog_request_seconds_bucket{job="grantlog",route="/oauth/token",le="0.5"': "0+5000x150"},
    "GrantlogReplays": {"grantlog_replays_total": "0x110 1x40"},
    "GrantlogGuessing": {
        'grantlog_sign_ins_total{job="grantlog",outcome="failed"': "0+1200x150",
        'grantlog_sign_ins_total{job="grantlog",outcome="succeeded"': "0+60x150",
    },
    "GrantlogClientsRefused": {"grantlog_refusals_total": "0+120x150"},
    "GrantlogIncidentOpen": {"grantlog_incidents_open": "1x150"},
    "GrantlogSecretsExpiring": {"grantlog_secrets_expiring": "1x150"},
    "GrantlogLagging": {"grantlog_lag_events": "20000x150"},
    "GrantlogNotTold": {"grantlog_outbox_dead": "1x150"},
    "GrantlogMailWaits": {"grantlog_letters_oldest_seconds": "1000x150"},
    "GrantlogWitnessesShort": {"grantlog_log_witnesses_short": "1x150"},
}
"""By alert, the beginnings of the series that are otherwise then."""


JOB = {"job": "grantlog"}
LABELS = {
    "GrantlogIssuerAlarm": JOB | {"issuer": "https://b.example", "alarm": "forged"},
    "GrantlogReplays": JOB | {"kind": "code"},
    "GrantlogLagging": JOB | {"follower": "event_index"},
}


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def case(alert: str | None, causes: dict[str, str]) -> dict[str, Any]:
    """A case for promtool: two hours after the cause this alert is there, and no other."""
    series = dict(WELL)
    for beginning, values in causes.items():
        (name,) = [name for name in series if name.startswith(beginning + ("" if "{" in beginning else "{"))]
        series[name] = values
    found = {rule["alert"]: rule for rule in rules()}
    expected = []
    for name, rule in found.items():
        fires = [{"exp_labels": LABELS.get(name, JOB) | rule["labels"], "exp_annotations": rule["annotations"]}]
        expected.append({"eval_time": "2h", "alertname": name, "exp_alerts": fires if name == alert else []})
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": expected,
    }


def test_each_alert_comes_with_its_cause_and_none_without(tmp_path: Path) -> None:
    assert set(CAUSES) == {rule["alert"] for rule in rules()}
    cases = [case(None, {}), *(case(alert, causes) for alert, causes in CAUSES.items())]
    file = tmp_path / "alerts_test.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": cases}))
    ran = subprocess.run([program("promtool"), "test", "rules", file], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_every_runbook_is_a_place_in_the_documents() -> None:
    for rule in rules():
        page, _, place = rule["annotations"]["runbook"].partition("#")
        headings = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
        assert not place or place in {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}


def test_alerts_and_dashboard_ask_for_numbers_that_there_are(tmp_path: Path) -> None:
    metrics = Metrics()
    # Told where there are further issuers, and nowhere else.
    assert metrics.of_issuers is not None
    told = set(re.findall(r"^# TYPE (\w+)", metrics.text("1", STANDING).decode(), re.MULTILINE)) | {"up"}
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    asked = [target["expr"] for panel in panels for target in panel["targets"]]
    for expression in (*asked, *(rule["expr"] for rule in rules())):
        named = {
            re.sub("_(bucket|sum|count)$", "", each) for each in re.findall(r"\b(?:grantlog_\w+|up)\b", expression)
        }
        assert named <= told, expression
    assert len({panel["id"] for panel in panels}) == len(panels)
    # As rules, Prometheus itself reads what the dashboard asks.
    written = [{"record": f"panel:{at}", "expr": text} for at, text in enumerate(asked)]
    file = tmp_path / "dashboard.yaml"
    text = yaml.safe_dump({"groups": [{"name": "dashboard", "rules": written}]})
    file.write_text(text.replace("$__rate_interval", "5m").replace("$job", "grantlog"))
    ran = subprocess.run([program("promtool"), "check", "rules", file], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
