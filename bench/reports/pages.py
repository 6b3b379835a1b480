"""Findings as text for a terminal and as a page of the documentation."""

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from types import ModuleType

from bench.reports.findings import Detail, Finding, Found
from bench.runs.stage import FullPlan
from bench.subjects.databases import KINDS

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
"""For those who run a server."""

DEVELOPERS = Path(__file__).parents[1] / "README.md"
"""For those who change it."""

COSTS = Path(__file__).parents[1] / "costs.md"
"""For the same, about a single request."""


def markers(command: str) -> tuple[str, str]:
    """What stands before and after the part of a page that a command writes."""
    return f"<!-- Written by `{command}`. -->", f"<!-- The end of what `{command}` writes. -->"


MACHINE = markers("make bench-full")
"""Around what the newest of the parts was measured on."""


def of_part(part: ModuleType) -> tuple[str, str]:
    """Around what the full benchmark found in one of its parts, which may have been measured alone."""
    return markers(f"make bench-full`, part `{part.NAME}")


def text(title: str, found: Found) -> str:
    """A part's findings for a terminal."""
    lines = [title]
    for finding in found.findings:
        verdict = {True: "kept", False: "MISSED", None: ""}[finding.met]
        lines.append(f"  {finding.database:11}{finding.what:84}{finding.shown:>28}{finding.aim:>14}  {verdict}")
    for detail in found.details:
        lines.append(f"  {detail.title}")
        lines += [f"    {first:50}" + "".join(f" {cell:>13}" for cell in rest) for first, *rest in detail.rows]
    return "\n".join([*lines, *(f"  FAULT {fault}" for fault in found.faults), ""])


def full(part: ModuleType, found: Found, facts: Mapping[str, str], plan: FullPlan, day: date) -> str:
    """What the full benchmark writes of one of its parts."""
    begin, end = of_part(part)
    lines = [begin, "", f"**{part.TITLE}**", "", *_table(found.findings)]
    for detail in found.details:
        lines += ["", f"{detail.title}:", "", *tabled(detail.columns, detail.rows)]
    lines += ["", f"On {day}: {plan.rounds} rounds, {facts['CPU']}, {facts['fdatasync of 4 KiB']} for an fdatasync."]
    return "\n".join([*lines, "", end])


def machine(facts: Mapping[str, str]) -> str:
    """What it writes of the machine."""
    begin, end = MACHINE
    return "\n".join([begin, "", "The newest of these parts was measured on:", "", *_listed(facts), "", end])


def part(marked: tuple[str, str], words: str, details: Sequence[Detail], facts: Mapping[str, str]) -> str:
    """A part of the page between its markers: words, tables, and what it was measured on."""
    lines = [marked[0], "", words]
    for detail in details:
        lines += ["", f"{detail.title}:", "", *tabled(detail.columns, detail.rows)]
    return "\n".join([*lines, "", "Measured on:", "", *_listed(facts), "", marked[1]])


def _listed(facts: Mapping[str, str]) -> list[str]:
    return [f"- {name}: {value}" for name, value in facts.items()]


def _table(findings: Sequence[Finding]) -> list[str]:
    names = [name for name in KINDS if any(each.database == name for each in findings)]
    by_place = {(each.what, each.database): each for each in findings}
    rows = []
    for what in dict.fromkeys(each.what for each in findings):
        row = [what]
        for name in names:
            finding = by_place.get((what, name))
            row += ["", ""] if finding is None else [finding.aim, emphasised(finding)]
        rows.append(row)
    return tabled(["", *(column for name in names for column in ("aim", name))], rows)


def emphasised(finding: Finding) -> str:
    """The number, in bold where it misses its bound."""
    return f"**{finding.shown}**" if finding.met is False else finding.shown


def tabled(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> list[str]:
    """A table in Markdown."""
    return [
        "| " + " | ".join(columns) + " |",
        "|---" * len(columns) + "|",
        *("| " + " | ".join(row) + " |" for row in cells),
    ]


def write(path: Path, part: str, marked: tuple[str, str]) -> None:
    """Puts the part in the place of the former one, and leaves what people wrote around it."""
    page = path.read_text()
    before, _, rest = page.partition(marked[0])
    _, _, after = rest.partition(marked[1])
    path.write_text(before + part + after)
