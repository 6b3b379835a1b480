"""`python -m bench.planet`: what it takes to give so many tokens a second, from measured costs alone.

It adds up and simulates no queue: every part is planned to be busy for `BUSY` of its time. What an issuer gives is
bounded by the head of its log, so a higher rate means more issuers.
"""

import argparse
from math import ceil
from pathlib import Path
from typing import NamedTuple

PAGE = Path(__file__).parents[1] / "docs" / "scale.md"
BEGIN, END = "<!-- Written by `python -m bench.planet --write`. -->\n", "<!-- The end of what that writes. -->"

BUSY = 0.6
"""Of a core's time that is planned for; the rest is for peaks and for what fails."""

MONTH = 30 * 86_400


class Costs(NamedTuple):
    """What was measured, and what is paid."""

    worker_us: float = 574
    """Processor time of a worker for a token on PostgreSQL (`bench.cells`, one issuer, others on the machine)."""
    database_us: float = 164
    """That of PostgreSQL for the same token (likewise)."""
    bytes_for_token: float = 2_093
    """On PostgreSQL's disk (`make bench-full`, part `disk`)."""
    head: float = 3_400
    """Tokens a second of one log (the least that one worker gave on PostgreSQL when it was tried by hand)."""
    core_month: float = 25
    """Paid for a core with its memory, for a month. An assumption, in dollars."""
    gigabyte_month: float = 0.1
    """Paid for a gigabyte of disk, for a month. An assumption, in dollars."""


class Plan(NamedTuple):
    """What a rate takes. `terabytes` are those after a month in which nothing was archived; dollars are for a month."""

    tokens: int
    issuers: int
    worker_cores: int
    database_cores: int
    terabytes: float
    for_cores: float
    for_disk: float


def plan(tokens: int, costs: Costs) -> Plan:
    """For so many tokens a second, all month."""
    of_workers, of_databases = (ceil(tokens * each / 1e6 / BUSY) for each in (costs.worker_us, costs.database_us))
    gigabytes = tokens * MONTH * costs.bytes_for_token / 1e9
    for_cores, for_disk = (of_workers + of_databases) * costs.core_month, gigabytes * costs.gigabyte_month
    return Plan(tokens, ceil(tokens / costs.head), of_workers, of_databases, gigabytes / 1e3, for_cores, for_disk)


class Machines(NamedTuple):
    """What machines carry: tokens a second, and which part of them is full first."""

    tokens: float
    first: str


def carried(machines: int, cores: int, issuers: int, costs: Costs) -> Machines:
    """By machines of so many cores, each with workers and a PostgreSQL of its own, among which issuers are spread."""
    together = machines * cores * BUSY * 1e6 / (costs.worker_us + costs.database_us)
    heads = issuers * costs.head
    if heads < together:
        return Machines(heads, "heads")
    return Machines(together, "workers" if costs.worker_us > costs.database_us else "databases")


def tables(costs: Costs) -> str:
    """Both tables, as Markdown."""
    heads = ("tokens/s", "issuers, at least", "cores for workers", "for PostgreSQL", "disk after a month")
    lines = [f"| {' | '.join((*heads, '$ for cores', '$ for disk'))} |", "|--:|--:|--:|--:|--:|--:|--:|"]
    for each in (plan(tokens, costs) for tokens in (1_000, 10_000, 100_000, 1_000_000)):
        cells = [f"{cell:,}" for cell in (each.tokens, each.issuers, each.worker_cores, each.database_cores)]
        cells += [f"{each.terabytes:,.1f} TB", f"{each.for_cores:,.0f}", f"{each.for_disk:,.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "| machines of 8 cores | issuers | tokens/s | full first |", "|--:|--:|--:|---|"]
    for machines, issuers in ((1, 1), (1, 8), (4, 8), (16, 8), (16, 64)):
        found = carried(machines, 8, issuers, costs)
        lines.append(f"| {machines} | {issuers} | {found.tokens:,.0f} | {found.first} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Prints the tables, or writes them into the documentation; 0."""
    parser = argparse.ArgumentParser(prog="python -m bench.planet", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"into docs/{PAGE.name}")
    for name, value in Costs()._asdict().items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=value)
    options = vars(parser.parse_args())
    write = options.pop("write")
    found = tables(Costs(**options))
    print(found, end="")
    if write:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{found}\n{END}{rest.partition(END)[2]}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
