"""Writes the generated pages of `docs/`; with `--check` it changes nothing and fails when one is out of date."""

import sys
from collections.abc import Callable
from pathlib import Path

from api.config import settings_page
from docs import reference

PAGES: dict[str, Callable[[], str]] = {
    "events.md": reference.events,
    "ocsf.md": reference.ocsf_classes,
    "secret-scanning.md": reference.secret_scanning,
    "settings.md": settings_page.page,
}


def main(*, check: bool) -> int:
    outdated = []
    for name, page in PAGES.items():
        path, text = Path(__file__).parent / name, page()
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        outdated.append(f"docs/{name}")
        if not check:
            path.write_text(text, encoding="utf-8")
    if outdated:
        print(f"{'Out of date' if check else 'Written'}: {', '.join(outdated)}{'; run `make docs`' if check else ''}")
    return 1 if check and outdated else 0


if __name__ == "__main__":
    sys.exit(main(check="--check" in sys.argv[1:]))
