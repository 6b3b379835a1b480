"""Scanners that are not ours, as the registries offer them, with our rules and none of their own."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class

from security import scanning
from security.tokens import Format, Kind

BIN = Path(sys.executable).parent
FILES = {"gitleaks": "gitleaks.toml", "kingfisher": "kingfisher.yml", "detect-secrets": "detect_secrets_plugin.py"}

Found = Counter[Kind]

_OWN_DETECTORS = sorted(each.__name__ for each in get_mapping_from_secret_type_to_class().values())
"""Of detect-secrets. They take any long text for a secret, which takes most of a minute for what a test leaves."""

_PASSED_OVER = ("heuristic.is_indirect_reference", "allowlist.is_line_allowlisted")
"""Of detect-secrets: kinds of lines in which it reports nothing. To tell them takes it longer than all the rest."""


class Scanner:
    """One of them on this machine; where it is `thorough` it passes over no line."""

    def __init__(self, name: str, rules: Path, *, thorough: bool = False) -> None:
        self.name = name
        self._rules = str(rules)
        self._disabled = _PASSED_OVER if thorough else ()

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
        without = [option for name in _OWN_DETECTORS for option in ("--disable-plugin", name)]
        for name in self._disabled:
            without += ["--disable-filter", f"detect_secrets.filters.{name}"]
        out = _run(tree, "detect-secrets", "scan", tree.name, "--all-files", "--no-verify", "-p", self._rules, *without)
        for findings in json.loads(out)["results"].values():
            for finding in findings:
                yield names[finding["type"]]


def _run(tree: Path, program: str, *arguments: str) -> str:
    # From the folder above: detect-secrets passes over what is not below the one that it runs in.
    command = [str(BIN / program), *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tree.parent)
    # Findings are no failure: betterleaks answers 1, kingfisher 200.
    assert ran.returncode in (0, 1, 200), ran.stderr
    return ran.stdout


def scanner_for(name: str, folder: Path, format_: Format, *, thorough: bool = False) -> Scanner:
    """That scanner, its rules written into the folder."""
    rules = folder / f"{format_.prefix}-{FILES[name]}"
    rules.write_text(scanning.RULES[name](format_), encoding="utf-8")
    return Scanner(name, rules, thorough=thorough)
