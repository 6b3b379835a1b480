"""`make sbom`: everything that is installed with the server, from the lock, as CycloneDX (ECMA-424) has it.

The same lock gives the same bytes. What brings a package is taken from the lock's own remarks.
"""

import json
import os
import re
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

ROOT = Path(__file__).parents[1]
PIN = re.compile(r"^([a-z0-9][a-z0-9._-]*)==([^ ;\\]+)")
HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
VIA = re.compile(r"^    #(?: via)? {1,3}([a-z0-9][a-z0-9._-]*)")
ITSELF = "grantlog"


def components(lock: str) -> tuple[list[dict[str, Any]], dict[str, set[str]]]:
    """The packages of a lock, and by each package's name those that it brings."""
    found: list[dict[str, Any]] = []
    brings: dict[str, set[str]] = {}
    for line in lock.splitlines():
        if match := PIN.match(line):
            name, version = match[1], match[2]
            found.append(component(name, version))
            brings.setdefault(name, set())
        elif match := HASH.search(line):
            found[-1]["hashes"].append({"alg": "SHA-256", "content": match[1]})
        elif found and (match := VIA.match(line)):
            brings.setdefault(match[1], set()).add(found[-1]["name"])
    return found, brings


def component(name: str, version: str) -> dict[str, Any]:
    """A package, with the hash of each of its files that are accepted to follow."""
    purl = f"pkg:pypi/{name}@{version}"
    told = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl, "hashes": []}
    expression = license_of(name)
    return told | ({"licenses": [{"expression": expression}]} if expression else {})


def license_of(name: str) -> str | None:
    """The SPDX expression by which a package says its license, if it does (PEP 639)."""
    try:
        told = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return None
    found: list[str] = told.get_all("License-Expression") or []
    return found[0] if found else None


def bill(lock: str, version: str, epoch: str | None = None) -> dict[str, Any]:
    """The document. `epoch` is when it was made, in seconds since 1970; without it nothing is said of that."""
    found, brings = components(lock)
    own = f"pkg:pypi/{ITSELF}@{version}"
    refs = {each["name"]: each["bom-ref"] for each in found} | {ITSELF: own}
    told: dict[str, Any] = {
        "component": {"type": "application", "bom-ref": own, "name": ITSELF, "version": version, "purl": own}
    }
    if epoch is not None:
        told["timestamp"] = datetime.fromtimestamp(int(epoch), UTC).isoformat().replace("+00:00", "Z")
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid5(NAMESPACE_URL, own + lock)}",
        "version": 1,
        "metadata": told,
        "components": found,
        "dependencies": [
            {"ref": refs[name], "dependsOn": sorted(refs[each] for each in brought)}
            for name, brought in sorted(brings.items())
            if name in refs
        ],
    }


def main() -> None:
    """Prints it."""
    lock, version = (ROOT / "requirements.lock").read_text("utf-8"), (ROOT / "VERSION").read_text("utf-8").strip()
    json.dump(bill(lock, version, os.environ.get("SOURCE_DATE_EPOCH")), sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
