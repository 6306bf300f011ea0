"""Words that the command cannot make sense of: exit code 2, one paragraph, and nothing was done."""

from collections.abc import Callable

import pytest

from tests.unit.cli.conftest import InProcess

Refuses = Callable[..., str]


def test_a_missing_argument_is_one_line_that_names_the_help(refuses: Refuses) -> None:
    assert refuses("run", "counting") == "Missing option '--for'; see `podium run --help`."


def test_an_unknown_command_suggests_the_one_that_was_meant(refuses: Refuses) -> None:
    assert "Did you mean 'runs'" in refuses("rnus", "list")
    assert "`podium runs --help`" in refuses("runs", "lsit")


def test_an_unknown_option_and_a_value_of_another_type_are_named(refuses: Refuses) -> None:
    assert "--nope" in refuses("runs", "list", "--nope")
    assert "--limit" in refuses("runs", "list", "--limit", "many")
    assert "--limit" in refuses("runs", "list", "--limit", "0")


def test_without_a_command_the_help_is_shown(podium: InProcess) -> None:
    for group in ((), ("runs",), ("costs",)):
        answer = podium(*group)
        assert answer.code == 2
        assert answer.out == ""
        assert answer.err.startswith("Usage: podium")


def test_an_unknown_pipeline_suggests_the_one_that_was_meant(refuses: Refuses) -> None:
    complaint = refuses("run", "countin", "--for", "2026-10")
    assert "no pipeline 'countin'; did you mean counting?" in complaint
    assert "There is no pipeline 'nothing_like_it'." in refuses("pipelines", "show", "nothing_like_it")


@pytest.mark.parametrize("command", [("runs", "show"), ("runs", "logs"), ("runs", "graph"), ("runs", "resume")])
def test_an_unknown_run_is_named_with_the_command_that_lists_them(refuses: Refuses, command: tuple[str, ...]) -> None:
    assert refuses(*command, "0j9x3k") == "There is no run '0j9x3k'; `podium runs list` shows them."


def test_a_run_that_cannot_be_cancelled_because_there_is_none(refuses: Refuses) -> None:
    assert "There is no run '0j9x3k'" in refuses("runs", "cancel", "0j9x3k", "--reason", "x")
    assert "There is no run '0j9x3k'" in refuses("costs", "run", "0j9x3k")


@pytest.mark.parametrize("command", ["show", "history", "verify"])
def test_an_unknown_model_is_named(refuses: Refuses, command: str) -> None:
    assert "There is no model 'nope'; no version of any model was registered yet." in refuses("models", command, "nope")


def test_an_unknown_version_has_no_cost(refuses: Refuses) -> None:
    assert "version 9 of nope" in refuses("costs", "version", "nope", "9")


@pytest.mark.parametrize("text", ["2026-13", "yesterday", "", "2026-10..2026-09", "2026-10..2026-10", "20261005"])
def test_a_malformed_interval_shows_the_forms(refuses: Refuses, text: str) -> None:
    complaint = refuses("run", "counting", "--for", text)
    assert "interval" in complaint
    assert text.split("..", maxsplit=1)[0] in complaint


@pytest.mark.parametrize("text", ["2026", "2026-10-05", "2026-10-05T06", "2026-09..2026-11"])
def test_an_interval_of_another_grain_is_refused_with_an_example(refuses: Refuses, text: str) -> None:
    complaint = refuses("run", "counting", "--for", text)
    assert complaint.startswith("counting retrains by month")
    assert "Give one whole month, as 2026-" in complaint


def test_wrong_parameters_are_named_before_anything_runs(refuses: Refuses) -> None:
    def run(*parameters: str) -> str:
        return refuses("run", "counting", "--for", "2026-10", *(w for p in parameters for w in ("--param", p)))

    assert run("count") == "--param 'count' names no parameter; write it as NAME=VALUE."
    assert run("=3") == "--param '=3' names no parameter; write it as NAME=VALUE."
    assert "has no parameter 'cuont'; did you mean count" in run("cuont=3")
    assert "count" in run("count=three")
    assert "int" in run("count=three")
    assert run("count=1", "count=2") == "--param count is given twice; keep one."


def test_a_missing_parameter_is_named(podium: InProcess, refuses: Refuses) -> None:
    podium.pipeline(
        "from podium import Interval, pipeline, step\n\n"
        "@step\ndef nothing(count: int) -> int:\n    return count\n\n"
        '@pipeline(model="m", team="t", environment="dev", grain="month")\n'
        "def strict(month: Interval, count: int) -> None:\n    nothing(count)\n",
        "strict",
    )
    assert "needs parameter count (int); give --param count=VALUE" in refuses("run", "strict", "--for", "2026-10")


def test_an_empty_reason_is_refused_before_anything_else(refuses: Refuses) -> None:
    for act in (
        ("promote", "counting", "--version", "1"),
        ("rollback", "counting"),
        ("models", "unblock", "counting", "--version", "1"),
        ("runs", "cancel", "0j9x3k"),
        ("runs", "resume", "0j9x3k"),
    ):
        assert "The reason is empty" in refuses(*act, "--reason", " ")


def test_a_state_or_a_group_key_that_does_not_exist_shows_those_that_do(refuses: Refuses) -> None:
    assert "the states are queued, running, succeeded" in refuses("runs", "list", "--state", "done")
    assert "choose among team, model" in refuses("costs", "report", "--by", "colour")
    assert "named twice" in refuses("costs", "report", "--by", "team,team")


def test_a_malformed_day_and_an_empty_period_are_refused(refuses: Refuses) -> None:
    assert refuses("costs", "report", "--from", "March") == "'March' is no day; write it as 2026-03-01."
    assert "is empty" in refuses("costs", "report", "--from", "2026-03-02", "--to", "2026-03-02")


def test_init_overwrites_nothing(podium: InProcess) -> None:
    before = (podium.project / "podium.toml").read_text()
    answer = podium("init")
    assert answer.code == 2
    assert "podium.toml is there already" in answer.complaint
    assert (podium.project / "podium.toml").read_text() == before


def test_debug_shows_the_traceback_and_keeps_the_exit_code(podium: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODIUM_DEBUG", "")  # the option sets it; monkeypatch takes it back
    answer = podium("--debug", "runs", "show", "0j9x3k")
    assert answer.code == 2
    assert "Traceback" in answer.err
    assert answer.err.endswith("Error: There is no run '0j9x3k'; `podium runs list` shows them.\n")
