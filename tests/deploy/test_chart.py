"""The Helm chart: its values are refused or taken as its schema says, and what it renders is Kubernetes' own."""

import json
import subprocess
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema_rs import Validator, validator_for

from tests.deploy import chart
from tests.deploy.chart import CHART, GIVEN, KINDS, REFUSED, RENDER, VERSIONS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel() -> Path:
    found = [*(ROOT / "build" / "schemas").glob("kubernetes_validate-*.whl")]
    if not found or not RENDER.is_file():
        pytest.skip("`make test` has not built tests/go_clients, or not fetched the schemas of Kubernetes")
    return found[0]


@cache
def validator(wheel: Path, version: str, api: str, kind: str) -> Validator:
    """Of one kind of resource."""
    group, _, level = api.rpartition("/")
    name = "-".join(filter(None, (kind.lower(), group.partition(".")[0], level)))
    with zipfile.ZipFile(wheel) as packed:
        source = chart.folder(version)
        definitions = json.loads(packed.read(f"{source}/_definitions.json"))["$defs"]
        schema = json.loads(packed.read(f"{source}/{name}.json").replace(b"/api/_definitions.json#", b"#"))
    return validator_for(schema | {"$defs": definitions})


def rendered(values: dict[str, object], directory: Path) -> subprocess.CompletedProcess[str]:
    file = directory / "values.yaml"
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    return subprocess.run([RENDER, CHART, file, "grantlog"], capture_output=True, text=True)


def taken(values: dict[str, object]) -> bool:
    """Whether the chart's own schema takes these values over its defaults."""
    defaults = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    return validator_for(schema).is_valid(defaults | values)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", GIVEN)
def test_what_is_rendered_is_what_kubernetes_takes(wheel: Path, tmp_path: Path, version: str, name: str) -> None:
    assert taken(GIVEN[name])
    ran = rendered(GIVEN[name], tmp_path)
    assert ran.returncode == 0, ran.stderr
    found: dict[tuple[str, str], Any] = chart.resources(ran.stdout)
    assert chart.kinds(found) == KINDS | ({"Ingress"} if name == "all" else set())
    for each in found.values():
        validator(wheel, version, each["apiVersion"], each["kind"]).validate(each)
    # Strict schemas: they refuse what has another type, and members that nobody knows.
    stateful: Any = found["StatefulSet", "grantlog"]
    of = validator(wheel, version, stateful["apiVersion"], "StatefulSet")
    for wrong in ({"replicas": "two"}, {"replica": 2}):
        assert not of.is_valid(stateful | {"spec": stateful["spec"] | wrong})


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_wrong_values_are_refused(number: int) -> None:
    assert not taken(GIVEN["least"] | REFUSED[number])


def test_a_chart_without_an_issuer_is_not_rendered(wheel: Path, tmp_path: Path) -> None:
    ran = rendered({}, tmp_path)
    assert (ran.returncode, "issuer: the server's public URL" in ran.stderr) == (1, True)


def test_the_chart_is_of_this_version() -> None:
    told = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    version = (ROOT / "VERSION").read_text(encoding="utf-8").strip()
    assert (told["apiVersion"], told["name"], told["version"], told["appVersion"]) == (
        "v2",
        "grantlog",
        version,
        version,
    )
