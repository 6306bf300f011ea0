"""A path of environments in podium.toml: what is wrong with it, pipelines that do not fit it, models outside it."""

from collections.abc import Callable, Iterator

import pytest

from podium import settings
from podium.clock import FakeClock
from podium.errors import ConfigurationError
from podium.registry.entities import CHAMPION, instant_text
from podium.registry.memory_registry import MemoryRegistry
from podium.registry.packaging import requirements_of
from podium.wiring.project import open_project
from tests.promotion_world import SAMPLE, World, estimator
from tests.unit.cli.conftest import COUNTING, InProcess

Refuses = Callable[..., str]

PATH = 'project = "tests"\nslots = 2\n\n[environments]\npath = ["dev", "staging", "prod"]\n'


def declare(podium: InProcess, text: str) -> None:
    (podium.project / "podium.toml").write_text(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            'path = ["dev"]',
            "environments, path: it has one environment, dev; a path has two at least, as dev and",
        ),
        ('path = ["dev", "prod", "dev"]', "it names dev twice; name each environment once."),
        ('path = ["dev", "my prod"]', "'my prod' is no name; take a letter, then up to 29 letters, digits, - or _."),
        ('path = ["dev", "pre.prod"]', "'pre.prod' is no name"),
        ('path = "dev"', 'environments, path is of the wrong kind; list the names in quotes, as path = ["dev"'),
        ("path = 3", "environments, path is of the wrong kind"),
        ('pth = ["dev", "prod"]', "environments: pth is no setting; did you mean path? They are path, model_name, pol"),
        ('path = ["dev", "prod"]\nmodel_name = "{model}"', "name {environment} and {model} once each"),
        ('path = ["dev", "prod"]\nmodel_name = "{env}.{model}"', "name {environment} and {model} once each"),
        ('path = ["dev", "prod"]\nmodel_name = "{environment}/{model}"', "may hold no / and no :, take a dot"),
        ('path = ["dev", "prod"]\nmodel_name = "{environment}{model}"', "model_name has nothing between"),
        ('path = ["dev", "pre-prod"]\nmodel_name = "{model}-{environment}"', "pre-prod holds '-', which parts it"),
        (
            'path = ["dev", "prod"]\npolicies = {prd = "a.yaml"}',
            "policies names prd, which is not in the path; did",
        ),
        ('path = ["dev", "prod"]\npolicies = {dev = "a.yaml"}', "policies names dev, the first of the path, whose"),
        ('path = ["dev", "prod"]\npolicies = {prod = 3}', "policies, prod is of the wrong kind; name a file in quotes"),
    ],
)
def test_a_wrong_path_is_told(podium: InProcess, text: str, said: str) -> None:
    declare(podium, f"[environments]\n{text}\n")
    with pytest.raises(ConfigurationError) as caught:
        settings.load(podium.project)
    assert said in str(caught.value)
    assert str(podium.project / "podium.toml") in str(caught.value)


