"""What every test can rely on: a real database of either kind, an environment of its own, and in CI no skipping."""

import contextlib
import faulthandler
import gc
import os
import shutil
import signal
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen
from typing import TYPE_CHECKING

import pytest
import structlog
from structlog.dev import plain_traceback

from tests.databases import BACKENDS, Backend, Databases, new_directory
from tests.explore import register_profiles
from tests.processors import stay
from tests.shared_dialects import share_dialects
from tests.started import start

if TYPE_CHECKING:
    from tests.kept_databases import KeptDatabases

CI = os.environ.get("GRANTLOG_CI") == "1"
RUN = "PYTEST_GRANTLOG_RUN"
LONG = (
    *("test_image.py", "tests/browser/", "tests/docs/", "tests/processes/", "tests/test_conftest.py"),
    *("test_forged_rows.py", "test_no_secret.py", "test_derived.py", "test_checking.py"),
    *("test_blast_radius.py", "test_audit_replay.py", "test_refollowing.py", "test_schemathesis.py"),
)
"""Modules that take longest, since they wait for servers or live through long histories."""

# The same examples in every run: a red one is about the change, not about luck.
register_profiles()
share_dialects()

# An exception that is logged would be painted in colours, with the lines around each place, for longer than its test.
structlog.configure(
    [*structlog.get_config()["processors"][:-1], structlog.dev.ConsoleRenderer(exception_formatter=plain_traceback)]
)


# --- One run, however many processes ----------------------------------------------------------------------------------


def _is_worker(config: pytest.Config) -> bool:
    """Whether this process was started by another pytest to share its tests."""
    return hasattr(config, "workerinput")


def _turn(config: pytest.Config) -> tuple[int, int]:
    """Which of the processes that share the tests this one is, from 0 on, and how many they are."""
    given = config.workerinput  # type: ignore[attr-defined]
    return int(given["workerid"].removeprefix("gw")), given["workercount"]


def _is_whole(folder: pytest.Directory) -> bool:
    """Whether all tests of a folder are wanted, and not those of files in it that were named."""
    named = [Path(each.partition("::")[0]).resolve() for each in folder.config.args]
    return any(folder.path.is_relative_to(each) for each in named)


def _load_in_turns(report: pytest.CollectReport, number: int, processes: int) -> None:
    """Loads a folder's tests, each process from another one on: what one has compiled, the others read.

    In a fresh clone all of them would compile the same at the same time.
    """
    modules = [each for each in report.result or () if isinstance(each, pytest.Module)]
    first = number * len(modules) // processes
    for each in modules[first:] + modules[:first]:
        # What is wrong with one is said when its own turn comes.
        with contextlib.suppress(Exception, pytest.skip.Exception):
            _ = each.obj


def pytest_sessionstart(session: pytest.Session) -> None:
    """Has SIGTERM end the run as an interrupt does, so that nothing that it started outlives it."""
    run = os.getpid()

    def end(number: int, _: object) -> None:
        if os.getpid() == run:
            # Whoever sends it twice waits for the end all the same.
            signal.signal(number, signal.SIG_IGN)
            # A test's task group may make a failure of the interrupt; then the next test does not begin.
            session.shouldstop = "terminated"
            raise KeyboardInterrupt
        # A process that a test forked.
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    signal.signal(signal.SIGTERM, end)


# A file that other processes do not inherit: it is closed when this one has ended, however.
_ended = pytest.StashKey[Popen[bytes]]()

