"""docker-compose.yml: valid, pinned, closed to other machines; and its processes, started here, carry a run."""

import json
import re
import subprocess
import sys
import tomllib
import urllib.parse
import urllib.request
from decimal import Decimal
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e import compose_file, native_compose
from tests.e2e.command import ROOT
from tests.e2e.compose_file import Service
from tests.e2e.native_compose import Deployment, Translation, Untranslatable

SERVICES = compose_file.services()
DASHBOARDS = sorted((ROOT / "dashboards" / "grafana").glob("*.json"))

# What a service that knows nothing of Podium does: MLflow, the tracking URI, the alias.
PLAIN_MLFLOW = """
import mlflow, numpy
model = mlflow.pyfunc.load_model("models:/digits@champion")
names = model.metadata.signature.inputs.input_names()
import pandas
answers = model.predict(pandas.DataFrame(numpy.zeros((3, len(names))), columns=names))
assert len(answers) == 3 and model.metadata.signature.outputs is not None
"""


def test_the_file_is_valid_by_the_compose_specification() -> None:
    done = subprocess.run(
        [
            native_compose.SCRIPTS / "check-jsonschema",
            "--builtin-schema",
            "vendor.compose-spec",
            compose_file.FILE,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_image_has_a_version_and_podiums_is_this_one() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    for service in SERVICES.values():
        repository, _, tag = service.image.rpartition(":")
        assert re.fullmatch(r"v?\d+(\.\d+)+", tag), service.image
        if repository == "podium":
            assert tag == version
    base = re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(set(base)) == 1
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", base[0])


def test_one_service_builds_the_image_and_the_others_never_ask_a_registry_for_it() -> None:
    written = yaml.safe_load(compose_file.FILE.read_text(encoding="utf-8"))["services"]
    ours = {name: each for name, each in written.items() if SERVICES[name].repository == "podium"}
    assert [name for name, each in ours.items() if "build" in each] == ["migration"]
    others = ours.keys() - {"migration"}
    assert {ours[name].get("pull_policy") for name in others} == {"never"}


def test_no_password_is_among_the_words_of_a_command() -> None:
    chosen = compose_file.services(environment=dict.fromkeys(compose_file.variables(), "chosen"))
    assert not [each.name for each in chosen.values() if "chosen" in " ".join(each.command)]


def test_the_password_and_user_of_every_service_can_be_set_from_outside() -> None:
    assert set(compose_file.variables()) == {"POSTGRES_PASSWORD", "GRAFANA_PASSWORD", "PODIUM_USER"}
    changed = compose_file.services(environment=dict.fromkeys(compose_file.variables(), "chosen"))
    said = json.dumps([[each.command, dict(each.environment)] for each in changed.values()])
    assert "for-a-laptop-only" not in said
    assert said.count("podium:chosen@postgres:5432") == 5


def test_whoever_is_waited_for_as_healthy_has_a_healthcheck_and_whoever_listens_too() -> None:
    for service in SERVICES.values():
        for other, condition in service.needs.items():
            assert condition != "service_healthy" or SERVICES[other].health, f"{service.name} waits for {other}"
        assert bool(service.health) == (service.port is not None), service.name


def test_containers_can_reach_each_other() -> None:
    for service in SERVICES.values():
        hosts = [word for word in service.command if word.startswith("--host=")]
        assert set(hosts) <= {"--host=0.0.0.0"}, f"{service.name} would listen inside its own container alone"
    mlflow = next(word for word in SERVICES["mlflow"].command if word.startswith("--allowed-hosts="))
    asked = {urllib.parse.urlsplit(each.environment["PODIUM_MLFLOW_TRACKING_URI"]).netloc for each in workers()}
    assert asked
    assert asked <= set(mlflow.partition("=")[2].split(","))


def workers() -> list[Service]:
    return [each for each in SERVICES.values() if "PODIUM_MLFLOW_TRACKING_URI" in each.environment]


def test_the_image_holds_what_it_copies_and_owns_the_folders_of_its_volumes(tmp_path: Path) -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    sources = {
        word.rstrip("/")
        for line in re.findall(r"^COPY (?!--from)(.+)$", dockerfile, re.MULTILINE)
        for word in line.split()[:-1]
    }
    assert sources == {line.removeprefix("!") for line in ignored if line.startswith("!")}
    owned = re.findall(r"--owner=podium --group=podium (.+)$", dockerfile, re.MULTILINE)[0].split()
    assert {
        mount.target for service in SERVICES.values() if service.repository == "podium" for mount in service.mounts
    } == set(owned)
    app = native_compose.image_files(tmp_path / "app")
    assert (app / "podium.toml").is_file()
    assert list((app / "pipelines").glob("*.py"))
    assert dockerfile.index("USER podium") > dockerfile.rindex("RUN ")


def test_grafana_finds_its_dashboards_and_they_find_their_data() -> None:
    grafana = SERVICES["grafana"]
    inside = {mount.target: ROOT / mount.source for mount in grafana.mounts if not mount.is_volume}

    def here(path: str) -> Path:
        (target,) = (target for target in inside if path == target or path.startswith(f"{target}/"))
        return inside[target] / path[len(target) :].lstrip("/")

    provisioning = inside["/etc/grafana/provisioning"]
    (providers,) = [yaml.safe_load(path.read_text()) for path in (provisioning / "dashboards").glob("*.y*ml")]
    assert providers["apiVersion"] == 1
    found = {path for each in providers["providers"] for path in here(each["options"]["path"]).glob("*.json")}
    assert found == set(DASHBOARDS)
    assert here(grafana.environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]) in DASHBOARDS

    (sources,) = [yaml.safe_load(path.read_text()) for path in (provisioning / "datasources").glob("*.y*ml")]
    (source,) = sources["datasources"]
    assert grafana.environment[source["url"].strip("${}")] == "http://prometheus:9090"
    used = {uid for path in DASHBOARDS for uid in _datasource_uids(json.loads(path.read_text()))}
    assert used == {source["uid"]}


def _datasource_uids(value: Any) -> set[str]:
    if isinstance(value, list):
        return {uid for each in value for uid in _datasource_uids(each)}
    if not isinstance(value, dict):
        return set()
    own = value.get("datasource")
    found = {own["uid"]} if isinstance(own, dict) and own.get("type") == "prometheus" else set()
    return found | _datasource_uids(list(value.values()))


@pytest.mark.parametrize(
    "text",
    [
        "http://mlfow:5000",
        "http://mlflow:5001",
        "/var/lib/elsewhere/x",
        "127.0.0.1:9091",
        "postgresql://a:b@postgres/x",
    ],
)
def test_what_the_translation_does_not_know_fails(tmp_path: Path, text: str) -> None:
    ports = {"mlflow": (5000, 6000), "server": (8080, 6001), "postgres": (5432, 6002)}
    translation = Translation(ports, {"podium-state": tmp_path}, tmp_path, tmp_path)
    assert translation.text(SERVICES["server"], "http://mlflow:5000/health") == "http://127.0.0.1:6000/health"
    assert translation.text(SERVICES["server"], "file:///var/lib/podium/x") == f"file://{tmp_path}/x"
    with pytest.raises(Untranslatable):
        translation.text(SERVICES["server"], text)


def test_a_run_walks_through_the_processes_of_the_file(tmp_path: Path) -> None:
    with native_compose.deployed(tmp_path) as (services, deployment):
        template = resources.files("podium.cli") / "templates" / "digits.py"
        (deployment.translation.app / "pipelines" / "digits.py").write_text(template.read_text(encoding="utf-8"))
        worker = services["worker"]
        in_the_image = everything_in(deployment.translation.app)

        queued = run_in(deployment, worker, "podium", "run", "digits", "--for", "2026-10", "--detach", "--json")
        run_id = json.loads(queued)["run_id"]
        deployment.wait("worker", lambda: shown(deployment, worker, run_id)["state"] not in ("queued", "running"))
        run = shown(deployment, worker, run_id)
        assert (run["state"], run["outcome"]) == ("succeeded", "promoted"), deployment.log("worker")
        assert run["model"]["champion_after"] == "1"

        mlflow = {
            **deployment.translation.environment(worker),
            "MLFLOW_TRACKING_URI": f"http://{deployment.translation.here('mlflow')}",
        }
        done = subprocess.run(
            [sys.executable, "-c", PLAIN_MLFLOW], env=mlflow, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

        report = json.loads(run_in(deployment, worker, "podium", "costs", "report", "--by", "team", "--json"))
        total = Decimal(report["total"])
        assert total > 0
        served = get(deployment, "server", "/metrics").decode()
        assert sum(map(float, re.findall(r"^podium_cost_usd_total\{.* (\S+)$", served, re.MULTILINE))) == pytest.approx(
            float(total)
        )
        assert abs(prometheus_sum(deployment, "sum(podium_cost_usd_total)") - float(total)) < 1e-9
        assert prometheus_sum(deployment, "podium_scheduler_up") == 1, deployment.log("scheduler")
        assert prometheus_sum(deployment, 'podium_schedule_state{pipeline="digits", state="active"}') == 1
        groups = json.loads(get(deployment, "prometheus", "/api/v1/rules"))["data"]["groups"]
        rules = ROOT / "dashboards" / "prometheus" / "rules"
        written = [yaml.safe_load((rules / name).read_text()) for name in ("recording.yml", "alerts.yml")]
        assert {each["name"] for each in groups} == {each["name"] for file in written for each in file["groups"]}

        # In the image that folder belongs to root: whoever wrote there now would have failed there.
        assert everything_in(deployment.translation.app) == in_the_image
        assert deployment.stop("scheduler") == 0, deployment.log("scheduler")
        assert deployment.stop("worker") == 0, deployment.log("worker")
        assert deployment.stop("server") == 0, deployment.log("server")


def everything_in(folder: Path) -> set[Path]:
    """Return every file below a folder, without compiled code."""
    return {path for path in folder.rglob("*") if path.suffix != ".pyc" and path.name != "__pycache__"}


def run_in(deployment: Deployment, service: Service, *command: str) -> str:
    """Do what `docker compose exec SERVICE COMMAND` does; return its stdout."""
    done = subprocess.run(
        deployment.translation.arguments(service, command),
        cwd=deployment.translation.app,
        env=deployment.translation.environment(service),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def shown(deployment: Deployment, service: Service, run_id: str) -> dict[str, Any]:
    """Return a run's document."""
    document: dict[str, Any] = json.loads(run_in(deployment, service, "podium", "runs", "show", run_id, "--json"))
    return document


def get(deployment: Deployment, service: str, path: str) -> bytes:
    """Ask a service by HTTP."""
    with urllib.request.urlopen(f"http://{deployment.translation.here(service)}{path}", timeout=10) as answer:
        body: bytes = answer.read()
        return body


def prometheus_sum(deployment: Deployment, query: str) -> float:
    """Return what a query gives once Prometheus has scraped something for it."""
    path = f"/api/v1/query?query={urllib.parse.quote(query)}"
    found: list[float] = []

    def scraped() -> bool:
        result = json.loads(get(deployment, "prometheus", path))["data"]["result"]
        found[:] = [float(each["value"][1]) for each in result if float(each["value"][1]) > 0]
        return bool(found)

    deployment.wait("prometheus", scraped)
    return found[0]
