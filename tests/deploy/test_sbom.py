"""`make sbom` names what the lock names, no more and no less, and what brings it."""

import json
import os
import re
import subprocess
import sys
from typing import Any

from tests.deploy.conftest import DEPLOY, ROOT


def bill() -> bytes:
    environment = os.environ | {"SOURCE_DATE_EPOCH": "1700000000"}
    command = [sys.executable, str(DEPLOY / "sbom.py")]
    return subprocess.run(command, check=True, capture_output=True, env=environment).stdout


def test_it_names_what_the_lock_names() -> None:
    written = bill()
    assert written == bill()
    told: dict[str, Any] = json.loads(written)
    assert (told["bomFormat"], told["specVersion"]) == ("CycloneDX", "1.6")
    assert told["metadata"]["timestamp"] == "2023-11-14T22:13:20Z"
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    pins = dict(re.findall(r"^([a-z0-9-]+)==([\w.]+)", lock, re.MULTILINE))
    assert {each["name"]: each["version"] for each in told["components"]} == pins
    assert sum(len(each["hashes"]) for each in told["components"]) == lock.count("--hash=sha256:")
    edges = {each["ref"].partition("@")[0]: each["dependsOn"] for each in told["dependencies"]}
    assert f"pkg:pypi/litestar@{pins['litestar']}" in edges["pkg:pypi/grantlog"]
    assert f"pkg:pypi/anyio@{pins['anyio']}" in edges["pkg:pypi/litestar"]
