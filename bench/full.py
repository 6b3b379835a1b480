"""`python -m bench.full`: everything that was promised about speed, in parts that can be measured alone."""

import argparse
import dataclasses
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

from bench.load import oha, wrk
from bench.parts import (
    alone,
    archived,
    behind,
    disk,
    freshness,
    history,
    latency,
    overload,
    rates,
    starting,
    visibility,
    workers,
)
from bench.reports import machine, pages
from bench.reports.findings import Found
from bench.runs.stage import FULL, QUICK, FullPlan, Stage
from bench.subjects import databases

PARTS: tuple[ModuleType, ...] = (
    rates,
    latency,
    alone,
    overload,
    history,
    disk,
    starting,
    workers,
    freshness,
    visibility,
    behind,
    archived,
)
"""In this order: what measures peaks comes before what needs them."""


def main() -> int:
    """0 when everything was answered well, whether or not bounds were kept; 1 when not, or without load generators."""
    options = _options()
    plan = _plan(options)
    try:
        load = ", ".join(check() for check in _generators(options.only))
    except wrk.Missing as missing:
        print(missing, file=sys.stderr)
        return 1
    began = time.monotonic()

    def say(words: str) -> None:
        print(f"{time.monotonic() - began:6.0f} s  {words}", file=sys.stderr, flush=True)

    found: dict[ModuleType, Found] = {}
    with tempfile.TemporaryDirectory(prefix="grantlog-bench-", dir=options.directory) as name:
        directory = Path(name)
        # PostgreSQL runs as a user of its own, who has to get in.
        directory.chmod(0o755)
        facts = machine.facts(directory) | {"load": load}
        with Stage(plan, directory, options.databases, say) as stage:
            for part in PARTS:
                if part.NAME in options.only:
                    say(part.TITLE)
                    found[part] = part.measure(stage)
                    print(pages.text(part.TITLE, found[part]), flush=True)
            facts |= stage.versions
    faults = [fault for each in found.values() for fault in each.faults]
    print("\n".join(f"{name}: {value}" for name, value in facts.items()))
    for fault in faults:
        print(f"FAULT  {fault}")
    if not options.write:
        print("nothing was written into the documentation", file=sys.stderr)
        return 1 if faults else 0
    today = datetime.now(tz=UTC).date()
    for part, each in found.items():
        if each.faults:
            print(f"not written into the documentation: {part.NAME}", file=sys.stderr)
        else:
            pages.write(pages.DEVELOPERS, pages.full(part, each, facts, plan, today), pages.of_part(part))
    pages.write(pages.DEVELOPERS, pages.machine(facts), pages.MACHINE)
    return 1 if faults else 0


def _generators(names: Sequence[str]) -> list[Callable[[], str]]:
    """The checks of those load generators that the parts with these names use."""
    paced = any(hasattr(part, "oha") for part in PARTS if part.NAME in names)
    return [wrk.check, oha.check] if paced else [wrk.check]


def _plan(options: argparse.Namespace) -> FullPlan:
    given = {
        field.name: getattr(options, field.name)
        for field in dataclasses.fields(FullPlan)
        if getattr(options, field.name, None) is not None
    }
    if options.events is not None:
        given["behind"] = given["archived"] = options.events
    return dataclasses.replace(QUICK if options.quick else FULL, **given)


def _options() -> argparse.Namespace:
    names = [part.NAME for part in PARTS]
    parser = argparse.ArgumentParser(prog="python -m bench.full", description=__doc__)
    parser.add_argument("--only", type=_list(names), default=names, metavar="PART,…", help=", ".join(names))
    parser.add_argument("--databases", type=_list(databases.KINDS), default=databases.KINDS, metavar="NAME,…")
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that it runs, and not how fast")
    parser.add_argument("--events", type=int, help="of the grown log, and of the one that is archived")
    for name in ("rounds", "seconds", "overload", "cycles", "access", "dead"):
        parser.add_argument(f"--{name}", type=int, help=f"usually {getattr(FULL, name):,}")
    parser.add_argument("--directory", type=Path, help="where the databases are put; usually the temporary directory")
    parser.add_argument("--no-write", dest="write", action="store_false", help="leave the documentation alone")
    return parser.parse_args()


def _list(known):
    by_name = {name.lower(): name for name in known}

    def parse(text: str) -> list[str]:
        try:
            return [by_name[name.strip().lower()] for name in text.split(",")]
        except KeyError as unknown:
            raise argparse.ArgumentTypeError(f"{unknown} is none of {', '.join(known)}") from None

    return parse


if __name__ == "__main__":
    raise SystemExit(main())
