"""Takes the pictures of README and console from a running demo: `make pictures`. Chromium is Debian's package."""

import asyncio
import html
import json
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from playwright.async_api import Page, async_playwright

IMAGES = Path(__file__).parent / "images"
GRANTLOG = Path(sys.executable).with_name("grantlog")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
ESCAPE = re.compile(r"\x1b\[([0-9;]*)m")
COLOURS = {"30": "#6b7280", "31": "#f87171", "32": "#4ade80", "33": "#facc15", "34": "#60a5fa", "35": "#c084fc"}
COLOURS |= {"36": "#22d3ee", "90": "#9ca3af", "94": "#93c5fd"}


def free_port(wanted: int) -> int:
    """That port, which readers know from the README, unless somebody listens on it; any free one then."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def coloured(text: str) -> str:
    """Terminal output as HTML: the colours that the command line uses, bold, dim."""
    parts, codes = [], set[str]()
    for index, part in enumerate(ESCAPE.split(text)):
        if index % 2:
            codes = set() if part in ("", "0") else codes | set(part.split(";"))
            continue
        style = "".join(f"color:{COLOURS[code]};" for code in sorted(codes & COLOURS.keys()))
        style += "font-weight:bold;" if "1" in codes else ""
        style += "opacity:.6;" if "2" in codes else ""
        parts.append(f'<span style="{style}">{html.escape(part)}</span>' if part else "")
    return "".join(parts)


def shown(*command: str | Path, environment: dict[str, str]) -> str:
    """What a command writes to a terminal that is wide enough for all of it, colours included."""
    terminal, end = pty.openpty()
    wide = environment | {"COLUMNS": "1000"}
    process = subprocess.Popen(command, env=wide, stdin=subprocess.DEVNULL, stdout=end)  # noqa: S603 - our own
    os.close(end)
    written = b""
    try:
        while part := os.read(terminal, 65536):
            written += part
    except OSError:
        # How Linux says that nobody has the other end open any more.
        pass
    os.close(terminal)
    if process.wait() != 0:
        raise RuntimeError(f"{command} ended with {process.returncode}")
    return written.decode().replace("\r\n", "\n")


async def flow(page: Page, third_party: str, person: dict[str, str]) -> None:
    """A mistyped password, the consent page, tokens, fresh ones, and their end."""
    await page.goto(third_party)
    await page.click("#connect")
    for password in ("mistyped", person["password"]):
        await page.fill("#username", person["username"])
        await page.fill("#password", password)
        await page.press("#password", "Enter")
        await page.wait_for_selector("#error, button[name=decision]")
    box = await page.locator(".sheet").bounding_box()
    if box is None:
        raise RuntimeError("the consent page does not show its sheet")
    clip = {"x": box["x"] - 28, "y": 24, "width": box["width"] + 56, "height": box["y"] + box["height"] - 12}
    await page.screenshot(path=IMAGES / "consent.png", clip=clip)  # type: ignore[arg-type]
    await page.click("button[value=approve]")
    await page.click("#refresh-refresh_token")
    await page.click("#revoke-refresh_token")
    await page.wait_for_selector("#done:has-text('Revoked')")


async def tail(page: Page, environment: dict[str, str], start: int) -> None:
    """The events from that position on, as a terminal shows them that does not wrap its lines."""
    said = shown(GRANTLOG, "log", "tail", "--no-follow", "--from", str(start), environment=environment)
    await page.set_content(
        '<body style="margin:0"><pre style="width:800px;margin:0;padding:18px 22px;overflow:hidden;background:#111827;'
        'color:#e5e7eb;font:13px/1.7 DejaVu Sans Mono,monospace">'
        '<span style="color:#9ca3af">$ grantlog log tail</span>\n'
        f'<span style="mask-image:linear-gradient(to right,#000 90%,transparent);display:block;overflow:hidden">'
        f"{coloured(said).strip()}</span></pre></body>"
    )
    await page.locator("pre").screenshot(path=IMAGES / "log-tail.png")


CONSOLE = {
    "console": "/console/",
    "console-search": "/console/audit?range=30d",
    "console-desk": "/console/leaks",
    "console-incidents": "/console/incidents",
    "console-clients": "/console/clients?sort=risk",
    "console-people": "/console/people",
    "console-roles": "/console/roles",
    "console-grants": "/console/grants",
    "console-log": "/console/log",
    "console-live": "/console/live",
    "console-health": "/console/health",
    "console-settings": "/console/settings",
    "console-notifications": "/console/notifications",
}
"""Pages of the console, by the names of their pictures."""

WITHIN: dict[str, tuple[str, ...]] = {
    "console-event": ("/console/audit?range=30d", ".row .at"),
    "console-incident": ("/console/incidents", "tbody th a"),
    "console-client": ("/console/clients?sort=risk", "tbody th a"),
    "console-person": ("/console/people", "tbody th a"),
    "console-token": (
        "/console/audit?type=grant.tokens_issued&range=30d",
        ".row .at",
        "dd a[href^='/console/tokens/']",
    ),
}
"""Those of one thing: the page that has it, and the links that lead to it, the first of each."""


async def console(page: Page, issuer: str, administrator: dict[str, str]) -> None:
    """Each page as it comes, and those of the first thing of each kind."""
    await page.goto(f"{issuer}/console/")
    await page.fill("#username", administrator["username"])
    await page.fill("#password", administrator["password"])
    await page.press("#password", "Enter")
    await page.click("button[name=decision][value=approve]")
    for name, path in CONSOLE.items():
        await page.goto(issuer + path)
        await page.screenshot(path=IMAGES / f"{name}.png")
    for name, (path, *links) in WITHIN.items():
        await page.goto(issuer + path)
        for link in links:
            await page.locator(link).first.click()
            await page.wait_for_load_state("networkidle")
        await page.screenshot(path=IMAGES / f"{name}.png")


class Demo(NamedTuple):
    """A demo that runs; `made` is demo.json."""

    issuer: str
    application: str
    made: dict[str, Any]
    environment: dict[str, str]


@contextmanager
def running(*options: str) -> Iterator[Demo]:
    """A demo of its own, as long as the block lasts."""
    folder = Path(tempfile.mkdtemp())
    port, demo_port = free_port(8400), free_port(8401)
    environment = os.environ | {
        "GRANTLOG_PORT": str(port),
        "GRANTLOG_HEALTH_PORT": "0",
        "GRANTLOG_DEMO_PORT": str(demo_port),
        "GRANTLOG_DATA_DIR": str(folder),
        "GRANTLOG_LOG_LEVEL": "warning",
    }
    server = subprocess.Popen([GRANTLOG, "demo", *options], env=environment, stdout=subprocess.DEVNULL)  # noqa: S603
    try:
        issuer = f"http://127.0.0.1:{port}"
        for _ in range(1_200):
            try:
                urllib.request.urlopen(f"{issuer}/health/ready").close()  # noqa: S310 - our own demo
                break
            except OSError:
                time.sleep(0.1)
        made = json.loads((folder / "demo.json").read_text())
        yield Demo(issuer, f"http://127.0.0.1:{demo_port}/", made, dict(environment))
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)
        shutil.rmtree(folder)


async def main() -> None:
    """Starts a demo, takes the pictures, ends it; those of the console from one with a month behind it."""
    IMAGES.mkdir(exist_ok=True)
    async with async_playwright() as playwright:
        program = shutil.which("chromium") or shutil.which("chromium-headless-shell")
        browser = await playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        with running() as demo:
            page = await browser.new_page(viewport={"width": 620, "height": 800}, device_scale_factor=2)
            told = shown(GRANTLOG, "log", "tail", "--no-follow", "--json", environment=demo.environment)
            begin = json.loads(told.splitlines()[-1])["position"] + 1
            await flow(page, demo.application, demo.made["person"])
            await tail(await browser.new_page(device_scale_factor=2), demo.environment, begin)
        with running("--history=if-empty") as demo:
            page = await browser.new_page(viewport={"width": 1280, "height": 800})
            await console(page, demo.issuer, demo.made["administrator"])
        await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
