"""How long a server takes from its command to its first answer, beyond importing."""

import os
import subprocess
import time
from collections.abc import Callable
from functools import partial
from statistics import median

import httpx

from bench.prepared.subject import Subject
from bench.reports.findings import Finding, Found, at_most
from bench.runs.stage import Stage
from bench.subjects.server import BIN, ROOT

NAME = "starting"
TITLE = "Start-up"

BEYOND = at_most(0.5)


def measure(stage: Stage) -> Found:
    """On the prepared databases."""
    findings = []
    for subject in stage.subjects:
        stage.say(f"{subject.name}: starting")
        findings += of(subject, stage.plan.starts)
    return Found(findings)


def of(subject: Subject, times: int) -> list[Finding]:
    """Medians of several starts, importing and starting in turn."""
    imports, starts = [], []
    for _ in range(times):
        imports.append(_took(partial(_import, subject)))
        starts.append(_start(subject))
    imported, started = median(imports), median(starts)
    return [
        Finding("imports", subject.name, imported, "s"),
        Finding("from the command to the first answer", subject.name, started, "s"),
        Finding("beyond importing", subject.name, started - imported, "s", BEYOND),
    ]


def _took(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _import(subject: Subject) -> None:
    # The command collects nothing meanwhile either.
    imports = "import gc; gc.disable(); import cli.serve, api.asgi"
    environment = {**os.environ, **subject.environment}
    subprocess.run([BIN / "python", "-c", imports], cwd=ROOT, env=environment, check=True)


def _start(subject: Subject) -> float:
    began = time.perf_counter()
    with subject.serving() as over:
        httpx.get(f"{over.url}/health/ready", timeout=30).raise_for_status()
        return time.perf_counter() - began
