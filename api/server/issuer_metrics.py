"""The numbers of a further issuer: counted among those of the process, and by its URL where they are its own."""

from collections import Counter

from api.server.log_standing import LogStanding
from api.server.metrics import Metrics


class MetricsOfIssuer(Metrics):
    """What an issuer counts. Numbers of a moment that the process has one of stay those of the settings' issuer."""

    def __init__(self, process: Metrics, issuer: str) -> None:
        self._process = process
        self._issuer = issuer
        self._known: dict[str, int] = {}
        self._answered: Counter[int] = Counter()
        self.facts = process.facts

    def request(self, route: str | None, method: str, status: int | None, seconds: float) -> None:
        """Counts an answered request."""
        self._process.request(route, method, status, seconds)
        self._answered[5 if status is None else status // 100] += 1

    def batch(self, commands: int) -> None:
        """Counts a committed transaction."""
        self._process.batch(commands)

    def throttled(self, rule: str) -> None:
        """Counts an attempt that has to wait."""
        self._process.throttled(rule)

    def replica_read(self, outcome: str) -> None:
        """Counts a read of a standby."""
        self._process.replica_read(outcome)

    def alarms(self, **now: int) -> None:
        """What is wrong with the issuer's log. Of an alarm that never was there is no number."""
        for name, value in now.items():
            if self._known.get(name, 0) != value:
                self._process.of_issuers.alarms.labels(self._issuer, name).set(value)
                self._known[name] = value

    def compared(self, differing: int, round_seconds: float) -> None:
        """Tells of read models that differ, as an alarm."""
        self.alarms(projections_differing=differing)

    def letter_given_up(self) -> None:
        """Counts mail that nobody will get."""
        self._process.letter_given_up()

    def write(self, passwords_waiting: int) -> None:
        """Hands on what was counted since the last call. The threads for passwords are the process's."""
        answered, self._answered = self._answered, Counter()
        for kind, count in answered.items():
            self._process.of_issuers.requests.labels(self._issuer, f"{kind}xx").inc(count)

    def text(self, version: str, standing: LogStanding | None) -> bytes:
        """Nothing: the numbers are the operators', who ask the settings' issuer."""
        return b""
