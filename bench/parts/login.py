"""A dashboard's sign-in: what the password hash costs, and what all the rest does, in the worker's processor time."""

import json
import time

from bench import preparation, processes, upkeep
from bench.load import asking
from bench.reports.findings import Finding, Found, at_most
from bench.server import Server
from bench.stage import Stage
from security.passwords import Argon2Parameters, Hasher

NAME = "login"
TITLE = "Dashboard login, processor time of the worker"

DASHBOARD = "client"
HASH_ALONE = 20

IDLE = 3.0
"""Seconds in which it is seen what a worker does of its own accord."""


def measure(stage: Stage) -> Found:
    """Logins one after another. The hash runs in threads of its own, so the kernel tells the two apart."""
    alone = hash_alone()
    findings, faults = [], []
    for subject in stage.subjects:
        stage.say(f"{subject.name}: {stage.plan.logins} logins")
        with subject.serving() as over:
            _logins(over, 4)
            upkeep.settle(subject)
            idle = _used(over, lambda: time.sleep(IDLE))
            answers: list[asking.Answer] = []
            began = time.perf_counter()
            used = _used(over, lambda: answers.extend(_logins(over, stage.plan.logins)))  # noqa: B023 - called at once
            took = time.perf_counter() - began
        wrong = {status: count for status, count in asking.statuses(answers).items() if status != 200}
        if wrong:
            faults.append(f"{subject.name}: logins were answered {wrong}")
        count = stage.plan.logins
        # Whose turn it is to hash is chance. No thread but the event loop's, which is the process itself, has as much
        # to do for all logins together as a few hashes take.
        hashing = {thread for thread, spent in used.items() if spent > alone * count / 25} - set(over.workers)
        hashed = sum(used[thread] for thread in hashing) / count
        background = sum(idle.values()) / IDLE * took
        rest = (sum(used.values()) - background) / count - hashed
        findings += [
            Finding("the password hash, in its own threads", subject.name, hashed * 1000, "ms"),
            Finding("the same hash by itself", subject.name, alone * 1000, "ms"),
            Finding("everything else", subject.name, rest * 1000, "ms", at_most(1.0)),
        ]
    return Found(findings, faults=faults)


def _used(over: Server, work) -> dict[int, float]:
    before = {pid: processes.thread_times(pid) for pid in over.workers}
    work()
    used: dict[int, float] = {}
    for pid in over.workers:
        used |= processes.spent(before[pid], processes.thread_times(pid))
    return used


def _logins(over: Server, count: int) -> list[asking.Answer]:
    body = json.dumps({"username": preparation.USERNAME, "password": preparation.PASSWORD})
    sent = asking.request(over.port, "POST", f"/dashboards/{DASHBOARD}/login", body=body, kind=asking.JSON)
    return asking.run(asking.each_once(over.port, [sent] * count, at_a_time=1))


def hash_alone() -> float:
    """Seconds of processor time for one check with the server's usual parameters."""
    import asyncio

    hasher = Hasher(Argon2Parameters(19456, 2, 1), threads=1)

    async def checks() -> float:
        stored = await hasher.hash(preparation.PASSWORD)
        began = time.process_time()
        for _ in range(HASH_ALONE):
            await hasher.verify(stored, preparation.PASSWORD)
        return (time.process_time() - began) / HASH_ALONE

    try:
        return asyncio.run(checks())
    finally:
        hasher.close()