CLEAR = """
read -r _
if server=$(head -n 1 "$0/postgresql/data/postmaster.pid" 2>/dev/null); then
  kill -QUIT "$server"
  while kill -0 "$server" 2>/dev/null; do sleep 0.1; done
fi
rm -rf "$0"
"""
"""Ends the server of a run and removes its files when the run itself has not, since it was killed."""


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_said] = os.dup(2)
    # Or else each process, of hundreds, would compile our modules again.
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    # Or else what is printed goes out at once, as it does for hardly anybody who runs a command.
    os.environ.pop("PYTHONUNBUFFERED", None)
    if _is_worker(config):
        stay(*_turn(config), Path(os.environ[RUN]) / "postgresql")
    else:
        # A developer's own settings must not decide how a test ends.
        for name in [name for name in os.environ if name.startswith("GRANTLOG_") and name != "GRANTLOG_CI"]:
            del os.environ[name]
        os.environ[RUN] = str(new_directory())
        config.stash[_ended] = start(["/bin/sh", "-c", CLEAR, os.environ[RUN]], stdin=PIPE, stdout=DEVNULL)
        # On a disk every server's files, and each wait until they are safe there, would take as long as the test.
        config.option.basetemp = config.option.basetemp or os.environ[RUN] + "/tests"


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None]:
    # What is loaded and collected stays: nothing is to be found in it, now or later.
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begins with what takes longest, so that no process has it still before it when the others are done."""
    items.sort(key=lambda item: not any(part in item.nodeid for part in LONG))


def pytest_unconfigure(config: pytest.Config) -> None:
    # Threads that a test left behind are waited for when the process ends.
    _watch(config)
    directory = os.environ.get(RUN)
    if directory is not None and not _is_worker(config):
        del os.environ[RUN]
        Databases(Path(directory)).stop()
        shutil.rmtree(directory, ignore_errors=True)
        config.stash[_ended].communicate()


# --- No test goes on for ever -----------------------------------------------------------------------------------------

# A copy, since a test's own standard error is captured, and is lost with the process.
_said = pytest.StashKey[int]()


def _watch(config: pytest.Config) -> None:
    within = float(config.getini("faulthandler_timeout") or 0)
    if within:
        faulthandler.dump_traceback_later(within, file=config.stash[_said], exit=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    """Watches the end of a test as pytest watches the test, which it stops doing with the first failure.

    That is when something is most likely to be waited for that never comes: threads of the test that failed.
    """
    _watch(item.config)
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


# --- In CI nothing is skipped -----------------------------------------------------------------------------------------


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    # An expected failure is reported as skipped as well, but its test did run.
    if CI and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"CI skips nothing, but this was: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_skip(report)
    if _is_worker(collector.config) and isinstance(collector, pytest.Directory) and _is_whole(collector):
        _load_in_turns(report, *_turn(collector.config))
    return report


# --- Databases --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The event loop that workers have; with Python's own a scenario takes as much of a processor's time."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="session")
def databases() -> Iterator[Databases]:
    made = Databases(Path(os.environ[RUN]))
    yield made
    made.detach()


@pytest.fixture(params=BACKENDS)
def database_url(request: pytest.FixtureRequest, databases: Databases) -> Iterator[str]:
    """A fresh migrated database, once on SQLite and once on PostgreSQL."""
    yield from _lent(databases, request.param, migrated=True)


@pytest.fixture(scope="session")
def kept_databases(databases: Databases) -> "Iterator[KeptDatabases]":
    # Imported late: tests of the domain need no database, and should not wait for its libraries.
    from tests.kept_databases import KeptDatabases

    made = KeptDatabases(databases)
    yield made
    made.close()


@pytest.fixture(params=BACKENDS)
def lent_database_url(
    request: pytest.FixtureRequest, databases: Databases, kept_databases: "KeptDatabases"
) -> Iterator[str]:
    """The same, but on PostgreSQL others had the database before: for tests whose connections end with them."""
    if request.param == "postgresql":
        url = kept_databases.lend()
        yield url
        kept_databases.take_back(url)
    else:
        yield from _lent(databases, "sqlite", migrated=True)


@pytest.fixture(scope="module", params=BACKENDS)
def module_database_url(request: pytest.FixtureRequest, databases: Databases) -> Iterator[str]:
    """A migrated database that the tests of one module share, once on SQLite and once on PostgreSQL."""
    yield from _lent(databases, request.param, migrated=True)


@pytest.fixture(params=BACKENDS)
def empty_database_url(
    request: pytest.FixtureRequest, databases: Databases, kept_databases: "KeptDatabases"
) -> Iterator[str]:
    """A database without a table, for tests of the migrations themselves; on PostgreSQL others had it before."""
    if request.param == "postgresql":
        url = kept_databases.lend_empty()
        yield url
        kept_databases.take_back(url)
    else:
        yield from _lent(databases, "sqlite", migrated=False)


@pytest.fixture(scope="module", params=BACKENDS)
def module_empty_database_url(request: pytest.FixtureRequest, databases: Databases) -> Iterator[str]:
    """One of those that the tests of one module share."""
    yield from _lent(databases, request.param, migrated=False)


@pytest.fixture
def sqlite_url(databases: Databases) -> Iterator[str]:
    yield from _lent(databases, "sqlite", migrated=True)


@pytest.fixture
def postgresql_url(databases: Databases) -> Iterator[str]:
    yield from _lent(databases, "postgresql", migrated=True)


@pytest.fixture(scope="module")
def module_sqlite_url(databases: Databases) -> Iterator[str]:
    yield from _lent(databases, "sqlite", migrated=True)


@pytest.fixture(scope="module")
def module_postgresql_url(databases: Databases) -> Iterator[str]:
    yield from _lent(databases, "postgresql", migrated=True)


def _lent(databases: Databases, backend: Backend, *, migrated: bool) -> Iterator[str]:
    url = databases.create(backend, migrated=migrated)
    yield url
    databases.drop(url)


# --- Programs that are not Python -------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of the system's own Chromium, for Playwright's `executable_path`; run it with `--no-sandbox` as root.

    What has no window at all takes less than half of a processor's time for a page.
    """
    for name in ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    pytest.skip("no Chromium on this machine")


@pytest.fixture(scope="session")
def openid_client() -> Path:
    """The folder where `import "openid-client"` works for Node, which `make test` prepares."""
    folder = Path(__file__).parent / "openid_client"
    if shutil.which("node") is None or not (folder / "node_modules" / "openid-client").is_dir():
        pytest.skip("no Node, or `make test` has not prepared tests/openid_client")
    return folder
