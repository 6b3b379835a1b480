"""`GET /verify.html`: one file that verifies receipts and exports in a browser, offline, no matter who holds it.

It is put together from the modules that the console itself uses, so that both say the same. Its own policy lets it run
what it holds and reach nobody, wherever it is opened."""

import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any

from litestar import Response, get

ROOM = Path(__file__).parents[1] / "static" / "console"
NAME = "verify.html"
MODULES = ("bytes.js", "tree.js", "note.js", "verify.js")
"""What verifies, each module behind those that it imports."""

_IMPORT = re.compile(r'^import \{[^}]*\} from "\./[a-z_]+\.js";\n', re.MULTILINE)


def offline_verifier() -> bytes:
    """The file, the same bytes from the same sources."""
    page = Path(__file__).with_name(NAME).read_text(encoding="utf-8")
    style = (ROOM / "verify.css").read_text(encoding="utf-8")
    script = joined(*MODULES, "verify_page.js")
    for placeholder, content in (("POLICY", policy(script, style)), ("STYLE", style), ("SCRIPT", script)):
        before, _, after = page.partition(placeholder)
        page = before + content + after
    return page.encode()


def joined(*names: str) -> str:
    """These modules of the console as one, which imports nothing."""
    return "".join(_IMPORT.sub("", (ROOM / name).read_text(encoding="utf-8")) for name in names)


def policy(script: str, style: str) -> str:
    """What the page may do (CSP Level 3): run this script, wear this style, and nothing else."""
    return (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; base-uri 'none'; form-action 'none'"
    )


def _hash(content: str) -> str:
    return f"'sha256-{b64encode(sha256(content.encode()).digest()).decode()}'"


CONTENT = offline_verifier()


def write(path: Path) -> None:
    """Writes the file, and prints its SHA-256 to be compared with."""
    path.write_bytes(CONTENT)
    print(f"{sha256(CONTENT).hexdigest()}  {path}")


@get("/verify.html", tags=["Log"], summary="A page that verifies offline", media_type="text/html")
async def verifier_page() -> Response[bytes]:
    """One file, to be saved and opened where there is no server: it checks receipts and exports with proof.

    It comes from the very server that it is meant to check. Compare its SHA-256 with that of the release."""
    headers = {"content-disposition": f'attachment; filename="{NAME}"', "cache-control": "no-cache"}
    return Response(CONTENT, media_type="text/html", headers=headers)


ROUTES: list[Any] = [verifier_page]
