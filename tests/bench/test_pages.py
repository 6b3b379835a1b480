"""What the benchmarks write into the documentation."""

import re
from datetime import date
from pathlib import Path

from bench.full import PARTS
from bench.parts import rates
from bench.reports import pages
from bench.reports.findings import Bound, Detail, Finding, Found, at_least, at_most, of_rounds
from bench.runs.stage import FULL


def test_a_bound_that_is_missed_stands_out() -> None:
    kept = of_rounds("introspection", "SQLite", [0.9, 0.7, 0.8], bound=at_least(0.8))
    missed = Finding("memory", "SQLite", 300, "MiB", at_most(250), digits=0)
    free = Finding("imports", "PostgreSQL", 0.61, "s")
    assert (kept.shown, kept.aim, kept.met) == ("0.80 (0.70–0.90)", "≥ 0.8", True)
    assert (missed.met, free.met, free.aim) == (False, None, "")
    facts = {"CPU": "one, 2 cores", "fdatasync of 4 KiB": "0.20 ms"}
    page = pages.full(rates, Found([kept, missed, free]), facts, FULL, date(2026, 1, 31))
    assert "| introspection | ≥ 0.8 | 0.80 (0.70–0.90) |  |  |" in page
    assert "| memory | ≤ 250 MiB | **300 MiB** |  |  |" in page
    assert "On 2026-01-31: 5 rounds, one, 2 cores, 0.20 ms for an fdatasync." in page
    assert "- CPU: one" in pages.machine(facts)


def test_only_what_stands_between_the_markers_is_written_anew(tmp_path: Path) -> None:
    path, marked = tmp_path / "page.md", pages.markers("make it")
    path.write_text(f"before\n{marked[0]}\nold\n{marked[1]}\nafter\n")
    part = pages.part(marked, "Words.", [Detail("Rates", ("work", "ratio"), [("refresh", "2.00")])], {"load": "wrk"})
    pages.write(path, part, marked)
    text = path.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "| refresh | 2.00 |" in text
    pages.write(path, part, marked)
    assert path.read_text() == text


def test_documentation_has_a_place_for_everything_written() -> None:
    users = [pages.markers(command) for command in ("make bench", "make bench-peer")]
    alone = [pages.markers(f"python -m bench.{name}") for name in ("inside", "openid")]
    full = [pages.MACHINE, *map(pages.of_part, PARTS)]
    for page, marked in ((pages.PAGE, users), (pages.DEVELOPERS, full), (pages.COSTS, alone)):
        text = page.read_text()
        for begin, end in marked:
            assert text.count(begin) == text.count(end) == 1
            assert text.index(begin) < text.index(end)


def test_a_bound_is_kept_at_its_very_value() -> None:
    assert Bound("≥", 0.9).keeps(0.9)
    assert not Bound("≥", 0.9).keeps(0.89)
    assert Bound("≤", 250).keeps(250)
    assert not Bound("≤", 250).keeps(251)


def test_every_command_stands_in_the_table_of_the_bench() -> None:
    rooms = Path(__file__).parents[2] / "bench"
    told = (each.read_text().partition("\n")[0] for each in (*rooms.glob("*.py"), rooms / "peer" / "__main__.py"))
    commands = {found[1] for line in told if (found := re.search(r"`python -m (bench[.\w]*)", line))}
    table = pages.DEVELOPERS.read_text().partition("\n## ")[0]
    by_make = {"bench": "make bench", "bench.full": "make bench-full"}
    by_make |= {"bench.budget": "make bench-budget", "bench.peer": "make bench-peer"}
    assert {"bench", "bench.peer", "bench.hot"} <= commands
    # Made by the others, for those who want such a log for themselves.
    assert {name for name in commands if f"{by_make.get(name, name)}`" not in table} == {"bench.growth"}
