"""Freshness over two workers: what was ended is refused by both as soon as its end was acknowledged."""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from bench.load import asking, lanes
from bench.load.asking import Answer
from bench.load.lanes import Lane
from bench.prepared import preparation
from bench.prepared.subject import Subject
from bench.reports.findings import Finding, Found, at_most
from bench.runs.stage import Stage
from bench.subjects.server import Server

NAME = "freshness"
TITLE = "Freshness over two workers: uses that were accepted after an acknowledged end"

LANES = 8
"""Cycles under way at a time."""

NONE = at_most(0)


@dataclass
class Scene:
    """What a cycle needs."""

    subject: Subject
    over: Server
    bearer: str
    stale: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)

    def token_request(self, authorization: str) -> bytes:
        return asking.request(
            self.over.port, "POST", "/oauth/token", authorization=authorization, body="grant_type=client_credentials"
        )

    def introspection(self, token: str) -> bytes:
        body = urlencode({"token": token})
        authorization = self.subject.prepared.service
        return asking.request(self.over.port, "POST", "/oauth/introspect", authorization=authorization, body=body)

    def command(self, method: str, path: str, body: dict[str, Any] | None = None) -> bytes:
        text = "" if body is None else json.dumps(body)
        return asking.request(self.over.port, method, path, authorization=self.bearer, body=text, kind=asking.JSON)

    async def token(self, lane: Lane, number: int, authorization: str) -> str:
        answer = await lane.at(number).ask(self.token_request(authorization))
        self.expect("token", answer, 200)
        return str(json.loads(answer.body)["access_token"])

    def expect(self, what: str, answer: Answer, *statuses: int) -> Answer:
        """Notes an answer that should have been another."""
        if answer.status not in statuses:
            self.wrong[f"{what}: {answer.status} {answer.body[:120].decode(errors='replace')}"] += 1
        return answer

    async def used(self, lane: Lane, token: str, what: str, *, alive: bool) -> None:
        """Introspects at both workers at once, and notes a wrong verdict."""
        sent = self.introspection(token)
        for answer in await asyncio.gather(*(each.ask(sent) for each in lane)):
            self.expect("introspection", answer, 200)
            active = b'"active":true' in answer.body
            if active and not alive:
                self.stale[what] += 1
            elif alive and not active:
                self.wrong[f"{what}: a live token was refused"] += 1


Cycle = Callable[[Scene, Lane, int], Awaitable[None]]


async def revoked(scene: Scene, lane: Lane, number: int) -> None:
    """Issue, use, revoke, use. Which worker issues and which revokes changes from cycle to cycle."""
    token = await scene.token(lane, number, scene.subject.prepared.service)
    await scene.used(lane, token, "revocation", alive=True)
    body = urlencode({"token": token})
    authorization = scene.subject.prepared.service
    sent = asking.request(scene.over.port, "POST", "/oauth/revoke", authorization=authorization, body=body)
    scene.expect("revocation", await lane.at(number // 2).ask(sent), 200)
    await scene.used(lane, token, "revocation", alive=False)


async def disabled(scene: Scene, lane: Lane, number: int) -> None:
    """A client of its own is disabled: its token is dead, and it gets no other."""
    client_id, authorization, _ = await _registered(scene, lane, number)
    token = await scene.token(lane, number, authorization)
    await scene.used(lane, token, "disable", alive=True)
    sent = scene.command("POST", f"/admin/clients/{client_id}/disable")
    scene.expect("disable", await lane.at(number // 2).ask(sent), 200)
    await scene.used(lane, token, "disable", alive=False)
    await _refused(scene, lane, authorization, "disable")


async def rotated(scene: Scene, lane: Lane, number: int) -> None:
    """A secret is rotated and the former one ends at once; then the new one is ended with its tokens."""
    client_id, authorization, _ = await _registered(scene, lane, number)
    scene.expect("token", await lane.at(number).ask(scene.token_request(authorization)), 200)
    sent = scene.command("POST", f"/admin/clients/{client_id}/secrets", {"others_expire_in": 0})
    made = json.loads(scene.expect("rotation", await lane.at(number // 2).ask(sent), 201).body)
    await _refused(scene, lane, authorization, "rotation")
    token = await scene.token(lane, number + 1, preparation.basic(client_id, made["client_secret"]))
    await scene.used(lane, token, "rotation", alive=True)
    sent = scene.command("DELETE", f"/admin/clients/{client_id}/secrets/{made['secret']['id']}?tokens=revoke")
    scene.expect("end of a secret", await lane.at(number // 2 + 1).ask(sent), 204, 200)
    await scene.used(lane, token, "rotation", alive=False)


async def contained(scene: Scene, lane: Lane, number: int) -> None:
    """A leaked token is contained."""
    token = await scene.token(lane, number, scene.subject.prepared.service)
    await scene.used(lane, token, "containment", alive=True)
    sent = scene.command("POST", "/leaks/contain", {"secret": token})
    scene.expect("containment", await lane.at(number // 2).ask(sent), 200)
    await scene.used(lane, token, "containment", alive=False)


async def _registered(scene: Scene, lane: Lane, number: int) -> tuple[str, str, str]:
    body = {"client_name": "Short-lived", "grant_types": ["client_credentials"], "scope": preparation.SCOPE}
    answer = await lane.at(number).ask(scene.command("POST", "/admin/clients", body))
    made = json.loads(scene.expect("registration", answer, 201).body)
    client_id, secret = made["client_id"], made["client_secret"]
    return client_id, preparation.basic(client_id, secret), made["secret"]["id"]


async def _refused(scene: Scene, lane: Lane, authorization: str, what: str) -> None:
    sent = scene.token_request(authorization)
    for answer in await asyncio.gather(*(each.ask(sent) for each in lane)):
        if answer.status == 200:
            scene.stale[what] += 1
        scene.expect(what, answer, 200, 400, 401)


def measure(stage: Stage) -> Found:
    """Many revocations, and fewer of the other ends."""
    findings, faults = [], []
    plan = stage.plan
    for subject in stage.subjects:
        with subject.serving(2) as over:
            scene = Scene(subject, over, preparation.bearer(over, subject.prepared.administrator))
            cycles: tuple[tuple[str, Cycle, int], ...] = (
                ("revocation", revoked, plan.cycles),
                ("disable", disabled, plan.ends),
                ("rotation", rotated, plan.ends),
                ("containment", contained, plan.ends),
            )
            for what, cycle, count in cycles:
                stage.say(f"{subject.name}: {count} cycles of {what}")
                asking.run(_cycles(scene, cycle, count))
                stale = float(scene.stale[what])
                findings.append(Finding(f"{what}, {count:,} cycles", subject.name, stale, "stale", NONE, digits=0))
                if stale:
                    faults.append(f"{subject.name}: {stale:.0f} stale uses after {what}")
            faults += [f"{subject.name}: {what} ({count} times)" for what, count in scene.wrong.most_common(5)]
    return Found(findings, faults=faults)


async def _cycles(scene: Scene, cycle: Cycle, count: int) -> None:
    numbers = iter(range(count))

    async def work(lane: Lane) -> None:
        for number in numbers:
            await cycle(scene, lane, number)

    async with lanes.lanes(scene.over, LANES) as opened:
        await asyncio.gather(*(work(lane) for lane in opened))
