"""`python -m bench.openid`: what the scope `openid` adds to the exchange of a code, in processor time of the worker.

Three clients alike but for that: one that asks for no id_token, one whose id_tokens are signed by ES256, one by RS256.
They redeem codes of one person in turn, in small portions within one process, behind the server's own protocol but
without sockets. A round compares what lies a moment apart; the median of many rounds leaves out what else the machine
did. Beside it stands what the signatures alone took in the same rounds. That the log is followed is counted too, and
done on the spot: what a process does at its own times, whoever asks, would fall on one of the three.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from time import thread_time
from typing import Any, NamedTuple

import httpx
import uvloop

from bench import hot
from bench.inside import running, unheard
from bench.prepared import preparation
from bench.prepared.preparation import REDIRECT_URI, basic
from bench.prepared.subject import Subject
from bench.reports import machine, pages
from bench.reports.findings import Detail, Found
from bench.subjects import databases

BARS: Mapping[str, float] = {"ES256": 110, "RS256": 350}
"""Microseconds that an id_token may add, by its algorithm."""

PLAIN = "without"
MARKS = pages.markers("python -m bench.openid")
TIMES = 40
"""Signatures in a row, of which each round takes the mean."""


class Party(NamedTuple):
    """A client, and the browser and address by which its person gets it a code."""

    authorization: str
    browser: httpx.AsyncClient
    address: str


class Exchanges:
    """The app of this process, asked for tokens by clients of all three kinds."""

    def __init__(self, app: Any, services: Any, clients: tuple[tuple[str, str], ...]) -> None:
        self._asked = hot.Asked(app, clients)
        self._services = services
        self._app = app
        self._administrator = basic(*clients[2])
        self._parties: dict[str, Party] = {}

    async def ready(self) -> None:
        """Registers the clients, with the consent of one person to all three."""
        form = {"grant_type": "client_credentials"}
        desk = hot.browser(self._app)
        given = await desk.post("/oauth/token", data=form, headers={"authorization": self._administrator})
        headers = {"authorization": f"Bearer {given.json()['access_token']}"}
        for name in (PLAIN, *BARS):
            scope = preparation.SCOPE if name == PLAIN else f"{preparation.SCOPE} openid"
            body = {"client_name": name, "redirect_uris": [REDIRECT_URI], "scope": scope}
            if name != PLAIN:
                body["id_token_signed_response_alg"] = name
            answer = await desk.post("/admin/clients", json=body, headers=headers)
            made = answer.raise_for_status().json()
            browser = hot.browser(self._app)
            address = await hot.consented(browser, made["client_id"], scope)
            self._parties[name] = Party(basic(made["client_id"], made["client_secret"]), browser, address)

    async def portion(self, name: str, count: int) -> float:
        """Microseconds for each of so many exchanges, with all that follows them."""
        party = self._parties[name]
        bodies = await hot.exchanges(party.browser, party.address, count)
        await self._follow()
        took = hot.Took()
        answers = await self._asked.exchanged(hot.requests("/oauth/token", party.authorization, bodies), took)
        with took:
            await self._follow()
        if any((b'"id_token"' in each) != (name != PLAIN) for each in answers):
            raise preparation.Unprepared(f"{name}: {answers[0]!r}")
        return took.seconds * 1e6 / count

    async def _follow(self) -> None:
        await self._services.uses.record(everything=True)
        await self._services.follower.follow()


def signing() -> dict[str, Callable[[], object]]:
    """A signature by each algorithm and nothing besides."""
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
    from cryptography.hazmat.primitives.hashes import SHA256

    from security.jose import RSA_BITS

    said, curve, pkcs = b"x" * 500, ec.ECDSA(SHA256()), padding.PKCS1v15()
    of_curve = ec.generate_private_key(ec.SECP256R1())
    of_rsa = rsa.generate_private_key(65537, RSA_BITS)
    return {"ES256": lambda: of_curve.sign(said, curve), "RS256": lambda: of_rsa.sign(said, pkcs, SHA256())}


def signed(sign: Callable[[], object]) -> float:
    """Microseconds of one signature."""
    began = thread_time()
    for _ in range(TIMES):
        sign()
    return (thread_time() - began) * 1e6 / TIMES


class Portions(NamedTuple):
    """Microseconds by round: of an exchange by its client's name, and of a signature alone by its algorithm."""

    exchanges: dict[str, list[float]]
    signatures: dict[str, list[float]]


