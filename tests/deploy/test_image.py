"""`deploy/Containerfile` and `deploy/compose`: the image is built on a Debian made here, and two nodes of it serve.

The official images of PostgreSQL and nginx come from a registry, which a test does without: a stand-in has the programs
of this machine, and an entrypoint that does what `compose.yaml` relies on.
"""

import json
import os
import secrets
import shutil
import ssl
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from security.keyring import new_master_key
from tests.deploy.conftest import DEPLOY, ROOT, sources
from tests.processes.test_proxies import NAME, Caller, Certificate, certificate
from tests.started import PATIENCE, free_port, program

__all__ = ["certificate"]

CERTIFICATES = Path("/etc/ssl/certs")
MOST = 130_000_000
"""Bytes of the image as it is sent over a network."""

PYTHON, IMAGE, STANDIN = "localhost/python:test", "localhost/grantlog:test", "localhost/standin:test"
PROJECT = "grantlogtest"
SERVER = 10001

CONTAINERS = """
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[network]
network_backend = "netavark"
network_config_dir = "{place}/networks"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
"""

STORAGE = """
[storage]
driver = "overlay"
graphroot = "{place}/store"
runroot = "{place}/run"
"""

Run = Callable[..., str]


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder on a disk, since images are too large for the memory that other tests have their files in."""
    found = Path(tempfile.mkdtemp(prefix="grantlog-image-", dir="/var/tmp"))  # noqa: S108 - of a name that nobody knows
    yield found
    shutil.rmtree(found, ignore_errors=True)


@pytest.fixture(scope="module")
def run(place: Path) -> Iterator[Run]:
    """Runs podman, or buildah with its name first, with images and networks of its own; what it printed."""
    if os.geteuid() != 0:
        pytest.skip("containers with a network of their own are root's")
    for name in ("buildah", "mmdebstrap", "podman-compose", "runc", "netavark"):
        shutil.which(name, path=f"{os.environ['PATH']}:/usr/lib/podman") or program(name)
    environment = os.environ | {
        "CONTAINERS_CONF": str(place / "containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(place / "storage.conf"),
    }
    (place / "containers.conf").write_text(CONTAINERS.format(place=place))
    (place / "storage.conf").write_text(STORAGE.format(place=place))

    def do(*command: str | Path, checked: bool = True, **given: Any) -> str:
        name, rest = (command[0], command[1:]) if command[0] in ("buildah", "podman-compose") else ("podman", command)
        full = [program(str(name)), *map(str, rest)]
        ran = subprocess.run(full, env=environment, capture_output=True, text=True, **given)
        assert ran.returncode == 0 or not checked, ran.stdout[-2000:] + ran.stderr[-4000:]
        return str(ran.stdout)

    yield do
    do("rm", "--all", "--force", "--time=0", checked=False)
    do("volume", "rm", "--all", "--force", checked=False)
    do("network", "rm", "--force", f"{PROJECT}_inside", checked=False)
    # Where its layers lie is a mount of its own.
    subprocess.run(["umount", "--lazy", place / "store" / "overlay"], capture_output=True)


@pytest.fixture(scope="module")
def image(run: Run, place: Path) -> str:
    """The image, on the smallest Debian that has Python."""
    base = place / "base.tar"
    # Whoever configures packages needs as long as to get and extract them. Of all that, a server needs the modules
    # compiled, and names for some numbers. To leave the manuals out of each package would take a process for each.
    prepared = (
        "cd $1; rm -r usr/share/doc usr/share/man usr/share/locale usr/share/info;"
        " for each in passwd group; do cp usr/share/base-passwd/$each.master etc/$each; done;"
        " chroot . python3.11 -m compileall -q usr/lib/python3.11"
    )
    debootstrap = [program("mmdebstrap"), "--quiet", "--variant=extract", f"--extract-hook={prepared}"]
    include = ["--include=?essential", "--include=python3.11-venv,ca-certificates"]
    subprocess.run([*debootstrap, *include, "bookworm", str(base)], check=True, capture_output=True)
    run("import", "--quiet", base, PYTHON)
    base.unlink()
    context = place / "context"
    for name in sources():
        (context / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, context / name)
    # Whoever has authorities of their own between them and the packages trusts them in there too.
    trusting = ["--volume", f"{CERTIFICATES}:{CERTIFICATES}:ro"]
    trusting += ["--env", f"PIP_CERT={CERTIFICATES / 'ca-certificates.crt'}"] if "PIP_CERT" in os.environ else []
    building = ["build", "--quiet", "--isolation", "chroot", "--network", "host", "--format", "docker", *trusting]
    file = ["--file", context / "deploy" / "Containerfile", "--build-arg", f"BASE={PYTHON}"]
    run("buildah", *building, *file, "--tag", IMAGE, context)
    return IMAGE


def test_the_image_is_small_and_runs_as_nobody(run: Run, image: str, place: Path) -> None:
    (told,) = json.loads(run("inspect", image))
    assert told["User"] == f"{SERVER}:{SERVER}"
    assert "8402/health/ready" in str(told["Healthcheck"])
    archive = place / "image.tar"
    run("buildah", "push", "--quiet", image, f"oci-archive:{archive}")
    assert archive.stat().st_size < MOST
    archive.unlink()
    version = (ROOT / "VERSION").read_text().strip()
    alone = ["run", "--rm", "--read-only", "--network", "none", "--cap-drop", "all"]
    assert run(*alone, image, "--version") == f"grantlog {version}\n"


class Compose:
    """`deploy/compose` in a folder of its own, with secrets that are made here."""

    def __init__(self, run: Run, folder: Path, certificate: Certificate) -> None:
        self.run = run
        self.folder = folder
        self.port = free_port()
        shutil.copytree(DEPLOY / "compose", folder)
        kept = folder / "secrets"
        kept.mkdir()
        (kept / "master.key").write_text(new_master_key())
        (kept / "master.key").chmod(0o600)
        os.chown(kept / "master.key", SERVER, SERVER)
        shutil.copy(certificate.chain, kept / "tls.pem")
        shutil.copy(certificate.key, kept / "tls.key")
        passwords = {name: secrets.token_hex(8) for name in ("SUPERUSER", "OWNER", "SERVER")}
        settings = {
            "GRANTLOG_ISSUER": f"https://{NAME}",
            "GRANTLOG_IMAGE": IMAGE,
            "POSTGRESQL_IMAGE": STANDIN,
            "NGINX_IMAGE": STANDIN,
            "HTTPS_PORT": f"127.0.0.1:{self.port}",
            **{f"{name}_PASSWORD": value for name, value in passwords.items()},
        }
        (folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        this_machine = {"volumes": ["/usr:/usr:ro"]}
        nginx = this_machine | {"command": ["/usr/sbin/nginx", "-g", "daemon off;"]}
        standing_in = {"services": {"postgresql": this_machine, "nginx": nginx}}
        (folder / "standing-in.yaml").write_text(yaml.safe_dump(standing_in))

    def compose(self, *command: str) -> None:
        files = ("-f", "compose.yaml", "-f", "standing-in.yaml")
        self.run("podman-compose", "-p", PROJECT, *files, *command, cwd=self.folder)

    def inside(self, service: str, *command: str, **given: Any) -> str:
        return self.run("exec", "--interactive", f"{PROJECT}_{service}_1", *command, **given)


@pytest.fixture(scope="module")
def composed(run: Run, image: str, place: Path, certificate: Certificate) -> Compose:
    standin = place / "standin"
    shutil.copytree(Path(__file__).with_name("standin"), standin)
    rootfs = standin / "rootfs"
    for name in ("etc", "usr", "proc", "sys", "dev", "run", "var/lib/nginx", "var/log/nginx", "var/lib/postgresql"):
        (rootfs / name).mkdir(parents=True)
    (rootfs / "tmp").mkdir(mode=0o1777)
    (rootfs / "tmp").chmod(0o1777)
    for name in ("bin", "sbin", "lib", "lib64"):
        (rootfs / name).symlink_to(f"usr/{name}")
    people = {"root": 0, "nobody": 65534, "postgres": 999}
    (rootfs / "etc/passwd").write_text("".join(f"{who}:x:{id}:{id}::/:/bin/sh\n" for who, id in people.items()))
    (rootfs / "etc/group").write_text("".join(f"{who}:x:{id}:\n" for who, id in {**people, "nogroup": 65533}.items()))
    shutil.copy("/etc/ld.so.cache", rootfs / "etc")
    run("buildah", "build", "--quiet", "--isolation", "chroot", "--tag", STANDIN, standin)
    made = Compose(run, place / "compose", certificate)
    # The oldest podman-compose that is about gives a network no subnet.
    subnet = yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text())["networks"]["inside"]["ipam"]["config"][
        0
    ]
    run("network", "create", "--subnet", subnet["subnet"], f"{PROJECT}_inside")
    made.compose("up", "--detach", "--no-build")
    return made


@pytest.fixture
def caller(composed: Compose, certificate: Certificate) -> Iterator[Caller]:
    trusted = ssl.create_default_context(cafile=str(certificate.chain))
    base = f"https://127.0.0.1:{composed.port}"
    with Caller(base_url=base, headers={"host": NAME}, verify=trusted, timeout=PATIENCE, trust_env=False) as client:
        yield client


def until_served(caller: Caller) -> None:
    for _ in range(PATIENCE * 4):
        with suppress(httpx.TransportError):
            if caller.get("/health/ready").status_code == 200:
                return
        subprocess.run(["sleep", "0.5"], check=True)
    raise AssertionError("nobody serves")


def test_two_nodes_behind_nginx_serve_as_nobody(composed: Compose, caller: Caller) -> None:
    until_served(caller)
    until_both_are_ready(composed)
    service = json.loads(composed.inside("node-1", "grantlog", "bootstrap", "--json"))
    who = ("grantlog", "person", "add", "--realm", "administration", "--role", "administrator", "--username", "grace")
    password = secrets.token_urlsafe(18)
    composed.inside("node-2", *who, "--password-stdin", input=password)

    auth = (service["client_id"], service["client_secret"])
    token = caller.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=auth).json()["access_token"]
    # nginx asks one after the other.
    for _ in range(4):
        assert caller.post("/oauth/introspect", data={"token": token}, auth=auth).json()["active"] is True
    signed_in = caller.post(
        "/dashboards/administration/login",
        json={"username": "grace", "password": password},
        headers={"origin": f"https://{NAME}"},
    )
    assert signed_in.status_code == 200, signed_in.text
    assert caller.get("/metrics").status_code == 404

    status = composed.inside("node-1", "cat", "/proc/self/status")
    assert f"Uid:\t{SERVER}" in status
    assert "CapBnd:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    assert "Read-only" in composed.inside("node-1", "sh", "-c", "touch /opt/grantlog/x 2>&1 || true")
    composed.run("stop", f"{PROJECT}_node-1_1")
    assert caller.post("/oauth/introspect", data={"token": token}, auth=auth).json()["active"] is True


def until_both_are_ready(composed: Compose) -> None:
    """As the image's own health check finds it."""
    for node in ("node-1", "node-2"):
        for _ in range(PATIENCE):
            with suppress(AssertionError):
                composed.run("healthcheck", "run", f"{PROJECT}_{node}_1")
                break
            subprocess.run(["sleep", "1"], check=True)
        else:
            raise AssertionError(f"{node} is not healthy")
