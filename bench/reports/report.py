"""The table: for a terminal with everything, for the documentation with what does not depend on the machine."""

from collections.abc import Mapping
from pathlib import Path
from statistics import median

from bench.reports import pages
from bench.runs import spending
from bench.runs.measuring import Result

BEGIN = "<!-- Written by `make bench`. -->"
END = "<!-- The end of what `make bench` writes. -->"


def table(result: Result) -> str:
    """Rates, ratios with their spread, latencies and memory: medians over the rounds."""
    lines = [f"{'':34}{'requests/s':>11}{'ratio':>8}{'spread':>15}{'p50 ms':>9}{'p99 ms':>9}{'failed':>8}"]
    constant = result.constants
    lines.append(
        f"{'constant answer':34}{median(each.rate for each in constant):>11.0f}{1:>8.2f}"
        f"{_spread([each.rate / median(other.rate for other in constant) for each in constant]):>15}"
        f"{median(each.p50 for each in constant):>9.2f}{median(each.p99 for each in constant):>9.2f}"
        f"{sum(each.failed for each in constant):>8}"
    )
    for (database, work), measured in result.measured.items():
        ratios = result.ratios[database, work]
        lines.append(
            f"{database + ': ' + work:34}{median(each.rate for each in measured):>11.0f}{median(ratios):>8.2f}"
            f"{_spread(ratios):>15}{median(each.p50 for each in measured):>9.2f}"
            f"{median(each.p99 for each in measured):>9.2f}{sum(each.failed for each in measured):>8}"
        )
    for database, rate in result.first.items():
        ratio = _to(result, rate)
        lines.append(f"{database}: {rate:.0f} first introspections of tokens recorded in a second, ratio {ratio:.2f}")
    for database, memory in result.memory.items():
        lines.append(
            f"{database}: {memory:.0f} MiB resident, {result.tokens[database]} live tokens introspected in turn"
        )
    lines += ["", spending.TITLE]
    for first, *rest in (spending.COLUMNS, *spending.rows(result.spent)):
        lines.append(f"{first:34}" + "".join(f" {cell:>22}" for cell in rest))
    return "\n".join(lines)


def page(result: Result, facts: Mapping[str, str], rounds: int) -> str:
    """The part of the documentation that the command writes."""
    lines = [
        BEGIN,
        "",
        f"Medians of {rounds} rounds, in brackets the lowest and the highest; 64 connections, one worker.",
        "",
        "| work | " + " | ".join(result.memory) + " |",
        "|---|" + "---|" * len(result.memory),
    ]
    for work in dict.fromkeys(work for _, work in result.measured):
        cells = [
            f"{median(result.ratios[database, work]):.2f} ({_spread(result.ratios[database, work])})"
            for database in result.memory
        ]
        lines.append(f"| {work} | " + " | ".join(cells) + " |")
    if result.first:
        rates = (f"{_to(result, result.first[database]):.2f}" for database in result.memory)
        lines.append("| first introspection of a token, its fact recorded | " + " | ".join(rates) + " |")
    lines.append("| memory of the worker | " + " | ".join(f"{each:.0f} MiB" for each in result.memory.values()) + " |")
    lines += ["", f"{spending.TITLE}:", "", *pages.tabled(spending.COLUMNS, spending.rows(result.spent))]
    lines += ["", "Measured on:", ""]
    lines += [f"- {name}: {value}" for name, value in facts.items()]
    return "\n".join([*lines, "", END])


def _to(result: Result, rate: float) -> float:
    """A rate as a ratio to the constant answer, where it was not measured beside it."""
    return rate / median(each.rate for each in result.constants)


def write(path: Path, part: str) -> None:
    """Puts the part in the place of the former one, and leaves what people wrote around it."""
    text = path.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    path.write_text(before + part + after)


def _spread(ratios: list[float]) -> str:
    return f"{min(ratios):.2f}–{max(ratios):.2f}"
