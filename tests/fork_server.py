"""The command line in processes that were forked from one which had loaded it already.

To start Python and load everything takes a second of a processor's time, and tests start hundreds of servers and
commands. A forked one has a session, an environment, a folder, files and signals of its own as any other has. Tests
that are about the start itself begin with Python's.
"""

import atexit
import contextlib
import functools
import json
import os
import select
import signal
import socket
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).parents[1]
OTHERS = ("sqlalchemy.dialects.postgresql.psycopg", "sqlalchemy.dialects.sqlite.pysqlite", "uvloop", "alembic.command")
"""What is loaded by its name in a setting, or with the first migration."""
PATIENCE = 60
"""Seconds for what takes one."""
NUMBERS = "prometheus_client"
"""Looks at the environment once, when it is loaded. So each process loads it anew, with all that rests on it."""


# --- Who asks ---------------------------------------------------------------------------------------------------------


class Forked:
    """`grantlog` with these arguments, as `subprocess.Popen` would show it; what it prints goes to files."""

    stdin: "IO[bytes] | None" = None
    stdout: "IO[bytes] | None" = None
    stderr: "IO[bytes] | None" = None

    def __init__(
        self,
        arguments: "Sequence[str]",
        env: "Mapping[str, str]",
        cwd: Path,
        stdout: "IO[Any] | int",
        stderr: "IO[Any] | int",
        stdin: int | None = None,
    ) -> None:
        self.args = arguments
        self.returncode: int | None = None
        self._server = socket.socket(socket.AF_UNIX)
        self._server.connect(address())
        asked = Asked(list(arguments), dict(env), str(cwd), _umask())
        files = [each if isinstance(each, int) else each.fileno() for each in (stdout, stderr)]
        with open(os.devnull) as nothing:
            self.pid = ask(self._server, asked, [nothing.fileno() if stdin is None else stdin, *files])

    def poll(self) -> int | None:
        """The exit code as far as there is one; negative, the signal that ended it."""
        with contextlib.suppress(TimeoutError):
            return self._ended(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """The exit code. Raises `subprocess.TimeoutExpired`."""
        from subprocess import TimeoutExpired

        try:
            return self._ended(timeout)
        except TimeoutError:
            raise TimeoutExpired(self.args, timeout or 0) from None

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def close(self) -> None:
        """Lets go of it; where it still runs, the server kills it and its children."""
        self._server.close()

    def _ended(self, timeout: float | None) -> int:
        if self.returncode is None:
            if not select.select([self._server], [], [], timeout)[0]:
                raise TimeoutError
            self.returncode = int(_line(self._server))
            self._server.close()
        return self.returncode


class Piped(Forked):
    """The same with pipes, whose other ends the caller has: what it is told and prints are octets."""

    stdin: "IO[bytes]"
    stdout: "IO[bytes]"
    stderr: "IO[bytes]"

    def __init__(self, arguments: "Sequence[str]", env: "Mapping[str, str]", cwd: Path) -> None:
        (its, told), (printed, out), (said, err) = (os.pipe() for _ in range(3))
        try:
            super().__init__(arguments, env, cwd, out, err, its)
        finally:
            for each in (its, out, err):
                os.close(each)
            self.stdin = os.fdopen(told, "wb", 0)
            self.stdout, self.stderr = os.fdopen(printed, "rb"), os.fdopen(said, "rb")


def run(
    arguments: "Sequence[str]", env: "Mapping[str, str]", cwd: Path, stdout: "IO[Any] | None" = None
) -> "subprocess.CompletedProcess[str]":
    """What became of a command, and what it printed where no other file was given for it."""
    from subprocess import CompletedProcess
    from tempfile import TemporaryFile

    with TemporaryFile("w+") as out, TemporaryFile("w+") as err:
        process = Forked(arguments, env, cwd, stdout or out, err)
        try:
            process.wait(PATIENCE)
        finally:
            process.close()
        for file in (out, err):
            file.seek(0)
        assert process.returncode is not None
        return CompletedProcess(process.args, process.returncode, out.read(), err.read())


@functools.cache
def address() -> str:
    """The socket of this process's fork server, which is started with the first question."""
    import shutil
    import subprocess
    import tempfile

    from tests.started import start

    directory = tempfile.mkdtemp(prefix="grantlog-fork-")
    path = f"{directory}/socket"
    server: subprocess.Popen[bytes] = start(
        [sys.executable, "-m", "tests.fork_server", "serve", path],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )

    @atexit.register
    def end() -> None:
        server.communicate()
        shutil.rmtree(directory)

    assert server.stdout is not None
    assert server.stdout.readline() == b"ready\n"
    return path


def script(file: Path) -> None:
    """Writes a program that is `grantlog` for shells: with the arguments, the files and the folder of its caller."""
    file.write_text(f'#!/bin/sh\nexec "{sys.executable}" -IS "{__file__}" "{address()}" "$@"\n')
    file.chmod(0o755)


class Asked(NamedTuple):
    """What is to be run, and in what."""

    arguments: list[str]
    environment: dict[str, str]
    directory: str
    umask: int


def ask(server: socket.socket, asked: Asked, files: list[int]) -> int:
    """The process's number."""
    body = json.dumps(asked).encode()
    socket.send_fds(server, [len(body).to_bytes(4)], files)
    server.sendall(body)
    return int(_line(server))


def _line(connection: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        more = connection.recv(1)
        if not more:
            raise EOFError("the fork server is gone")
        line += more
    return line


def _umask() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("\nUmask:")[2].split()[0], 8)


# --- The server -------------------------------------------------------------------------------------------------------


def load() -> None:
    """Loads all modules of the rooms and what they rest on, the library of numbers and what needs it excepted, and has
    the pages and routes of a server ready."""
    import gc
    import importlib
    import pkgutil

    rooms = {each.parent.name for each in ROOT.glob("*/__init__.py")} - {"bench", "tests"}
    gc.disable()
    sys.modules[NUMBERS] = None  # type: ignore[assignment]
    for room in rooms:
        found = pkgutil.walk_packages([str(ROOT / room)], f"{room}.", onerror=lambda _: None)
        for name in [*OTHERS, *(each.name for each in found)]:
            if not name.endswith(".__main__"):
                with contextlib.suppress(ImportError):
                    importlib.import_module(name)
    importlib.import_module("api.http.templates").compile_templates()
    importlib.import_module("tests.scenarios.lent_routes").make_ready()
    del sys.modules[NUMBERS]
    gc.enable()
    # Nobody's collection goes through it, and so copies it.
    gc.freeze()


class Server:
    """Forks when it is asked to, and ends with its standard input."""

    def __init__(self, path: str) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(128)
        self._children: dict[socket.socket, int] = {}
        self._ended, self._ending = os.pipe()
        os.set_blocking(self._ending, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._ending, warn_on_full_buffer=False)

    def serve(self) -> Asked:
        """Returns in a child only, with what was asked of it."""
        print("ready", flush=True)
        while True:
            watched: list[Any] = [0, self._listener, self._ended, *self._children]
            readable, _, _ = select.select(watched, [], [])
            if 0 in readable:
                self._kill(*self._children.values())
                sys.exit()
            if self._ended in readable:
                os.read(self._ended, 4096)
                self._tell()
            # Nobody waits for these any more.
            for connection in self._children.keys() & readable:
                self._kill(self._children.pop(connection))
                connection.close()
            if self._listener in readable:
                connection, _ = self._listener.accept()
                asked, files = _received(connection)
                pid = os.fork()
                if pid == 0:
                    self._become(connection, asked, files)
                    return asked
                self._children[connection] = pid
                for file in files:
                    os.close(file)

    def _tell(self) -> None:
        for connection, child in list(self._children.items()):
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                # Who asked may be gone.
                with contextlib.suppress(OSError), connection:
                    connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
                del self._children[connection]

    def _kill(self, *children: int) -> None:
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)

    def _become(self, connection: socket.socket, asked: Asked, files: list[int]) -> None:
        """Makes the child what it would be if it had been started from where it was asked for."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        connection.sendall(b"%d\n" % os.getpid())
        for each in (self._listener, connection, *self._children):
            each.close()
        for number, file in enumerate(files):
            os.dup2(file, number)
        for file in (self._ended, self._ending, *files):
            os.close(file)
        os.environ.clear()
        os.environ.update(asked.environment)
        os.chdir(asked.directory)
        os.umask(asked.umask)
        sys.argv = ["grantlog", *asked.arguments]


def _received(connection: socket.socket) -> tuple[Asked, list[int]]:
    length, files, _, _ = socket.recv_fds(connection, 4, 3)
    body = b""
    while len(body) < int.from_bytes(length):
        body += connection.recv(65_536)
    return Asked(*json.loads(body)), files


def call(path: str, arguments: list[str]) -> int:
    """Has a command run with the files of this process; its exit code."""
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(path)
        ask(server, Asked(arguments, dict(os.environ), os.getcwd(), _umask()), [0, 1, 2])
        return int(_line(server)) % 256


if __name__ == "__main__":
    if sys.argv[1] != "serve":
        sys.exit(call(sys.argv[1], sys.argv[2:]))
    load()
    Server(sys.argv[2]).serve()
    from cli import main

    main(prog_name="grantlog")
