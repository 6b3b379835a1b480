"""`docs/event-log.md` keeps up with the program: what it shows reads a log that the real ledger wrote."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

from eventstore.ledger import Ledger
from security.clock import ManualClock
from security.keyring import VARIABLE, new_master_key, parse_keyring
from tests.eventstore.conftest import HERE, disable, register

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "event-log.md").read_text(encoding="utf-8")


async def test_its_program_reads_a_log_that_is_being_written(database_url: str) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    key = new_master_key()
    ledger = await Ledger.open(database_url, parse_keyring(key), ManualClock())
    try:
        await ledger.execute(register("one"), origin=HERE)
        await ledger.execute(disable("one"), origin=HERE)
        ran = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", program, "client:one"],
            env=os.environ | {"SQLALCHEMY_URL": database_url, VARIABLE: key, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
        rows, now, first = ran.stdout.splitlines()[:3], *ran.stdout.splitlines()[3:]
        assert rows[0] == "1 client.registered client:one"
        assert rows[-1] == "3 client.disabled client:one"
        assert now == str(await ledger.state("client:one"))
        assert "enabled=False" in now
        assert "enabled=True" in first
    finally:
        await ledger.close()
