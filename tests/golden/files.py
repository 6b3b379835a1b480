"""The golden files themselves: which there are, and what stands in them."""

from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
EVENTS = HERE / "events"
TAGS = HERE / "tags.txt"


class Golden(NamedTuple):
    """One stored shape: the first of a tag is `<tag>.json`, one with fields added later `<tag>.2.json`, and so on."""

    tag: str
    number: int
    data: bytes


def goldens() -> list[Golden]:
    """Every golden file, the shapes of a tag in the order in which they came up."""
    return sorted(_golden(path) for path in EVENTS.glob("*.json"))


def write(golden: Golden) -> None:
    """Adds a golden file; one that exists is never written again."""
    name = golden.tag if golden.number == 1 else f"{golden.tag}.{golden.number}"
    with (EVENTS / f"{name}.json").open("xb") as file:
        file.write(golden.data + b"\n")


def tags() -> list[str]:
    """Every tag that was ever stored, retired ones included."""
    return TAGS.read_text().splitlines()


def _golden(path: Path) -> Golden:
    noun, verb, *number = path.stem.split(".")
    return Golden(f"{noun}.{verb}", int(number[0]) if number else 1, path.read_bytes().removesuffix(b"\n"))
