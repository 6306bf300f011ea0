"""Settings: the environment wins over `podium.toml`, which wins over the defaults; what is wrong is named."""

import getpass
import os
import re
from datetime import timedelta
from pathlib import Path

import pytest

from podium import settings
from podium.errors import ConfigurationError
from podium.settings.approvals import of_model


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project without settings of its own, and an environment without any."""
    for name in [name for name in os.environ if name.startswith("PODIUM_")]:
        monkeypatch.delenv(name)
    (tmp_path / "podium.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_everything_has_a_default(root: Path) -> None:
    found = settings.load()
    assert found.root == root
    assert found.home == root / ".podium"
    assert found.effective_database_url == f"sqlite:///{root}/.podium/podium.db"
    assert found.effective_tracking_uri == f"sqlite:///{root}/.podium/mlflow.db"
    assert found.artifact_folder == root / ".podium" / "artifacts"
    assert found.pipelines_folder == root / "pipelines"
    assert found.slots >= 1


def test_the_project_is_found_from_a_folder_below_it(root: Path) -> None:
    below = root / "pipelines" / "deep"
    below.mkdir(parents=True)
    assert settings.load(below).root == root


def test_the_environment_wins_over_the_file(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "podium.toml").write_text("slots = 3\nlease_seconds = 5\n")
    monkeypatch.setenv("PODIUM_SLOTS", "7")
    assert (settings.load().slots, settings.load().lease_seconds) == (7, 5.0)


def test_an_empty_variable_sets_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "podium.toml").write_text("slots = 3\n")
    for name in ("PODIUM_SLOTS", "PODIUM_USER", "PODIUM_HOME", "PODIUM_DATABASE_URL"):
        monkeypatch.setenv(name, "")
    found = settings.load()
    assert found.slots == 3
    assert found.user
    assert found.home == root / ".podium"


def test_a_relative_state_folder_is_meant_from_where_the_command_runs(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PODIUM_HOME", "state")
    assert settings.load().home == root / "state"


def test_relative_paths_of_settings_are_meant_from_the_root(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "podium.toml").write_text(
        'database_url = "sqlite:///state/p.db"\nmlflow_tracking_uri = "sqlite:///state/m.db"\nartifact_url = "kept"\n'
    )
    below = root / "pipelines"
    below.mkdir()
    monkeypatch.chdir(below)
    found = settings.load()
    assert found.effective_database_url == f"sqlite:///{root}/state/p.db"
    assert found.effective_tracking_uri == f"sqlite:///{root}/state/m.db"
    assert found.artifact_folder == root / "kept"


@pytest.mark.parametrize(
    "url", ["postgresql+psycopg://ada@host/podium", "sqlite:////var/podium.db", "http://mlflow.example:5000"]
)
def test_other_urls_are_taken_as_they_are(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODIUM_DATABASE_URL", url)
    monkeypatch.setenv("PODIUM_MLFLOW_TRACKING_URI", url)
    assert settings.load().effective_database_url == url
    assert settings.load().effective_tracking_uri == url


def test_a_file_url_names_the_artifact_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODIUM_ARTIFACT_URL", "file:///var/podium")
    assert settings.load().artifact_folder == Path("/var/podium")


@pytest.mark.parametrize("url", ["s3://bucket/podium", "gs://bucket", "sftp://host/srv/podium"])
def test_artifacts_may_lie_at_a_url(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODIUM_ARTIFACT_URL", url)
    assert settings.load().artifact_location == url
    with pytest.raises(ConfigurationError, match="names no folder of this host"):
        _ = settings.load().artifact_folder


def test_the_retention_is_a_number_of_days(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.load().retention == timedelta(days=90)
    monkeypatch.setenv("PODIUM_ARTIFACT_RETENTION", "7d")
    assert settings.load().retention == timedelta(days=7)


def test_the_root_is_where_the_file_lies_whatever_the_environment_says(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PODIUM_ROOT", "/")
    assert settings.load().root == root


def test_trusted_types_are_separated_by_commas_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODIUM_TRUSTED_TYPES", "a.B,c.D")
    assert settings.load().trusted_types == ("a.B", "c.D")


def test_the_section_about_models_is_one_table(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.load().models == settings.ModelSettings(
        pickle="scan", reviewed_packages=(), load_memory_gib=4, load_seconds=60
    )
    (root / "podium.toml").write_text('[models]\nreviewed_packages = "acme"\nload_seconds = 5\n')
    monkeypatch.setenv("PODIUM_MODELS", '{"pickle": "refuse"}')
    assert settings.load().models == settings.ModelSettings(
        pickle="refuse", reviewed_packages=("acme",), load_seconds=5
    ), "the environment wins over what it names, and over no more"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pickle = 'yes'", """models, pickle is 'yes': give "refuse", "scan" or "allow"."""),
        ("load_memory_gib = 0.1", "models, load_memory_gib is 0.1: give the memory in GiB, from 0.5 to 4096."),
        ("load_seconds = 'a minute'", "models, load_seconds is 'a minute': give the seconds, from 1 to 3600."),
        ("reviewed_packages = ['a b']", "models, reviewed_packages: 'a b' is no package; give the names"),
        ("reviewed_packages = 3", "models, reviewed_packages is 3: give a package or a list of them"),
        ("reviewed_packages = [3]", "models, reviewed_packages is 3: give a package or a list of them"),
        (
            "pickles = 'scan'",
            "models: pickles is no setting. They are pickle, reviewed_packages, load_memory_gib, load_s",
        ),
    ],
)
def test_what_is_wrong_in_the_section_about_models_is_said(root: Path, text: str, said: str) -> None:
    (root / "podium.toml").write_text(f"[models]\n{text}\n")
    with pytest.raises(ConfigurationError) as caught:
        settings.load()
    assert f"{root / 'podium.toml'}, {said}" in str(caught.value)
    (root / "podium.toml").write_text("models = 3\n")
    with pytest.raises(ConfigurationError, match="models is no table; begin it with a line"):
        settings.load()


def test_a_user_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 1234")

    monkeypatch.setattr(getpass, "getuser", nameless)
    assert settings.load().user == f"uid-{os.getuid()}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "slot = 1",
            "sets 'slot', which is no setting; did you mean slots? The settings are alerts, approvals, ",
        ),
        ("slots = 'many'", "is 'many': Input should be a valid integer"),
        ("slots = 0", "is 0: Input should be greater than or equal to 1. Correct or remove it."),
        ('project = "9 lives"', "is '9 lives': String should match pattern"),
        ("root = '/'", "sets 'root', which is no setting; remove it"),
        ("= 3", "is not valid TOML"),
        ('user = ""', "user in "),
        ('user = "  "', "user in "),
    ],
)
def test_what_is_wrong_in_the_file_is_named_with_the_file(root: Path, text: str, said: str) -> None:
    (root / "podium.toml").write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        settings.load()
    assert said in str(caught.value)
    assert str(root / "podium.toml") in str(caught.value)


def test_what_is_wrong_in_the_environment_is_named_with_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODIUM_LEASE_SECONDS", "soon")
    with pytest.raises(ConfigurationError, match=r"^PODIUM_LEASE_SECONDS is 'soon': .* Correct or remove it\.$"):
        settings.load()


def test_without_a_project_the_way_into_one_is_named(root: Path) -> None:
    (root / "podium.toml").unlink()
    with pytest.raises(ConfigurationError, match=r"No podium.toml in .*`podium init`"):
        settings.load()


@pytest.mark.parametrize("address", ["", "auto", "10.0.0.1:6379", "head.example:6379"])
def test_a_ray_cluster_is_named_by_its_head(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODIUM_RAY_ADDRESS", address)
    assert settings.load().ray_address == address


@pytest.mark.parametrize("address", ["ray://head:10001", "head", "head:", ":6379"])
def test_another_address_of_a_ray_cluster_is_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODIUM_RAY_ADDRESS", address)
    with pytest.raises(ConfigurationError, match=r"PODIUM_RAY_ADDRESS.*HOST:PORT of the cluster's head"):
        settings.load()


def test_the_first_pattern_that_fits_says_who_signs_off(root: Path) -> None:
    (root / "podium.toml").write_text(
        '[approvals."flight_*"]\nrequired = 2\napprovers = ["ana", "bo"]\nexpires_after = "12h"\n'
        '[approvals."*"]\nruns = false\n'
    )
    found = settings.load().approvals
    flights, others = of_model(found, "flight_delay"), of_model(found, "minutes_late")
    assert flights is not None
    assert others is not None
    assert (flights.required, flights.approvers, flights.expiry, flights.runs) == (
        2,
        ("ana", "bo"),
        timedelta(hours=12),
        True,
    )
    assert (others.required, others.approvers, others.expiry, others.runs) == (1, (), timedelta(days=7), False)
    assert of_model({}, "flight_delay") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('required = 3\napprovers = ["ana", "bo"]', "required = 3 > 2 approvers: nothing could ever be approved"),
        ('approvers = ["ana", "Ana "]', "name somebody twice"),
        ('approvers = ["ana", " "]', "has no name"),
        ("required = 0", "approvals.m.required in"),
        ('expires_after = "soon"', "give a whole number of seconds, minutes, hours or days"),
        ('expires_after = "0d"', "is no time at all"),
        ("requird = 2", "'approvals.m.requird', which is no setting; did you mean required?"),
    ],
)
def test_approvals_that_make_no_sense_are_refused(root: Path, text: str, words: str) -> None:
    (root / "podium.toml").write_text(f"[approvals.m]\n{text}\n")
    with pytest.raises(ConfigurationError, match=re.escape(words)):
        settings.load()


def test_a_gate_is_a_file_of_the_project_and_its_entry_is_named_where_it_is_none(root: Path) -> None:
    (root / "podium.toml").write_text('[gates]\n"*" = "gates/all.yaml"\n"flight_*" = "gates/flights.yml"\n')
    gates = settings.load().gates
    assert settings.gate_file(gates, "flight_delay") == "gates/flights.yml"
    assert settings.gate_file(gates, "demand") == "gates/all.yaml"
    for text in ('flight = "/etc/gate.yaml"', 'flight = "../gate.yaml"', 'flight = "gate.toml"'):
        (root / "podium.toml").write_text(f"[gates]\n{text}\n")
        with pytest.raises(
            ConfigurationError, match=r"gates.flight in .* give a YAML file of the project, by its path"
        ):
            settings.load()


def test_the_guard_s_settings(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.load().guard == settings.GuardSettings(champion_moved="alert", poll="60s", keep_champions=3)
    (root / "podium.toml").write_text('[guard]\nchampion_moved = "restore"\npoll = "2m"\n')
    assert settings.load().guard.champion_moved == "restore"
    assert settings.load().guard.pause == timedelta(minutes=2)
    monkeypatch.setenv("PODIUM_GUARD", '{"keep_champions": 5}')
    assert settings.load().guard.keep_champions == 5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('guard = "alert"', "guard is no table; write its settings below a line [guard]."),
        ('[guard]\npol = "5s"', "guard: pol is no setting; did you mean poll? They are champion_moved, poll, "),
        ('[guard]\nchampion_moved = "undo"', "guard: champion_moved is 'undo': Input should be 'alert' or 'restore'."),
        ('[guard]\npoll = "0s"', "guard: poll is '0s': give a whole number of seconds, minutes, hours or days"),
        ("[guard]\npoll = 60", "guard: poll is 60: "),
        ("[guard]\nkeep_champions = -1", "guard: keep_champions is -1: "),
    ],
)
def test_what_is_wrong_with_the_guard_s_settings_is_named(root: Path, text: str, said: str) -> None:
    (root / "podium.toml").write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        settings.load()
    assert said in str(caught.value)
    assert str(root / "podium.toml") in str(caught.value)
