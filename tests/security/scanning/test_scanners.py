"""Scanners that are not ours find our secrets by the rules that we give out, each with its kind, and nothing else."""

import json
import subprocess
from pathlib import Path

import pytest

from security import scanning
from security.tokens import CHECKSUM_LENGTH, DEFAULT, Format, Kind
from tests.security.scanning.scanners import FILES, Scanner, scanner_for
from tests.started import program

ROOT = Path(__file__).parents[3]
OWN = [Format("glog"), Format("acme2")]


@pytest.fixture(params=FILES)
def scanner(request: pytest.FixtureRequest, tmp_path: Path) -> Scanner:
    return scanner_for(request.param, tmp_path, DEFAULT)


def spoiled(raw: str) -> str:
    """The same with a wrong checksum."""
    return raw[:-1] + ("a" if raw[-1] != "a" else "b")


def plant(tree: Path, format_: Format, *, genuine: bool) -> None:
    """Each kind once as it stands in code, in a URL, in a log line and between tags."""
    places = ('token = "{}"\n', "GET /?access_token={}&x=1\n", "time=1 secret={} done\n", "<b>{}</b>\n")
    for kind in Kind:
        folder = tree / kind.value / "deeper"
        folder.mkdir(parents=True)
        for number, place in enumerate(places):
            raw = format_.mint(kind).reveal()
            (folder / f"planted{number}.txt").write_text(place.format(raw if genuine else spoiled(raw)))


@pytest.mark.parametrize("format_", OWN, ids=lambda format_: format_.prefix)
@pytest.mark.parametrize("name", FILES)
def test_each_genuine_secret_is_found_with_its_kind(name: str, format_: Format, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    plant(tree, format_, genuine=True)
    assert scanner_for(name, tmp_path, format_).scan(tree) == dict.fromkeys(Kind, 4)


def test_a_wrong_checksum_is_passed_over_by_who_can_compute_it(scanner: Scanner, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    plant(tree, DEFAULT, genuine=False)
    assert scanner.scan(tree) == ({} if scanner.checks_checksum else dict.fromkeys(Kind, 4))


def test_other_lengths_and_prefixes_are_not_matched(scanner: Scanner, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    raw = DEFAULT.mint(Kind.ACCESS_TOKEN).reveal()
    others = [raw + "x", raw[:-1], "x" + raw, Format("other").mint(Kind.ACCESS_TOKEN).reveal()]
    (tree / "near.txt").write_text("".join(f'"{other}"\n' for other in others))
    assert not scanner.scan(tree)


@pytest.mark.parametrize("thorough", [False, True])
def test_a_thorough_one_passes_over_no_line(tmp_path: Path, thorough: bool) -> None:
    (tmp_path / "tree").mkdir()
    lines = ("token {}", 'secret = taken("{}")', "token {} # pragma: allowlist secret")
    made = "\n".join(line.format(DEFAULT.mint(Kind.ACCESS_TOKEN).reveal()) for line in lines)
    (tmp_path / "tree" / "lines.txt").write_text(made)
    found = scanner_for("detect-secrets", tmp_path, DEFAULT, thorough=thorough).scan(tmp_path / "tree")
    assert found == {Kind.ACCESS_TOKEN: 3 if thorough else 1}


@pytest.mark.parametrize("scanner", ["gitleaks", "kingfisher"], indirect=True)
def test_this_repository_holds_none(scanner: Scanner, tmp_path: Path) -> None:
    listed = subprocess.run(
        [program("git"), "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip(f"not a checkout: {listed.stderr.strip()}")
    tree = tmp_path / "tree"
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_bytes((ROOT / name).read_bytes())
    assert not scanner.scan(tree)


def test_the_rules_follow_from_the_kinds() -> None:
    """GitHub takes a name and an expression by hand; what it is told is what every scanner is told."""
    rules = json.loads(scanning.github())
    assert [(rule["type"], rule["pattern"]) for rule in rules] == [
        (scanning.type_name(kind), DEFAULT.pattern(kind)) for kind in Kind
    ]
    assert all(scanning.TYPES[rule["type"]] in Kind for rule in rules)
    for kind in Kind:
        assert DEFAULT.pattern(kind) in scanning.gitleaks()
        assert DEFAULT.pattern(kind) in scanning.detect_secrets()
    assert scanning.kingfisher().count(f"base62: {CHECKSUM_LENGTH} ") == len(Kind)