def test_the_variable_is_named_that_holds_a_wrong_path(podium: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODIUM_ENVIRONMENTS", '{"path": ["dev"]}')
    with pytest.raises(ConfigurationError, match=r"PODIUM_ENVIRONMENTS, environments, path: it has one environment"):
        settings.load(podium.project)


@pytest.fixture
def world(podium: InProcess, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A model in dev with two champions, in a registry in memory."""
    registry = MemoryRegistry()
    monkeypatch.setattr("podium.wiring.project.build_registry", lambda *_: registry)
    declare(podium, PATH)
    project = open_project(podium.project)
    world = World(project.database, registry, clock, "dev.counting")
    world.champions(2)
    yield world
    project.close()


def test_since_when_a_champion_serves_that_was_adopted_is_shown(podium: InProcess, world: World) -> None:
    world.registry.set_alias(world.model, CHAMPION, "1")
    assert podium("models", "path", "counting", "--json").document["environments"][0]["since"] is None
    assert podium("models", "adopt", world.model, "--reason", "the feed is back").code == 0
    since = podium("models", "path", "counting", "--json").document["environments"][0]["since"]
    assert since == podium("models", "live", world.model, "--json").document["since"]
    assert since == instant_text(world.history[-1].at)


def test_what_somebody_made_champion_of_a_later_environment_is_not_adopted(podium: InProcess, world: World) -> None:
    logged = world.registry.log_model(
        estimator(), SAMPLE, model="x", key="x", requirements=requirements_of(estimator()), tags={}
    )
    world.registry.create_version("staging.counting", logged, key="x", tags={})
    world.registry.set_alias("staging.counting", CHAMPION, "1")
    adopt = ("models", "adopt", "staging.counting", "--reason", "it serves")
    refused = podium(*adopt)
    assert refused.code == 3
    said = " ".join(refused.out.split())
    assert "podium models advance" in said
    assert "staging.counting: champion" not in said, "of one that was refused no line speaks as of the champion"
    (version,) = podium(*adopt, "--json").document["versions"]
    assert (version["outcome"], version["by_policy"]) == ("refused", True)
    assert "a version enters an environment only from the one before" in version["notes"][0]
    # Where dev has the same files on record, they are in their place.
    world.registry.create_version("dev.counting", logged, key="y", tags={})
    assert podium("models", "adopt", "dev.counting", "--version", "3", "--reason", "as in staging").code == 0
    assert "champion on record none → 1" in podium(*adopt).out


def test_without_a_path_a_pipeline_declares_what_it_likes(podium: InProcess) -> None:
    assert podium("pipelines", "show", "counting").code == 0


def test_a_pipeline_that_does_not_fit_the_path_is_not_run(podium: InProcess, refuses: Refuses) -> None:
    assert podium("pipelines", "show", "counting").code == 0, "and what was traced before is no way around it"
    declare(podium, PATH)
    said = refuses("run", "counting", "--for", "2026-10")
    assert said.startswith("The pipeline counting declares environment='dev' and model='counting', which by its name")
    assert said.endswith("write model='dev.counting'.")
    podium.pipeline(COUNTING.replace('environment="dev"', 'environment="test"'))
    assert "is not in the path dev → staging → prod" in refuses("run", "counting", "--for", "2026-10")
    listed = podium("pipelines", "list")
    assert "is not in the path" in listed.out + listed.err
    podium.pipeline(COUNTING.replace('model="counting"', 'model="dev.counting"'))
    assert podium("pipelines", "show", "counting").code == 0


def test_another_pipeline_of_the_file_is_loaded_all_the_same(podium: InProcess) -> None:
    declare(podium, PATH)
    right = COUNTING.partition("@pipeline")[2].replace("def counting", "def fitting").replace('"counting"', '"dev.x"')
    podium.pipeline(f"{COUNTING}\n@pipeline{right}", name="both")
    (podium.project / "pipelines" / "counting.py").unlink()
    assert podium("pipelines", "show", "fitting").code == 0
    answer = podium("pipelines", "show", "counting")
    assert answer.code == 2
    assert answer.complaint.startswith("The pipeline counting declares")


def test_a_later_environment_registers_nothing(podium: InProcess) -> None:
    declare(podium, PATH)
    podium.pipeline(
        """
import pandas as pd

from podium import Interval, pipeline, step
from podium.stages import evaluate_candidate, register_version

@step
def rows(month: Interval) -> pd.DataFrame:
    return pd.DataFrame()

@pipeline(model="prod.counting", team="research", environment="prod", grain="month")
def counting(month: Interval) -> None:
    found = rows(month)
    register_version(found, evaluate_candidate(found, found, label="late"))
"""
    )
    answer = podium("pipelines", "show", "counting")
    assert answer.code == 2
    assert "prod gets its versions from the environment before" in answer.complaint


def test_models_that_are_nowhere_on_the_path_are_told(podium: InProcess, refuses: Refuses) -> None:
    assert "has no path of environments; write one in podium.toml" in refuses("models", "path", "flights")
    advance = ("models", "advance", "flights", "--version", "1", "--reason", "x")
    assert "has no path of environments" in refuses(*advance)
    declare(podium, PATH)
    assert "such models are named dev.flights, staging.flights, prod.flights" in refuses(*advance)
    assert "no version of dev.flights, staging.flights, prod.flights was registered yet" in refuses(
        "models", "path", "staging.flights"
    )
