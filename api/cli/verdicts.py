"""What the commands that verify have in common: pinned keys, and a verdict that nobody can misread."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from api.cli.failures import USAGE, Failure
from api.cli.showing import print_json, text

if TYPE_CHECKING:
    from verifier.note import Key
    from verifier.verdict import Verdict

COLOURS = {"verified": "green", "tampered": "red", "unverifiable": "yellow"}

pinned_keys: Callable[[Any], Any] = click.option(
    "--key",
    "keys",
    multiple=True,
    metavar="KEY|FILE",
    help="The log's verifier key, or a file that holds it; repeat it for the keys before and after a rotation.",
)
witness_keys: Callable[[Any], Any] = click.option(
    "--witness",
    "witnesses",
    multiple=True,
    metavar="KEY|FILE",
    help="A witness's verifier key; repeatable.",
)
demanded: Callable[[Any], Any] = click.option(
    "--quorum",
    type=click.IntRange(0),
    metavar="K",
    help="How many of the witnesses must have cosigned; all of them unless you say so.",
)


def read_keys(given: Sequence[str], option: str) -> list["Key"]:
    """Verifier keys as they stand on the command line or in files, one a line. Raises Failure."""
    from verifier.note import Key, Malformed

    found = []
    for each in given:
        for line in read_text(each, option).split() if "+" not in each else (each,):
            try:
                found.append(Key.parse(line))
            except Malformed as error:
                raise Failure(f"{option}: {error}", USAGE) from None
    return found


def read_text(name: str, option: str) -> str:
    """What a file holds; Failure when it cannot be read as text."""
    try:
        return Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not text"
        raise Failure(f"{option}: {name}: {reason}", USAGE) from None


def needed(quorum: int | None, witnesses: Sequence[Any]) -> int:
    """How many witnesses must have cosigned; Failure when there are not so many."""
    if quorum is None:
        return len(witnesses)
    if quorum > len(witnesses):
        raise Failure(f"--quorum: {quorum} cannot be demanded of {len(witnesses)} witnesses; name them", USAGE)
    return quorum


def end_with(verdict: "Verdict", as_json: bool) -> None:
    """Prints the verdict and ends with its exit code."""
    from verifier.note import encode64

    shown: dict[str, Any] = {
        "verdict": verdict.outcome,
        "reason": verdict.reason,
        "position": verdict.position,
        "until": verdict.until,
        "origin": verdict.origin,
        "size": verdict.size,
        "root": None if verdict.root is None else encode64(verdict.root),
        "checked": verdict.checked,
        "pending": verdict.pending,
        "cosigned_by": list(verdict.cosigned_by),
    }
    if as_json:
        print_json(shown)
    else:
        _print(shown)
    raise SystemExit(verdict.exit_code)


def _print(shown: dict[str, Any]) -> None:
    word = click.style(str(shown["verdict"]).upper(), fg=COLOURS[shown["verdict"]], bold=True)
    click.echo(f"{word}: {text(shown['reason'])}")
    position, until = shown["position"], shown["until"]
    if position is not None:
        what = "first misfit" if shown["verdict"] == "tampered" else "position"
        click.echo(f"{what:<14}{position if until is None else f'somewhere from {position} to {until}'}")
    if shown["origin"] is not None:
        click.echo(f"{'log':<14}{text(shown['origin'])}")
        click.echo(f"{'size':<14}{shown['size']}")
        click.echo(f"{'root':<14}{shown['root']}")
        click.echo(f"{'cosigned by':<14}{text(shown['cosigned_by'])}")