async def measure(asked: Exchanges, options: argparse.Namespace) -> Portions:
    """All rounds; a first one, in which everything is loaded, is not counted."""
    bare = signing()
    took = Portions({name: [] for name in (PLAIN, *BARS)}, {name: [] for name in BARS})
    for number in range(options.rounds + 1):
        for name in took.exchanges if number % 2 == 0 else reversed(took.exchanges):
            spent = await asked.portion(name, options.codes)
            alone = signed(bare[name]) if name in bare else 0.0
            if number:
                took.exchanges[name].append(spent)
                if name in bare:
                    took.signatures[name].append(alone)
    return took


def added(took: Portions) -> dict[str, list[float]]:
    """What each algorithm added, by round: beside the exchange without one in the same round."""
    plain = took.exchanges[PLAIN]
    return {name: [more - less for more, less in zip(took.exchanges[name], plain, strict=True)] for name in BARS}


def table(took: Portions) -> tuple[Detail, bool]:
    """What was found, and whether both bars are kept: by the least portions, which others on the machine disturbed
    least. The median of the rounds' differences stands beside it, with the middle half of them."""
    least = {name: min(each) for name, each in took.exchanges.items()}
    rows, kept = [(PLAIN, _shown(took.exchanges[PLAIN]), "", "", "", "")], True
    for name, by_round in added(took).items():
        more = least[name] - least[PLAIN]
        kept = kept and more <= BARS[name]
        alone = _shown(took.signatures[name])
        bar = f"≤ {BARS[name]:g}"
        rows.append((name, _shown(took.exchanges[name]), f"{more:.0f}", bar, _half(by_round), alone))
    columns = ("id_token", "exchange, µs", "added, least", "bar", "added, by round", "a signature alone")
    return Detail("Processor time of the worker for the exchange of a code, in microseconds", columns, rows), kept


def _shown(each: list[float]) -> str:
    return f"{min(each):.0f}, median {median(each):.0f}"


def _half(each: list[float]) -> str:
    ordered = sorted(each)
    quarter = len(ordered) // 4
    return f"{median(each):.0f} ({ordered[quarter]:.0f}–{ordered[-1 - quarter]:.0f})"


def main() -> int:
    """0 when both bars are kept."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="grantlog-bench-") as name, ExitStack() as opened:
        directory = Path(name)
        facts = machine.facts(directory)
        database = opened.enter_context(databases.sqlite(directory / "sqlite"))
        subject = Subject(database, directory / "server")
        os.environ |= subject.environment
        preparation.Administration = hot.Here  # type: ignore[misc]
        preparation.upgrade(subject.environment)
        clients = preparation.install(subject.environment)
        with unheard():
            from api.app import create
            from api.background import Background
            from api.environment import load
            from api.http.log_lines import configure
            from api.routes import routed
            from security.keyring import parse_keyring

            Background.start = lambda background: None  # type: ignore[method-assign, assignment]
            settings = load()
            configure(format=settings.log_format, level=settings.log_level, prefixes=(settings.token_prefix,))
            routes = routed(settings)
            app = create(settings, partial(parse_keyring, settings.master_key or ""), app=routes)

            async def work() -> Portions:
                async with running(app):
                    asked = Exchanges(app, routes.state.services, clients)
                    await asked.ready()
                    return await measure(asked, options)

            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                took = runner.run(work())
    details, kept = table(took)
    print(pages.text("What `openid` adds to the exchange of a code", Found([], [details])))
    print("\n".join(f"{name}: {value}" for name, value in facts.items()))
    if options.write:
        words = f"{options.rounds} rounds of {options.codes} exchanges of each kind on SQLite, all at once."
        pages.write(pages.COSTS, pages.part(MARKS, words, [details], facts), MARKS)
    return 0 if kept else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.openid", description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--codes", type=int, default=16, help="exchanged together by each client in each round")
    parser.add_argument("--no-write", dest="write", action="store_false", help="leave the documentation alone")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
