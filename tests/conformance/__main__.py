"""`make conformance`: runs plans against servers of this checkout, and writes what came of them to docs/conformance.md.

OIDF_SUITE_JAR names the suite's jar and CONFORMANCE_KIT the folder of the kit that runs it. It needs what the kit says.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any

import httpx

from tests import plain_http
from tests.cli.processes import running
from tests.conformance.browsing import completed
from tests.conformance.page import page
from tests.conformance.plans import PLANS, Plan
from tests.conformance.registering import Registry
from tests.databases import BACKENDS, Backend, Databases, new_directory
from tests.started import free_port, start

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "conformance.md"
KEPT = ROOT / "var" / "conformance.json"
"""What was run before, so that a single plan can be run again."""

FIRST = int(os.environ.get("OIDF_PORT", "8520"))
SUITE, SERVER, SERVER_MTLS = FIRST + 2, FIRST + 4, FIRST + 5
"""Ports of the kit: the suite, and the server under test without and with client certificates."""
SUITE_URL = f"https://suite.oidf.test:{SUITE}"
ISSUER, MTLS = f"https://op.oidf.test:{SERVER}", f"https://op.oidf.test:{SERVER_MTLS}"

WORKERS: dict[Backend, int] = {"sqlite": 1, "postgresql": 2}


class Kit:
    """The programs around the suite, of which the suite itself is the largest."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self._folder = folder
        self._run = [str(folder / "run")]
        self._environment = os.environ | {"OIDF_CACHE": str(cache), "OIDF_PORT": str(FIRST)}
        self.authorities = cache / "keys" / "ca.crt"
        self.keys = cache / "keys" / "keys.json"

    def set_up(self) -> None:
        """Makes what is missing, which takes a minute the first time."""
        subprocess.run([str(self._folder / "setup")], env=self._environment, check=True)

    @contextmanager
    def serving(self, upstream: str) -> Iterator[None]:
        """The suite, and the front of the server that listens at `upstream`."""
        command = [*self._run, "--serve", "--upstream", upstream]
        process = start(command, env=self._environment, stdin=subprocess.DEVNULL)
        try:
            self._wait(process)
            yield
        finally:
            # It ends what it started when it is asked to, which takes its time.
            process.terminate()
            process.wait()

    def _wait(self, process: "subprocess.Popen[Any]") -> None:
        for _ in range(300):
            if process.poll() is not None:
                break
            try:
                httpx.get(f"{SUITE_URL}/api/server", verify=False, trust_env=False).raise_for_status()  # noqa: S501
                return
            except httpx.HTTPError:
                time.sleep(1)
        raise SystemExit("the suite did not come up")

    def suite(self) -> str:
        """Which suite it is."""
        found = httpx.get(f"{SUITE_URL}/api/server", verify=False, trust_env=False).json()  # noqa: S501
        return " ".join(str(found[name]) for name in ("version", "revision") if found.get(name))

    def run(self, plan: Plan, values: dict[str, str], options: list[str]) -> list[dict[str, Any]]:
        """What came of each module."""
        with TemporaryDirectory() as folder:
            told = Path(folder) / "results.json"
            written = Path(folder) / plan.configuration
            ours = completed(json.loads((self._folder / "configs" / plan.configuration).read_text()))
            written.write_text(json.dumps(ours))
            command = [*self._run, "--attach", "--json", str(told), *options, plan.suite, str(written)]
            subprocess.run(command, env=self._environment | values, check=False)
            (modules,) = json.loads(told.read_text()).values()
            return list(modules)


def settings(database_url: str, backend: Backend, port: int, kit: Kit, data: Path) -> dict[str, str]:
    """A server that the suite can reach and that can reach the suite."""
    return {
        "GRANTLOG_PORT": str(port),
        "GRANTLOG_DEMO_PORT": str(free_port()),
        "GRANTLOG_DATABASE_URL": database_url,
        "GRANTLOG_DATA_DIR": str(data),
        "GRANTLOG_WORKERS": str(WORKERS[backend]),
        "GRANTLOG_LOG_REQUESTS": "0",
        "GRANTLOG_ISSUER": ISSUER,
        "GRANTLOG_TRUSTED_PROXIES": "127.0.0.1/32",
        "GRANTLOG_ALLOW_PRIVATE_URLS": "1",
        "GRANTLOG_REGISTRATION": "token",
        "GRANTLOG_MTLS_URL": MTLS,
        "GRANTLOG_CLIENT_CERTIFICATE_HEADER": "X-Ssl-Cert",
        "GRANTLOG_CLIENT_CA_FILE": str(kit.authorities),
        "SSL_CERT_FILE": str(kit.authorities),
    }


