"""`make chart`: the chart is linted by helm, rendered, and held against Kubernetes' own schemas by kubeconform.

It is no part of `make test`, since to make helm takes minutes of processor time: there `test_chart` has the chart
rendered by `tests/go_clients/render_chart`, and what that says is held against what helm says here. The schemas are
those of the package kubernetes-validate, whose references kubeconform does not follow, so they are put into each of
them.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm" / "grantlog"
RENDER = ROOT / "tests" / "go_clients" / "bin" / "render_chart"
"""What renders the chart in `make test`."""
VERSIONS = ("1.27.0", "1.37.0")
"""Of Kubernetes: the oldest that the chart takes, and the newest that there are schemas of."""

GIVEN: dict[str, dict[str, object]] = {
    "least": {"issuer": "https://login.example.com"},
    "all": {
        "issuer": "https://login.example.com",
        "imagePullSecrets": [{"name": "pull"}],
        "trustedProxies": ["10.0.0.0/8", "fd00::/8"],
        "settings": {"GRANTLOG_REGISTRATION": "token", "GRANTLOG_THROTTLE": True},
        "storage": {"size": "1Gi", "className": "fast"},
        "ingress": {"enabled": True, "className": "nginx", "annotations": {"a": "b"}, "tlsSecret": "tls"},
    },
}
"""Values, by a name."""

REFUSED: tuple[dict[str, object], ...] = (
    {"issuer": ""},
    {"issuer": "http://login.example.com"},
    {"settings": {"REGISTRATION": "token"}},
)
"""Values that must not be taken."""


KINDS = {"StatefulSet", "Job", "Service", "PodDisruptionBudget", "NetworkPolicy"}
"""Of resources; with an ingress there is an Ingress, too."""


def folder(version: str) -> str:
    """Where the package has the schemas of a version of Kubernetes."""
    return f"kubernetes_validate/kubernetes-json-schema/v{version}-local-strict"


def standalone(packaged: Path, place: Path, version: str) -> None:
    """Writes the schemas that the chart's resources need to `place`, each with everything that it refers to."""
    source = packaged / folder(version)
    definitions = json.loads((source / "_definitions.json").read_text("utf-8"))["$defs"]
    for path in source.glob("*-v1.json"):
        text = path.read_text("utf-8") if re.match(r"[a-z]+-(apps-|batch-|policy-|networking-)?v1", path.stem) else ""
        if text:
            schema = json.loads(text) | {"$defs": definitions}
            (place / path.name).write_text(json.dumps(schema).replace("/api/_definitions.json#", "#"), "utf-8")


def check(bin: Path, packaged: Path) -> list[str]:
    """What is wrong with the chart."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for version in VERSIONS:
            schemas = place / version
            schemas.mkdir()
            standalone(packaged, schemas, version)
            for name, values in GIVEN.items():
                found += _check(bin, place, schemas, version, name, values)
        for values in REFUSED:
            file = _written(place, "refused", GIVEN["least"] | values)
            if _run(bin / "helm", "template", "grantlog", CHART, "--kube-version", VERSIONS[-1], "-f", file)[0] == 0:
                found.append(f"taken: {values}")
    return found


def _check(bin: Path, place: Path, schemas: Path, version: str, name: str, values: dict[str, object]) -> list[str]:
    file = _written(place, name, values)
    code, said = _run(bin / "helm", "lint", "--strict", "--kube-version", version, "-f", file, CHART)
    if code:
        return [said]
    code, rendered = _run(bin / "helm", "template", "grantlog", CHART, "--kube-version", version, "-f", file)
    if code:
        return [rendered]
    target = place / "rendered.yaml"
    target.write_text(rendered, "utf-8")
    where = f"{schemas}/{{{{ .ResourceKind }}}}{{{{ .KindSuffix }}}}.json"
    code, said = _run(bin / "kubeconform", "-strict", "-summary", "-schema-location", where, target)
    found = resources(rendered)
    print(f"Kubernetes {version}, {name} values: {said.strip().splitlines()[-1]}")
    wrong = [said] if code else []
    if kinds(found) != KINDS | ({"Ingress"} if name == "all" else set()):
        wrong.append(f"{name}: {sorted(kinds(found))}")
    if resources(_run(RENDER, CHART, file, "grantlog")[1]) != found:
        wrong.append(f"{name}: tests/go_clients/render_chart renders something else than helm")
    return wrong


def resources(rendered: str) -> dict[tuple[str, str], dict[str, object]]:
    """What was rendered, by kind and name."""
    return {(each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(rendered) if each}


def kinds(found: dict[tuple[str, str], dict[str, object]]) -> set[str]:
    """Of what there are resources."""
    return {kind for kind, _ in found}


def _written(place: Path, name: str, values: dict[str, object]) -> Path:
    file = place / f"{name}.yaml"
    file.write_text(yaml.safe_dump(values), "utf-8")
    return file


def _run(*command: str | Path) -> tuple[int, str]:
    ran = subprocess.run([str(each) for each in command], capture_output=True, text=True)
    return ran.returncode, ran.stdout + ran.stderr if ran.returncode else ran.stdout


def main(bin: str, wheels: str) -> int:
    """1 when anything is wrong, which is told."""
    packaged = Path(tempfile.mkdtemp())
    try:
        (wheel,) = Path(wheels).glob("kubernetes_validate-*.whl")
        shutil.unpack_archive(wheel, packaged, "zip")
        found = check(Path(bin), packaged)
    finally:
        shutil.rmtree(packaged)
    print("\n".join(found) or "The chart is well.")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
