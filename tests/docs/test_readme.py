"""README's tour and docs/connecting.md do what they say: their blocks run as they stand and print what stands below."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests import fork_server, plain_http
from tests.cli.processes import running
from tests.scenarios.browser import Browser
from tests.started import free_port, program, started

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONNECTING = (ROOT / "docs" / "connecting.md").read_text(encoding="utf-8")
PATIENCE = 120
BREAK = "a block of the tour ends here"


class Block(NamedTuple):
    """Commands, and the lines that they print; `…` stands for anything."""

    commands: str
    printed: str


def section(heading: str) -> str:
    """What stands below a heading of docs/connecting.md."""
    return CONNECTING.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def fenced(text: str) -> list[tuple[str, str]]:
    """Blocks with a language, and the language."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def tour() -> list[Block]:
    (part,) = re.findall(r"<!-- tour: begin.*?-->\n(.*)<!-- tour: end -->", README, re.DOTALL)
    blocks: list[Block] = []
    for language, text in fenced(part):
        if language == "bash":
            blocks.append(Block(text, ""))
        else:
            assert blocks[-1].printed == "", "what is printed stands below its commands"
            blocks[-1] = blocks[-1]._replace(printed=text)
    return blocks


def commands(heading: str) -> str:
    """The commands of a section, or of a part of it (`section/part`), after those of the tour that they rest on."""
    heading, _, below = heading.partition("/")
    text = section(heading)
    part = text.partition(f"\n### {below}\n")[2] if below else text
    (own,) = [text for language, text in fenced(part.partition("\n### ")[0]) if language == "bash"]
    signed_in = next(block.commands for block in tour() if "ADMIN=" in block.commands)
    return "\n".join((tour()[0].commands, signed_in, f"echo '{BREAK}'", own))


def pattern(printed: str) -> re.Pattern[str]:
    """Matches what the README shows, with anything in place of `…`; lines in between are none of its business."""
    lines = (".*".join(map(re.escape, line.split("…"))) for line in printed.splitlines())
    return re.compile(r"\n(?:.*\n)*?".join(lines))


@pytest.fixture
def environment(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """A demo that is being served, with what else a test wants of its settings, in a directory that looks like a
    checkout after `make run`; the blocks talk to it by curl."""
    program("curl")
    command = tmp_path / ".venv" / "bin" / "grantlog"
    command.parent.mkdir(parents=True)
    fork_server.script(command)
    environment = {
        "GRANTLOG_DATA_DIR": str(tmp_path / "data"),
        "GRANTLOG_PORT": str(free_port()),
        "GRANTLOG_DEMO_PORT": str(free_port()),
        **getattr(request, "param", {}),
    }
    with running("demo", environment=environment, directory=tmp_path):
        yield environment


def run(script: str, environment: dict[str, str], directory: Path) -> list[str]:
    """Runs commands as a person pastes them, and gives what they print between one BREAK and the next."""
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=directory,
        env={"PATH": "/usr/bin:/bin", "NO_PROXY": "*", "LANG": "C.UTF-8", **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stderr == ""
    return ran.stdout.split(f"{BREAK}\n")


def test_the_tour_works_word_for_word(environment: dict[str, str], tmp_path: Path) -> None:
    blocks = tour()
    outputs = run(f"\necho '{BREAK}'\n".join(block.commands for block in blocks), environment, tmp_path)
    assert len(outputs) == len(blocks)
    for block, output in zip(blocks, outputs, strict=True):
        assert pattern(block.printed).search(output), f"{block.commands}\nprinted\n{output}\nand not\n{block.printed}"


def test_a_dashboard_is_made_by_the_request_that_stands_there(environment: dict[str, str], tmp_path: Path) -> None:
    _, answer = run(commands("Connecting a dashboard"), environment, tmp_path)
    made = json.loads(answer)
    assert made["slug"] == "shop"
    assert made["state"] == "enabled"
    assert made["login_url"].endswith("/dashboards/shop/login")


@pytest.mark.parametrize("environment", [{"GRANTLOG_REGISTRATION": "token"}], indirect=True)
def test_a_client_registers_itself_as_it_stands_there(environment: dict[str, str], tmp_path: Path) -> None:
    assert "`GRANTLOG_REGISTRATION=token make run`" in CONNECTING
    _, answer = run(commands("Connecting a third party/A client that registers itself"), environment, tmp_path)
    registered = json.loads(answer)
    assert registered["client_name"] == "Photo Prints"
    assert registered["registration_access_token"].startswith("glog_ra_")


async def test_the_third_partys_program_gets_access(environment: dict[str, str], tmp_path: Path) -> None:
    printed = await carried_out("Connecting a third party", environment, tmp_path)
    assert printed == "Access to profile catalog:read for 600 seconds\nAnd again for 600 seconds\n"


async def test_a_program_signs_people_in(environment: dict[str, str], tmp_path: Path) -> None:
    printed = await carried_out("Signing people in", environment, tmp_path)
    assert printed == "Paul Baker signed in, and can be reached at paul@example.test\n"


async def carried_out(heading: str, environment: dict[str, str], tmp_path: Path) -> str:
    """What a section's program prints once the client is registered and the demo's person has allowed it."""
    _, answer = run(commands(heading), environment, tmp_path)
    registered = json.loads(answer)
    (program,) = [text for language, text in fenced(section(heading)) if language == "python"]
    issuer = f"http://127.0.0.1:{environment['GRANTLOG_PORT']}"
    person = json.loads((Path(environment["GRANTLOG_DATA_DIR"]) / "demo.json").read_text())["person"]
    with started(
        [sys.executable, "-u", "-c", program, issuer, registered["client_id"], registered["client_secret"]],
        env={"NO_PROXY": "*"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        process.stdout.readline()
        address = process.stdout.readline().strip()
        async with plain_http.caller(issuer) as client:
            browser = Browser(client)
            page = await browser.open(address)
            typed = {"username": person["username"], "password": person["password"]}
            page = await browser.press(page, "/oauth/authorize/sign-in", **typed)
            page = await browser.press(page, "/oauth/authorize/consent", ("decision", "approve"))
        printed, _ = process.communicate(f"{page.location}\n", PATIENCE)
    assert process.returncode == 0
    return str(printed)


def test_the_tour_looks_at_something() -> None:
    blocks = tour()
    assert len(blocks) >= 7
    assert sum(bool(block.printed) for block in blocks) >= 6


def documents() -> Iterator[Path]:
    yield from ROOT.glob("*.md")
    for room in ("docs", "bench"):
        yield from (each for each in (ROOT / room).rglob("*.md") if "node_modules" not in each.parts)


def anchors(document: Path) -> set[str]:
    """What the headings of a page are called in links."""
    text = re.sub(r"^```.*?^```$", "", document.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    plain = (re.sub(r"\]\([^)]*\)", "", heading).lower() for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading).strip().replace(" ", "-") for heading in plain}


def test_what_the_documents_link_to_exists() -> None:
    looked_at = 0
    for document in documents():
        text = document.read_text(encoding="utf-8")
        for target, _, anchor in (link.partition("#") for link in re.findall(r"\]\((?!https?:)([^)]+)\)", text)):
            page = document.parent / target if target else document
            assert page.exists(), f"{document.relative_to(ROOT)} links to {target}"
            if anchor:
                looked_at += 1
                assert anchor in anchors(page), f"{document.relative_to(ROOT)} links to {target}#{anchor}"
    assert looked_at > 20
