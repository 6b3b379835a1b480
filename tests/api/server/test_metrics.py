"""What is counted reaches Prometheus' text exactly once, under labels that no caller can choose."""

import subprocess
import sys

import pytest
from prometheus_client.parser import text_string_to_metric_families

from api.server.board import prepare_directory
from api.server.log_standing import LogStanding
from api.server.metrics import Metrics, Spread

STANDING = LogStanding(
    position=7,
    time=1,
    lag={"log_tree": 2},
    incidents_open=1,
    secrets_expiring=3,
    outbox_undistributed=4,
    outbox_waiting=5,
    outbox_dead=6,
    letters_waiting=7,
    letters_oldest_seconds=8.5,
    projections_differing=0,
)


def samples(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """The values by name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def test_a_request_is_counted_once_however_often_it_is_written(metrics):
    metrics.request("/oauth/token", "POST", 200, 0.003)
    metrics.write(0)
    metrics.write(0)
    metrics.request("/oauth/token", "POST", 201, 0.3)
    metrics.write(0)
    found = samples(metrics.text("1", STANDING))
    labels = (("method", "POST"), ("route", "/oauth/token"), ("status", "2xx"))
    assert found["grantlog_requests_total", labels] == 2
    route = ("route", "/oauth/token")
    assert found["grantlog_request_seconds_count", (route,)] == 2
    assert found["grantlog_request_seconds_sum", (route,)] == pytest.approx(0.303)
    assert found["grantlog_request_seconds_bucket", (("le", "0.0025"), route)] == 0
    assert found["grantlog_request_seconds_bucket", (("le", "0.005"), route)] == 1
    assert found["grantlog_request_seconds_bucket", (("le", "+Inf"), route)] == 2


def test_labels_are_bounded_whatever_is_sent(metrics):
    for number in range(100):
        metrics.request(None, f"M{number}", 404, 0.001)
    metrics.request(None, "GET", None, 0.001)
    metrics.write(0)
    found = {
        key: value for key, value in samples(metrics.text("1", STANDING)).items() if key[0] == "grantlog_requests_total"
    }
    assert found == {
        ("grantlog_requests_total", (("method", "(other)"), ("route", "(none)"), ("status", "4xx"))): 100,
        ("grantlog_requests_total", (("method", "GET"), ("route", "(none)"), ("status", "5xx"))): 1,
    }


def test_memory_is_bounded_whatever_methods_are_sent(metrics):
    for number in range(1000):
        metrics.request(None, f"M{number}", 404, 0.001)
    assert len(metrics._took) == 1


def test_batches_throttling_and_passwords(metrics):
    metrics.batch(1)
    metrics.batch(40)
    metrics.throttled("sign_in_pair")
    metrics.write(3)
    found = samples(metrics.text("2.1", STANDING))
    assert found["grantlog_batch_commands_sum", ()] == 41
    assert found["grantlog_batch_commands_bucket", (("le", "1.0"),)] == 1
    assert found["grantlog_throttled_total", (("rule", "sign_in_pair"),)] == 1
    assert found["grantlog_passwords_waiting", ()] == 3
    assert found["grantlog_log_position", ()] == 7
    assert found["grantlog_lag_events", (("follower", "log_tree"),)] == 2
    counted = ("incidents_open", "secrets_expiring", "outbox_undistributed", "outbox_waiting", "outbox_dead")
    assert [found[f"grantlog_{name}", ()] for name in counted] == [1, 3, 4, 5, 6]
    assert found["grantlog_database_up", ()] == 1
    assert found["grantlog_info", (("version", "2.1"),)] == 1


def test_without_a_database_it_says_so_and_nothing_of_the_log(metrics):
    found = samples(metrics.text("1", None))
    assert found["grantlog_database_up", ()] == 0
    assert ("grantlog_log_position", ()) not in found


def test_a_value_on_a_bound_belongs_below_it():
    spread = Spread((1, 2))
    for value in (1, 2, 3):
        spread.note(value)
    assert spread.counts == [1, 1, 1]


def test_the_directory_is_named_before_the_library_is_loaded(tmp_path):
    with pytest.raises(RuntimeError, match="loaded before"):
        prepare_directory(tmp_path / "late")
    assert not (tmp_path / "late").exists()


def test_nothing_that_runs_before_the_workers_loads_the_library():
    # One interpreter for all of them, since each would load most of the server again.
    looked = "import sys, {module}; assert 'prometheus_client' not in sys.modules, '{module}'"
    modules = ("cli.serve", "cli.command_services", "api.services", "api.config.demonstration")
    code = "\n".join(looked.format(module=each) for each in modules)
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
