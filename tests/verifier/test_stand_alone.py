"""`make verifier`: one file, the same bytes each time, that checks everything where there is only `cryptography`."""

import http.server
import json
import shutil
import site
import subprocess
import sys
import threading
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from eventstore.transparency import published
from eventstore.transparency.merkle import Hashes, ProvenExport
from eventstore.transparency.published import read_leaves
from tests.started import PATIENCE, started
from tests.verifier.published_log import KEY, PublishedLog
from tests.verifier.test_server import TOKEN, resource
from verifier.bundle import bundle

ROOM = Path(__file__).parents[2] / "verifier"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that knows `cryptography`, what that is made of, and nothing else."""
    directory = tmp_path_factory.mktemp("bare")
    venv.create(directory, with_pip=False)
    (packages,) = directory.glob("lib/python*/site-packages")
    theirs = Path(site.getsitepackages()[0])
    for each in (theirs / "cryptography", *theirs.glob("_cffi_backend*"), *theirs.glob("cffi")):
        (packages / each.name).symlink_to(each)
    return directory / "bin" / "python"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("taken away") / "grantlog-verify.pyz"
    path.write_bytes(bundle())
    return path


@contextmanager
def serving(log: PublishedLog) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.removeprefix("/log/")
            closed = "entries" in path and self.headers["Authorization"] != f"Bearer {TOKEN}"
            with log.engine.connect() as connection:
                body = None if closed else resource(connection, path)
            self.send_response(401 if closed else 404 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_it_checks_all_that_a_log_publishes(python: Path, program: Path, sqlite_url: str, tmp_path: Path) -> None:
    log = PublishedLog(sqlite_url)
    (tmp_path / "kept").write_text(log.grow(300))
    log.grow(400)
    (tmp_path / "log.vkey").write_text(f"{KEY}\n")
    (tmp_path / "token").write_text(TOKEN)
    with log.engine.connect() as connection:
        newest = published.newest(connection)
        assert newest is not None
        receipt = published.receipt(connection, 7, read_leaves)
        export = ProvenExport(Hashes(published.reader(connection), newest.size), newest.note)
        leaves = enumerate(read_leaves(connection, 99, 3), 100)
        lines = [line for position, leaf in leaves for line in export.record(position, leaf)]
        (tmp_path / "export.jsonl").write_bytes(b"".join([*lines, *export.end()]))
    (tmp_path / "receipt").write_text(str(receipt))

    def run(*arguments: str, exits: int = 0) -> str:
        command = [str(python), "-I", str(program), *arguments, "--key", "log.vkey"]
        ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert ended.returncode == exits, ended.stderr
        return ended.stdout

    database = log.url.removeprefix("sqlite:///")
    assert run("verify", database, "--checkpoint", "kept").startswith("VERIFIED: all 700 events are those")
    with serving(log) as url:
        verdict = json.loads(run("verify", url, "--token-file", "token", "--checkpoint", "kept", "--json"))
        assert (verdict["verdict"], verdict["checked"]) == ("verified", 700)
        assert "status 401" in run("verify", url, "--token-file", "log.vkey", exits=2)
    assert "all 3 records are in the log, positions 100 to 102" in run("verify", "export.jsonl")
    shown = run("check-receipt", "receipt")
    assert '"stream": "grant:0"' in shown
    assert "VERIFIED: the event stands in the log at position 7\nposition      7\n" in shown

    for name in log.column("name", "sqlite_master WHERE type = 'trigger'"):
        log.tamper(f'DROP TRIGGER "{name}"')
    log.tamper("UPDATE stored_events SET state = replace(state, 'é 7', 'é 8') WHERE id = 7")
    assert "first misfit  7\n" in run("verify", database, exits=1)
    assert "needs the package psycopg" in run("verify", "postgresql://nowhere/db", exits=2)
    assert run("check-receipt", "receipt", "--witness", str(KEY), "--quorum", "2", exits=2) == ""
    assert run("check-receipt", "nowhere", exits=2) == ""


def test_it_is_a_witness_too(python: Path, program: Path, tmp_path: Path) -> None:
    options = ["--name", "w.example", "--log", str(KEY), "--data-dir", str(tmp_path / "w"), "--port", "0"]
    with started([python, "-I", program, "witness", *options], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("w.example+")
        process.terminate()
        assert process.wait(PATIENCE) == 0


def test_the_same_sources_make_the_same_file(python: Path, program: Path, tmp_path: Path) -> None:
    copied = tmp_path / "elsewhere" / "verifier"
    copied.mkdir(parents=True)
    for page in sorted(ROOM.glob("*.py"), reverse=True):
        shutil.copyfile(page, copied / page.name)
    made = tmp_path / "made.pyz"
    subprocess.run([sys.executable, "-m", "verifier.bundle", made], cwd=copied.parent, check=True, capture_output=True)
    assert made.read_bytes() == program.read_bytes()
