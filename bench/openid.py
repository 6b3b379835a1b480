"""`python -m bench.openid`: what the scope `openid` adds to the exchange of a code, in processor time of the worker.

Three clients alike but for that: one that asks for no id_token, one whose id_tokens are signed by ES256, one by RS256.
Each in turn redeems codes of a person who consented before. All that follows an exchange is counted with it.
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import NamedTuple

import httpx

from bench import databases, preparation, processes, upkeep
from bench.load import asking
from bench.preparation import REDIRECT_URI, Prepared
from bench.reports import machine, pages
from bench.reports.findings import Detail, Found
from bench.server import Server
from bench.subject import Subject

BARS: Mapping[str, float] = {"ES256": 110, "RS256": 350}
"""Microseconds that an id_token may add, by its algorithm."""

PLAIN = "without"
MARKS = pages.markers("python -m bench.openid")


class Party(NamedTuple):
    """A client and the address by which its person gets it a code."""

    name: str
    prepared: Prepared


def parties(subject: Subject, over: Server) -> list[Party]:
    """The three clients, each with the consent of the same person."""
    _, _, administrator = preparation.install(subject.environment)
    headers = {"authorization": preparation.bearer(over, preparation.basic(*administrator))}
    found = []
    for name in (PLAIN, *BARS):
        scope = preparation.SCOPE if name == PLAIN else f"{preparation.SCOPE} openid"
        body = {"client_name": name, "redirect_uris": [REDIRECT_URI], "scope": scope}
        if name != PLAIN:
            body["id_token_signed_response_alg"] = name
        made = httpx.post(f"{over.url}/admin/clients", json=body, headers=headers, timeout=60).raise_for_status().json()
        address, cookie = preparation.consented(over, made["client_id"], scope)
        shop = preparation.basic(made["client_id"], made["client_secret"])
        found.append(Party(name, Prepared(shop, shop, preparation.basic(*administrator), address, cookie)))
    return found


def once(party: Party, subject: Subject, over: Server, codes: int) -> float:
    """Microseconds of the worker for each of so many exchanges."""
    given = preparation.codes(over, party.prepared, codes)
    sent = [
        asking.request(
            over.port, "POST", "/oauth/token", authorization=party.prepared.shop, body=preparation.exchange(code)
        )
        for code in given
    ]
    upkeep.settle(subject)
    before = _used(over)
    answers = asking.run(asking.each_once(over.port, sent))
    upkeep.settle(subject)
    used = _used(over) - before
    preparation.all_succeeded(answers)
    if (b'"id_token"' in answers[0].body) != (party.name != PLAIN):
        raise preparation.Unprepared(f"{party.name}: {answers[0].body!r}")
    return used / codes * 1e6


def _used(over: Server) -> float:
    return sum(sum(processes.thread_times(each).values()) for each in over.workers)


def added(took: Mapping[str, list[float]]) -> dict[str, list[float]]:
    """What each algorithm added, by round: beside the exchange without one in the same round."""
    plain = took[PLAIN]
    return {name: [more - less for more, less in zip(took[name], plain, strict=True)] for name in BARS}


def main() -> int:
    """0 when both bars are kept."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="grantlog-bench-") as name:
        directory = Path(name)
        facts = machine.facts(directory)
        with databases.sqlite(directory / "sqlite") as database:
            subject = Subject(database, directory / "server")
            preparation.upgrade(subject.environment)
            with subject.serving(1) as over:
                took = _rounds(parties(subject, over), subject, over, options)
    details, kept = table(took)
    print(pages.text("What `openid` adds to the exchange of a code", Found([], [details])))
    print("\n".join(f"{name}: {value}" for name, value in facts.items()))
    if options.write:
        words = f"Medians of {options.rounds} rounds of {options.codes:,} exchanges on SQLite, with one worker."
        pages.write(pages.DEVELOPERS, pages.part(MARKS, words, [details], facts), MARKS)
    return 0 if kept else 1


def _rounds(found: list[Party], subject: Subject, over: Server, options: argparse.Namespace) -> dict[str, list[float]]:
    took: dict[str, list[float]] = {party.name: [] for party in found}
    for party in found:
        once(party, subject, over, options.codes // 4)
    for number in range(options.rounds):
        for party in found if number % 2 == 0 else reversed(found):
            spent = once(party, subject, over, options.codes)
            took[party.name].append(spent)
            print(f"  {number + 1} {party.name}: {spent:.0f} µs", file=sys.stderr, flush=True)
    return took


def table(took: Mapping[str, list[float]]) -> tuple[Detail, bool]:
    """The medians with their ranges, and whether both bars are kept."""
    rows, kept = [(PLAIN, _shown(took[PLAIN]), "", "")], True
    for name, more in added(took).items():
        kept = kept and median(more) <= BARS[name]
        rows.append((name, _shown(took[name]), _shown(more), f"≤ {BARS[name]:g}"))
    columns = ("id_token", "exchange, µs", "added, µs", "bar")
    return Detail("Processor time of the worker for the exchange of a code", columns, rows), kept


def _shown(each: list[float]) -> str:
    return f"{median(each):.0f} ({min(each):.0f}–{max(each):.0f})"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.openid", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--codes", type=int, default=1_000, help="exchanged by each client in each round")
    parser.add_argument("--no-write", dest="write", action="store_false", help="leave the documentation alone")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
