"""`docs/leaks.md` does what it says: its blocks run as they stand and print what stands below them."""

import re
import subprocess
from pathlib import Path

from api.leaks.investigation import Report
from tests.docs.test_readme import BREAK, PATIENCE, fenced, pattern
from tests.docs.test_readme import environment as environment

PAGE = (Path(__file__).parents[2] / "docs" / "leaks.md").read_text(encoding="utf-8")


def test_its_blocks_work_word_for_word(environment: dict[str, str], tmp_path: Path) -> None:
    (part,) = re.findall(r"<!-- tour: begin.*?-->\n(.*)<!-- tour: end -->", PAGE, re.DOTALL)
    found = fenced(part)
    script = f"\necho '{BREAK}'\n".join(text for language, text in found if language == "bash")
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "NO_PROXY": "*", "LANG": "C.UTF-8", **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE * 5,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    printed = iter(ran.stdout.split(f"{BREAK}\n"))
    output = ""
    for language, text in found:
        if language == "bash":
            output = next(printed)
        else:
            assert pattern(text).search(output), f"printed\n{output}\nand not\n{text}"


def test_a_report_has_the_members_that_the_page_reads() -> None:
    (shown,) = re.findall(r"```text\n(uses_after_end .*?)\n\n", PAGE, re.DOTALL)
    names = {line.split()[0] for line in shown.splitlines()}
    assert names >= {*Report.__struct_fields__} - {"addresses", "derived", "containment", "advice"}
    assert "comes with `advice`" in PAGE, "a member that hardly any report has"
