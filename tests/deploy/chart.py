"""`make chart`: the chart is linted by helm, rendered, and held against Kubernetes' own schemas by kubeconform.

It is no part of `make test`, since to make helm takes minutes of processor time. The schemas are those of the package
kubernetes-validate, whose references kubeconform does not follow, so they are put into each of them.
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


def standalone(packaged: Path, place: Path, version: str) -> None:
    """Writes the schemas that the chart's resources need to `place`, each with everything that it refers to."""
    source = packaged / "kubernetes_validate" / "kubernetes-json-schema" / f"v{version}-local-strict"
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
    kinds = {each["kind"] for each in yaml.safe_load_all(rendered) if each}
    expected = {"StatefulSet", "Job", "Service", "PodDisruptionBudget", "NetworkPolicy"}
    expected |= {"Ingress"} if name == "all" else set()
    print(f"Kubernetes {version}, {name} values: {said.strip().splitlines()[-1]}")
    return ([said] if code else []) + ([] if kinds == expected else [f"{name}: {sorted(kinds)}"])


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
