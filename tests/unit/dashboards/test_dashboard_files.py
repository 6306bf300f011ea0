"""What Grafana and Prometheus are given: the generated JSON, the provisioning, the rules and their own tests."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from dashboards.build import DASHBOARDS, FOLDER, documents
from dashboards.definition import panels
from dashboards.definition.grafana_json import DATASOURCE_UID
from dashboards.definition.panels import PAGE_WIDTH, Dashboard, laid_out
from podium.cli.main import app
from podium.db.schema.canary import CANARY_ENDED
from podium.db.schema.execution import ATTEMPT_ENDED
from podium.db.schema.registry import VERDICTS
from podium.exporter.runs import ENDS

PROMETHEUS = FOLDER.parent / "prometheus"
RULES = PROMETHEUS / "rules"
BOARDS = pytest.mark.parametrize("board", DASHBOARDS, ids=lambda board: board.uid)


def loaded(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def alerts() -> list[dict[str, Any]]:
    return [rule for group in loaded(RULES / "alerts.yml")["groups"] for rule in group["rules"]]


def test_the_committed_dashboards_are_the_generated_ones() -> None:
    committed = {path.name: path.read_text() for path in FOLDER.glob("*.json")}
    assert committed == documents(), "run `python -m dashboards.build`"


@BOARDS
def test_panels_lie_side_by_side(board: Dashboard) -> None:
    taken: set[tuple[int, int]] = set()
    for _, place in laid_out(board):
        assert place.left + place.width <= PAGE_WIDTH
        fields = {
            (left, top)
            for left in range(place.left, place.left + place.width)
            for top in range(place.top, place.top + place.height)
        }
        assert not fields & taken
        taken |= fields


@BOARDS
def test_every_section_fills_the_page(board: Dashboard) -> None:
    for section in board.sections:
        assert sum(panel.width for panel in section.panels) % PAGE_WIDTH == 0, section.title


@BOARDS
def test_panels_are_told_apart_and_explained(board: Dashboard) -> None:
    titles = [panel.title for panel in board.panels]
    assert len(set(titles)) == len(titles)
    assert all(panel.description.endswith(".") for panel in board.panels)
    drawn = json.loads(documents()[f"{board.uid}.json"])["panels"]
    assert len({panel["id"] for panel in drawn}) == len(drawn)


@pytest.mark.parametrize(
    ("colours", "words"),
    [
        (panels.ENDS, ENDS),
        (panels.ATTEMPT_ENDS, ATTEMPT_ENDED),
        (panels.CANARY_ENDS, CANARY_ENDED),
        (panels.GATE_VERDICTS, VERDICTS),
    ],
    ids=["ends of runs", "ends of attempts", "ends of canaries", "verdicts"],
)
def test_every_word_has_a_colour_of_its_own(colours: tuple[tuple[str, str], ...], words: tuple[str, ...]) -> None:
    assert {name for name, _ in colours} == set(words)
    assert len({colour for _, colour in colours}) == len(words)


def test_grafana_is_given_the_colours() -> None:
    drawn = {panel["title"]: panel for panel in json.loads(documents()["operations.json"])["panels"]}
    colours = {
        each["matcher"]["options"]: each["properties"][0]["value"]["fixedColor"]
        for each in drawn["Runs that ended, by outcome"]["fieldConfig"]["overrides"]
    }
    assert (colours["promoted"], colours["failed"]) == ("green", "red")
    assert drawn["Open runs"]["fieldConfig"]["overrides"] == []


def test_every_query_goes_to_the_provisioned_datasource() -> None:
    (source,) = loaded(FOLDER / "provisioning" / "datasources" / "prometheus.yaml")["datasources"]
    assert source["uid"] == DATASOURCE_UID
    assert source["url"] == "${PODIUM_PROMETHEUS_URL}"
    for text in documents().values():
        assert set(re.findall(r'"uid": "(podium-[a-z-]+)"', text)) == {DATASOURCE_UID}


def test_grafana_never_writes_what_is_generated() -> None:
    (provider,) = loaded(FOLDER / "provisioning" / "dashboards" / "podium.yaml")["providers"]
    assert provider["type"] == "file"
    assert provider["allowUiUpdates"] is False


def test_prometheus_takes_the_configuration() -> None:
    done = subprocess.run(
        ["promtool", "check", "config", PROMETHEUS / "prometheus.yml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 rule files found" in done.stdout


@pytest.mark.parametrize("name", ["alerts.test.yml", "recording.test.yml", "spending.test.yml"])
def test_the_rules_pass_their_own_tests(name: str) -> None:
    done = subprocess.run(["promtool", "test", "rules", name], cwd=RULES, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_rule_has_a_test_and_every_test_runs() -> None:
    tested = {path.name: path.read_text() for path in RULES.glob("*.test.yml")}
    assert set(tested) == {"alerts.test.yml", "recording.test.yml", "spending.test.yml"}
    everything = "\n".join(tested.values())
    recorded = [rule["record"] for group in loaded(RULES / "recording.yml")["groups"] for rule in group["rules"]]
    assert [name for name in (*recorded, *(alert["alert"] for alert in alerts())) if name not in everything] == []


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_an_alert_says_what_how_much_and_what_to_do(alert: dict[str, Any]) -> None:
    told = alert["annotations"]
    assert set(told) == {"summary", "description", "runbook"}
    assert alert["labels"]["severity"] in ("page", "ticket", "info")
    assert re.search(r"\d|\$value", told["description"])
    assert "`podium " in told["runbook"]


def test_the_commands_that_are_named_exist() -> None:
    from typer.main import get_command

    commands = get_command(app).commands  # type: ignore[attr-defined]
    texts = [
        *(alert["annotations"]["runbook"] for alert in alerts()),
        *(panel.description for board in DASHBOARDS for panel in board.panels),
    ]
    named = {found for text in texts for found in re.findall(r"`podium ([a-z]+)(?: ([a-z]+))?", text)}
    assert len(named) > 5
    missing = [
        " ".join(words).strip()
        for words in named
        if words[0] not in commands or (words[1] and words[1] not in getattr(commands[words[0]], "commands", {}))
    ]
    assert missing == []
