"""`pip install grantlog`: what the wheel holds, that it is always the same, and that a server runs from it."""

import hashlib
import json
import os
import subprocess
import zipfile
from pathlib import Path

from tests import plain_http
from tests.deploy.conftest import ROOT, build, sources, until_ready
from tests.started import free_port, started
from tests.test_conventions import ROOMS


def test_it_holds_every_file_of_the_rooms_and_no_other(wheel: Path) -> None:
    migrations = "eventstore/database/migrations/"
    expected = {name for name in sources() if name.partition("/")[0] in ROOMS}
    expected |= {
        migrations + name.removeprefix("alembic/")
        for name in sources()
        if name.startswith("alembic/") and name.endswith(".py")
    }
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert migrations + "versions/1100_first.py" in held
    assert held == expected


def test_it_has_the_same_bytes_whoever_builds_it(wheel: Path, tmp_path: Path) -> None:
    again = build(tmp_path, umask=0o077)
    assert again.name == wheel.name
    assert hashlib.sha256(again.read_bytes()).digest() == hashlib.sha256(wheel.read_bytes()).digest()


def test_a_server_runs_from_it_and_people_sign_in(installed: Path, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("GRANTLOG_", "PYTHON"))}
    grantlog = installed / "grantlog"
    told = subprocess.run([grantlog, "--version"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert told.stdout == f"grantlog {(ROOT / 'VERSION').read_text().strip()}\n"
    where = "import api, eventstore.database.schema as s; print(api.__file__, s.MIGRATIONS)"
    found = subprocess.run(
        [installed / "python", "-c", where], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert all(path.startswith(str(installed.parent)) for path in found.stdout.split()), found
    port = free_port()
    environment |= {
        "GRANTLOG_PORT": str(port),
        "GRANTLOG_HEALTH_PORT": "0",
        "GRANTLOG_DEMO_PORT": str(free_port()),
        "GRANTLOG_DATA_DIR": "data",
    }
    with (
        (tmp_path / "printed").open("wb") as printed,
        started([grantlog, "demo"], cwd=tmp_path, env=environment, stdout=printed, stderr=printed) as server,
    ):
        base = f"http://127.0.0.1:{port}"
        until_ready(base, server)
        demo = json.loads((tmp_path / "data" / "demo.json").read_text())
        dashboard, who = demo["dashboards"]["administration"], demo["administrator"]
        signed_in = plain_http.post(
            dashboard["login_url"],
            json={"username": who["username"], "password": who["password"]},
            headers={"origin": dashboard["origin"]},
        )
        assert signed_in.status_code == 200, signed_in.text
        token = signed_in.json()["access_token"]
        people = plain_http.get(f"{base}/admin/people", headers={"authorization": f"Bearer {token}"})
        assert people.status_code == 200
        assert "GRANTLOG" in plain_http.get(f"{base}/").text.upper()
        assert plain_http.get(f"{base}/static/grantlog.css").status_code == 200
