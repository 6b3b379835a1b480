"""A base backup is taken over the connection that the URL describes, with nothing secret among the arguments, and ends
with the process that takes it."""

import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from eventstore.restoring import copying
from tests.started import assert_ends

URL = (
    "postgresql+psycopg://owner:s3cret@db-a:5433/grantlog"
    "?passfile=/etc/grantlog.pgpass&sslmode=verify-full&options=-csearch_path%3Dtenant"
)


def test_base_backup_connects_as_the_url_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[tuple[Any, ...], dict[str, str]]] = []
    monkeypatch.setattr(copying, "_run", lambda _, *given, **environment: told.append((given, environment)))
    monkeypatch.setattr(copying, "_own", lambda _: None)
    monkeypatch.setenv("PGSSLROOTCERT", "/etc/ca.pem")
    monkeypatch.setenv("GRANTLOG_MASTER_KEY", "none of its business")
    copying.base_backup(URL, tmp_path)
    ((arguments, environment),) = told
    said = conninfo_to_dict(str(arguments[-1]))
    wanted = {"host": "db-a", "port": "5433", "user": "owner", "sslmode": "verify-full"}
    assert said.items() >= {**wanted, "passfile": "/etc/grantlog.pgpass"}.items()
    assert not said.keys() & {"dbname", "options", "password"}
    assert not any("s3cret" in str(each) for each in arguments)
    assert (environment["PGPASSWORD"], environment["PGSSLROOTCERT"]) == ("s3cret", "/etc/ca.pem")
    assert "GRANTLOG_MASTER_KEY" not in environment


def test_what_a_base_backup_started_ends_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, child = tmp_path / "pg_basebackup", tmp_path / "child"
    # As the real one, which has a process of its own for the WAL.
    program.write_text("#!/bin/sh\nsleep 600 & echo $! > begun; mv begun child; wait\n")
    program.chmod(0o700)
    wait = subprocess.Popen.wait

    def interrupted(process: "subprocess.Popen[bytes]", timeout: float | None = None) -> int:
        if timeout is None:
            return wait(process)
        while not child.exists():
            time.sleep(0.01)
        raise KeyboardInterrupt

    monkeypatch.setattr(copying, "_found", lambda _: str(program))
    monkeypatch.setattr(copying, "_user", lambda: None)
    monkeypatch.setattr(subprocess.Popen, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        copying.base_backup(URL, tmp_path)
    assert_ends(int(child.read_text()))
