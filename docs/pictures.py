"""Makes the README's pictures from a running demo: `python docs/pictures.py`. It needs Chromium (Debian's package)."""

import asyncio
import html
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from playwright.async_api import Page, async_playwright

IMAGES = Path(__file__).parent / "images"
GRANTLOG = Path(sys.executable).with_name("grantlog")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
ESCAPE = re.compile(r"\x1b\[([0-9;]*)m")
COLOURS = {"30": "#6b7280", "31": "#f87171", "32": "#4ade80", "33": "#facc15", "34": "#60a5fa", "35": "#c084fc"}
COLOURS |= {"36": "#22d3ee", "90": "#9ca3af", "94": "#93c5fd"}


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def coloured(text: str) -> str:
    """Terminal output as HTML: the colours that the command line uses, bold, dim."""
    parts, style = [], ""
    for index, part in enumerate(ESCAPE.split(text)):
        if index % 2 == 0:
            parts.append(f'<span style="{style}">{html.escape(part)}</span>' if part else "")
            continue
        codes = part.split(";")
        style = "".join(f"color:{COLOURS[code]};" for code in codes if code in COLOURS)
        style += "font-weight:bold;" if "1" in codes else ""
        style += "opacity:.65;" if "2" in codes else ""
    return "".join(parts)


async def consent(page: Page, third_party: str, person: dict[str, str]) -> None:
    """Through the demo's third party to the consent page, and on."""
    await page.goto(third_party)
    await page.click("#connect")
    await page.fill("[name=username]", person["username"])
    await page.fill("[name=password]", person["password"])
    await page.press("[name=password]", "Enter")
    await page.wait_for_selector("[name=decision][value=approve]")
    await page.screenshot(path=IMAGES / "consent.png")
    await page.click("[name=decision][value=approve]")
    await page.wait_for_selector("#token-access_token")


async def tail(page: Page, environment: dict[str, str]) -> None:
    """The newest events, as a terminal shows them."""
    said = subprocess.run(  # noqa: S603 - our own command
        [GRANTLOG, "log", "tail", "--no-follow"],
        env=environment | {"FORCE_COLOR": "1", "COLUMNS": "140"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    await page.set_viewport_size({"width": 1180, "height": 300})
    await page.set_content(
        '<body style="margin:0;background:#111827"><pre style="width:1060px;overflow:hidden;margin:0;padding:20px 24px;'
        'color:#e5e7eb;font:13px/1.55 DejaVu Sans Mono,monospace">'
        f'<span style="color:#9ca3af">$ grantlog log tail</span>\n{coloured(said)}</pre></body>'
    )
    await page.locator("pre").screenshot(path=IMAGES / "log-tail.png")


async def main() -> None:
    """Starts a demo, takes the pictures, ends it."""
    IMAGES.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp())
    port, demo_port = free_port(), free_port()
    environment = os.environ | {
        "GRANTLOG_PORT": str(port),
        "GRANTLOG_DEMO_PORT": str(demo_port),
        "GRANTLOG_DATA_DIR": str(folder),
    }
    server = subprocess.Popen([GRANTLOG, "demo"], env=environment, stdout=subprocess.DEVNULL)  # noqa: S603
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready").close()  # noqa: S310 - our own demo
                break
            except OSError:
                time.sleep(0.1)
        demo = json.loads((folder / "demo.json").read_text())
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
            page = await browser.new_page(viewport={"width": 760, "height": 720}, device_scale_factor=2)
            await consent(page, f"http://127.0.0.1:{demo_port}/", demo["person"])
            await tail(await browser.new_page(device_scale_factor=1.5), dict(environment))
            await browser.close()
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)
        shutil.rmtree(folder)


if __name__ == "__main__":
    asyncio.run(main())
