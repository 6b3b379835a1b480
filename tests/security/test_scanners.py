"""Scanners that are not ours find our secrets by the rules that we give out, each with its kind, and nothing else."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from security import scanning
from security.tokens import CHECKSUM_LENGTH, DEFAULT, Format, Kind

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
FILES = {"gitleaks": "gitleaks.toml", "kingfisher": "kingfisher.yml", "detect-secrets": "detect_secrets_plugin.py"}
OWN = [Format("glog"), Format("acme2")]

Found = Counter[Kind]


class Scanner:
    """A scanner on this machine with our rules and none of its own."""

    def __init__(self, name: str, rules: Path) -> None:
        self.name = name
        self._rules = str(rules)

    @property
    def checks_checksum(self) -> bool:
        return self.name != "gitleaks"

    def scan(self, tree: Path) -> Found:
        """How often it reports each kind below that folder."""
        return Counter(getattr(self, "_" + self.name.replace("-", "_"))(tree))

    def _gitleaks(self, tree: Path) -> Iterator[Kind]:
        out = _run(tree, "betterleaks", "auto", tree.name, "-c", self._rules, "--jsonl", "--no-banner", "-l", "error")
        for line in out.splitlines():
            finding = json.loads(line).get("finding")
            if finding is not None:
                yield scanning.TYPES[finding["rule_id"].replace("-", "_")]

    def _kingfisher(self, tree: Path) -> Iterator[Kind]:
        flags = ("--load-builtins=false", "--no-validate", "--no-update-check", "--no-rule-cache", "--no-dedup")
        history = ("--git-history", "none", "--format", "json")
        out = _run(tree, "kingfisher", "scan", tree.name, "--rules-path", self._rules, *flags, *history)
        for finding in json.loads(out.splitlines()[0])["findings"]:
            yield Kind(finding["rule"]["id"].removeprefix("grantlog."))

    def _detect_secrets(self, tree: Path) -> Iterator[Kind]:
        names = {f"Grantlog {kind.description}": kind for kind in Kind}
        out = _run(tree, "detect-secrets", "scan", tree.name, "--all-files", "--no-verify", "-p", self._rules)
        for findings in json.loads(out)["results"].values():
            for finding in findings:
                # Its own detectors take any long text for a secret, and cannot be switched off all at once.
                if finding["type"] in names:
                    yield names[finding["type"]]


def _run(tree: Path, program: str, *arguments: str) -> str:
    # From the folder above: detect-secrets passes over what is not below the one that it runs in.
    command = [str(BIN / program), *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tree.parent)
    # Findings are no failure: betterleaks answers 1, kingfisher 200.
    assert ran.returncode in (0, 1, 200), ran.stderr
    return ran.stdout


@pytest.fixture(params=FILES)
def scanner(request: pytest.FixtureRequest, tmp_path: Path) -> Scanner:
    return scanner_for(request.param, tmp_path, DEFAULT)


def scanner_for(name: str, folder: Path, format_: Format) -> Scanner:
    """That scanner, its rules written into the folder."""
    rules = folder / f"{format_.prefix}-{FILES[name]}"
    rules.write_text(scanning.RULES[name](format_), encoding="utf-8")
    return Scanner(name, rules)


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


def test_what_is_longer_shorter_or_of_another_prefix_is_none_of_ours(scanner: Scanner, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    raw = DEFAULT.mint(Kind.ACCESS_TOKEN).reveal()
    others = [raw + "x", raw[:-1], "x" + raw, Format("other").mint(Kind.ACCESS_TOKEN).reveal()]
    (tree / "near.txt").write_text("".join(f'"{other}"\n' for other in others))
    assert not scanner.scan(tree)


@pytest.mark.parametrize("scanner", ["gitleaks", "kingfisher"], indirect=True)
def test_this_repository_holds_none(scanner: Scanner, tmp_path: Path) -> None:
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a checkout")
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
