"""`grantlog completion`: what a shell asks, the program answers; bash is really there, and so is the whole program."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests import fork_server

GRANTLOG = Path(sys.executable).with_name("grantlog")


def lines(shell: str, program: Path = GRANTLOG) -> str:
    return subprocess.run([program, "completion", shell], check=True, capture_output=True, text=True).stdout


def test_bash_completes_commands_and_options() -> None:
    asked = "complete -p grantlog; COMP_CWORD=2; COMP_WORDS=(grantlog client li); _grantlog_completion grantlog"
    script = f'{lines("bash")}\nPATH="{GRANTLOG.parent}:$PATH"\n{asked}; echo "${{COMPREPLY[@]}}"'
    told = subprocess.run(["bash", "--norc", "-c", script], check=True, capture_output=True, text=True).stdout
    assert told == "complete -o nosort -F _grantlog_completion grantlog\nlist\n"


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_others_ask_by_the_same_variable(shell: str, tmp_path: Path) -> None:
    program = tmp_path / "grantlog"
    fork_server.script(program)
    script = lines(shell, program)
    assert f"_GRANTLOG_COMPLETE={shell}_complete" in script
    words = {"COMP_WORDS": "grantlog serve --wor", "COMP_CWORD": "--wor" if shell == "fish" else "2"}
    asked = {"_GRANTLOG_COMPLETE": f"{shell}_complete", "PATH": "/usr/bin:/bin", **words}
    told = subprocess.run([program], env=asked, check=True, capture_output=True, text=True).stdout
    assert "--workers" in told
