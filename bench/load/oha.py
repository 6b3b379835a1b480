"""Load at a given rate, by oha: requests are sent when they are due and not when others are answered.

A request's latency counts from the moment at which it was due. So a server that stalls is charged for every request
that came meanwhile, which a load that waits for answers would leave out (coordinated omission).
"""

import json
import shutil
import subprocess
from dataclasses import dataclass
from typing import Any

from bench.load.wrk import Load, Missing

UNDER_WAY = "aborted due to deadline"
"""What oha calls a request whose answer had not come when the time was over."""


@dataclass(frozen=True, slots=True)
class Paced:
    """What came of a load, in requests per second; `p50` and `p99` of what succeeded, in milliseconds.

    `unsent` were due when every connection was busy, until the end. `broken` had no answer.
    """

    offered: float
    accepted: float
    statuses: dict[int, int]
    unsent: int
    broken: int
    p50: float
    p99: float

    @property
    def shed(self) -> float:
        """The share of answers that were 503."""
        answered = sum(self.statuses.values())
        return self.statuses.get(503, 0) / answered if answered else 0.0

    @property
    def failed(self) -> int:
        """Answers that are neither a success nor a refusal for overload, and requests without one."""
        return self.broken + sum(count for status, count in self.statuses.items() if status not in (200, 503))


def check() -> str:
    """The version of oha; raises `Missing`."""
    if shutil.which("oha") is None:
        raise Missing("oha makes the load at a given rate and is not installed: `cargo install --locked oha`.")
    return subprocess.run(["oha", "--version"], capture_output=True, text=True, check=True).stdout.strip()


def run(port: int, load: Load, *, rate: float, seconds: int, connections: int, since_due: bool = True) -> Paced:
    """Offers so many requests a second for so long, with the lines of the load's file as bodies.

    Without `since_due` latencies count from when a request was sent: where more is offered than connections can take.
    """
    command = [
        "oha",
        *("--no-tui", "--output-format", "json", "--stats-success-breakdown"),
        *(("--latency-correction",) if since_due else ()),
        *("-q", f"{rate:.0f}", "-z", f"{seconds}s", "-c", str(connections)),
        *("-m", "POST", "-T", "application/x-www-form-urlencoded", "-H", f"authorization: {load.authorization}"),
        *("-Z", str(load.file), f"http://127.0.0.1:{port}{load.path}"),
    ]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 60).stdout
    return paced(json.loads(said), rate, seconds)


def paced(said: dict[str, Any], rate: float, seconds: int) -> Paced:
    """What oha's own account says of a load at this rate."""
    statuses = {int(status): count for status, count in said["statusCodeDistribution"].items()}
    lost = said["errorDistribution"]
    sent, broken = sum(statuses.values()) + sum(lost.values()), sum(lost.values()) - lost.get(UNDER_WAY, 0)
    succeeded = said["latencyPercentilesSuccessful"]
    return Paced(
        offered=rate,
        accepted=statuses.get(200, 0) / seconds,
        statuses=statuses,
        unsent=max(0, round(rate * seconds) - sent),
        broken=broken,
        p50=(succeeded["p50"] or 0) * 1000,
        p99=(succeeded["p99"] or 0) * 1000,
    )
