"""A base backup is taken over the connection that the URL describes, with nothing secret among the arguments."""

from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from eventstore.restoring import copying

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