def against(backend: Backend, kit: Kit, port: int, plans: list[Plan], options: list[str]) -> Iterator[tuple[Plan, Any]]:
    """What comes of each plan on one database."""
    with TemporaryDirectory() as folder:
        place = new_directory()
        databases = Databases(place)
        url = databases.create(backend, migrated=False)
        try:
            environment = settings(url, backend, port, kit, Path(folder) / "data")
            with (
                running("demo", environment=environment, directory=Path(folder)),
                plain_http.client(f"http://127.0.0.1:{port}") as server,
            ):
                registry = Registry(server, Path(folder) / "data" / "demo.json", SUITE_URL, kit.keys)
                for plan in plans:
                    if plan.needs not in registry.metadata():
                        print(f"{plan.title}: not served", flush=True)
                        continue
                    began = time.monotonic()
                    values = registry.environment(plan, MTLS if plan.clients.startswith("certificate") else ISSUER)
                    modules = kit.run(plan, values, options)
                    yield plan, {"modules": modules, "minutes": round((time.monotonic() - began) / 60, 1)}
        finally:
            databases.drop(url)
            databases.stop()
            shutil.rmtree(place, ignore_errors=True)


def keep(backend: Backend, plan: Plan, outcome: dict[str, Any], *, partly: bool) -> None:
    """Adds what came of a plan, or of a part of it, to what is kept, and writes the page anew."""
    outcomes: dict[str, dict[str, Any]] = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    kept = outcomes.setdefault(backend, {})
    ran = {each["module"]: each for each in outcome["modules"]}
    if partly and plan.name in kept:
        ran = {each["module"]: each for each in kept[plan.name]["modules"]} | ran
    kept[plan.name] = outcome | {"modules": list(ran.values())}
    KEPT.parent.mkdir(exist_ok=True)
    KEPT.write_text(json.dumps(outcomes, indent=1))
    PAGE.write_text(page(outcomes), encoding="utf-8")


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("--plans", default=",".join(each.name for each in PLANS), help="only these, with commas")
    parser.add_argument("--databases", default=",".join(BACKENDS), help="only these, with commas")
    parser.add_argument("--modules", default="", help="of each plan only these, with commas; the others keep theirs")
    parser.add_argument("--no-write", action="store_true", help="leave docs/conformance.md as it is")
    given, options = parser.parse_known_args()
    options += ["--modules", given.modules] if given.modules else []
    jar, folder = os.environ.get("OIDF_SUITE_JAR"), os.environ.get("CONFORMANCE_KIT")
    if not jar or not folder:
        print("OIDF_SUITE_JAR has to name the suite's jar, and CONFORMANCE_KIT the kit that runs it", file=sys.stderr)
        return 2
    # What was started is ended, also by who ends this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    kit = Kit(Path(folder), Path(os.environ.get("OIDF_CACHE", f"{gettempdir()}/oidf-cache")))
    kit.set_up()
    plans = [each for each in PLANS if each.name in given.plans.split(",")]
    failed = False
    port = free_port()
    with kit.serving(f"http://127.0.0.1:{port}"):
        suite, when = kit.suite(), datetime.now(UTC).date().isoformat()
        for backend in BACKENDS:
            if backend not in given.databases.split(","):
                continue
            for plan, outcome in against(backend, kit, port, plans, options):
                failed |= any(each["result"] in ("FAILED", "TIMEOUT", "UNKNOWN") for each in outcome["modules"])
                if not given.no_write:
                    keep(backend, plan, outcome | {"suite": suite, "when": when}, partly=bool(given.modules))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
