"""Loading projects: each file in a child process, whatever the file does."""

import json
import os
import select
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from podium.dag import catalogue
from podium.dag.catalogue import FileProblem, Loaded, trace_file, trace_project
from podium.dag.loading import (
    check_unchanged,
    imported_names,
    is_own_code,
    load_file,
    load_step,
    plan_is_current,
    trace_loaded,
)
from podium.errors import DefinitionError, NotFound


def pipeline_source(name: str) -> str:
    return textwrap.dedent(f"""
        from podium import Interval, pipeline, step

        @step
        def train(day: Interval) -> str:
            return "model"

        @pipeline(model="m", team="t", environment="prod")
        def {name}(day: Interval):
            train(day)
        """)


Write = Callable[..., Path]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pipelines").mkdir()
    return tmp_path


@pytest.fixture
def write(project: Path) -> Write:
    def write_file(name: str, text: str) -> Path:
        path = project / "pipelines" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return path

    return write_file


@pytest.fixture
def clean_modules() -> Iterator[None]:
    path, modules = sys.path[:], set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def ends(pid: int, within_seconds: float) -> bool:
    """Tell whether the process is gone, or ends in time."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    try:
        return bool(poll.poll(within_seconds * 1000))
    finally:
        os.close(descriptor)


def load(project: Path, timeout_seconds: float = 30) -> Loaded:
    return trace_project(project, project / "pipelines", timeout_seconds)


def problem(project: Path, path: Path, timeout_seconds: float = 30) -> str:
    result = trace_file(project, path, timeout_seconds)
    assert isinstance(result, FileProblem)
    assert result.file == str(path.relative_to(project))
    return result.message


def test_a_project_loads_with_its_local_modules_and_their_digests(project: Path, write: Write) -> None:
    write("sibling.py", "from shared.names import LABEL\n")
    write("../shared/names.py", "LABEL = 'late'\n")
    write(
        "sales.py",
        "import sibling\nimport yaml\nprint('noise on stdout')\n" + pipeline_source("sales"),
    )
    loaded = load(project)
    assert loaded.problems == ()
    plan = loaded.plan("sales")
    assert plan.file == "pipelines/sales.py"
    assert list(plan.modules) == ["pipelines/sales.py", "pipelines/sibling.py", "shared/names.py"]
    assert (plan.steps[0].module, plan.steps[0].module_file) == ("sales", "pipelines/sales.py")
    assert plan_is_current(project, plan)


def test_imports_are_read_without_running_a_file(tmp_path: Path) -> None:
    good, broken = tmp_path / "good.py", tmp_path / "broken.py"
    good.write_text("import os, yaml\nfrom sklearn import svm\nraise SystemExit\n")
    broken.write_text("import pandas\ndef\n")
    assert imported_names([good, broken, tmp_path / "missing.py"]) == ("sklearn", "sklearn.svm", "yaml")


def test_loading_writes_no_bytecode_that_a_full_disk_could_cut_short(
    project: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    write("helper_of_whole.py", "ONE = 1")
    path = write("whole.py", "import helper_of_whole" + pipeline_source("whole"))
    load_file(project, path)
    assert not list(project.rglob("*.pyc"))
    assert sys.dont_write_bytecode is False


def test_a_change_in_any_local_module_outdates_the_plan(project: Path, write: Write) -> None:
    write("names.py", "LABEL = 'late'\n")
    write("sales.py", "import names\n" + pipeline_source("sales"))
    before = load(project).plan("sales")
    helper = write("names.py", "LABEL = 'soon'\n")
    assert not plan_is_current(project, before)
    with pytest.raises(DefinitionError, match=r"pipelines/names\.py changed since the run was planned"):
        check_unchanged(project, before.modules)
    after = load(project).plan("sales")
    assert after.code_digest != before.code_digest
    assert after.digest != before.digest
    helper.unlink()
    assert not plan_is_current(project, after)


def test_code_that_is_not_on_a_workers_host_is_called_absent_not_changed(project: Path, write: Write) -> None:
    path = write("sales.py", pipeline_source("sales"))
    modules = load(project).plan("sales").modules
    path.unlink()
    with pytest.raises(DefinitionError) as caught:
        check_unchanged(project, modules)
    assert f"pipelines/sales.py is not there in {project} on the host " in str(caught.value)
    assert "Every worker needs the code that the run was planned with" in str(caught.value)
    assert "changed" not in str(caught.value)


def test_what_a_step_imports_only_when_it_runs_is_part_of_the_code(project: Path, write: Write) -> None:
    write("sales.py", pipeline_source("sales").replace("    return", "    from features import factor\n    return"))
    write("features/__init__.py", "")
    factor = write("features/factor.py", "def compute():\n    from .scales import SCALE\n    import shared.rates\n")
    write("features/scales.py", "from . import base\nfrom .. import unused\nSCALE = base.BASE\n")
    write("features/base.py", "import features.factor  # a cycle\nBASE = 2\n")
    write("../shared/rates.py", "import json, yaml, nothing_like_it\n")
    write("unrelated.py", "")
    before = load(project).plan("sales")
    assert list(before.modules) == [
        "pipelines/features/__init__.py",
        "pipelines/features/base.py",
        "pipelines/features/factor.py",
        "pipelines/features/scales.py",
        "pipelines/sales.py",
        "shared/rates.py",
    ]
    for path in (factor, project / "shared" / "rates.py"):
        original = path.read_text()
        path.write_text(original + "CHANGED = True\n")
        assert not plan_is_current(project, before)
        assert load(project).plan("sales").code_digest != before.code_digest
        path.write_text(original)
    assert plan_is_current(project, before)


def test_imports_lead_neither_out_of_the_project_nor_into_installed_packages(project: Path, write: Write) -> None:
    nested = project / "nested"
    installed = nested / "env" / "site-packages"
    write(
        "../nested/pipelines/sales.py",
        f"import lazily, sys\nsys.path.append({str(installed)!r})\n" + pipeline_source("sales"),
    )
    write("../nested/pipelines/lazily.py", "def f():\n    import vendored\n    from ...pipelines import outside\n")
    write("outside.py", "")
    write("../nested/env/site-packages/vendored.py", "")
    modules = load(nested).plan("sales").modules
    assert list(modules) == ["pipelines/lazily.py", "pipelines/sales.py"]


def test_own_code_is_under_the_root_but_neither_installed_nor_podium(tmp_path: Path) -> None:
    everything = Path(tmp_path.anchor)
    assert is_own_code(tmp_path / "sales.py", everything)
    assert not is_own_code(tmp_path / "sales.py", tmp_path / "nested")
    for installed in (json, pytest, catalogue):
        assert not is_own_code(Path(installed.__file__ or ""), everything)
    assert not is_own_code(tmp_path / "dist-packages" / "other.py", tmp_path)


@pytest.mark.usefixtures("clean_modules")
def test_a_project_under_the_interpreters_prefix_loads(
    project: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "prefix", str(project))
    plans = trace_loaded(project, write("under_prefix.py", pipeline_source("under_prefix")))
    assert list(plans[0].modules) == ["pipelines/under_prefix.py"]


MODEL = """
from pydantic import BaseModel, ConfigDict

class Plan(BaseModel):
    model_config = ConfigDict(extra="forbid")
    margin: float = 0.01
"""

BROKEN = {
    "misspelt.py": (
        MODEL + "\nPLAN = Plan(margni=0.02)\n",
        r"^pipelines/misspelt\.py:8: Plan has no field 'margni'; did you mean margin\? Its fields are margin\.$",
    ),
    "traced.py": (
        MODEL + pipeline_source("traced").replace("    train(day)", "    Plan(margin='wide')\n    train(day)"),
        r"^pipelines/traced\.py:16: Plan\.margin is 'wide': input should be a valid number, [^\n]*\.$",
    ),
    "lines.py": (
        "raise ValueError('first\\nsecond')\n",
        r"pipelines/lines\.py:1: importing lines\.py raised ValueError: first second\. Correct it there",
    ),
    "syntax.py": ("def f(:\n", r"pipelines/syntax.py:1: .*Correct that line"),
    "missing.py": (
        "import math\nimport nothing_like_it\n",
        "pipelines/missing.py:2: importing missing.py raised ModuleNotFoundError: .*'nothing_like_it'",
    ),
    "exits.py": (
        "import sys\nsys.exit(3)\n",
        r"pipelines/exits.py:2: importing exits.py raised SystemExit: 3",
    ),
    "gone.py": (
        "import os\nprint('bye', flush=True)\nos._exit(7)\n",
        r"exit code 7 while it was imported.*bye",
    ),
    "killed.py": (
        "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n",
        "ended its process by SIGSEGV",
    ),
    "two-words.py": ("", r"'two-words' is no module name; rename the file, as two_words.py"),
    "json.py": ("", r"hides the standard library's 'json'.*rename it, as json_pipeline.py"),
    "time.py": ("", "hides the standard library's 'time'"),
    "pandas.py": ("", "hides the installed package 'pandas'"),
    "unowned.py": (pipeline_source("unowned").replace('team="t"', 'team=""'), "team is not given"),
    "misused.py": (
        pipeline_source("misused").replace("    train(day)", "    len(train(day))"),
        "has no length",
    ),
    "hidden_step.py": (
        """
        from podium import Interval, pipeline, step

        def make():
            @step
            def inner(day: Interval) -> None: ...
            return inner

        inner_step = make()

        @pipeline(model="m", team="t", environment="prod")
        def nested(day: Interval):
            inner_step(day)
        """,
        "cannot be imported under that name; define it with @step at the top level",
    ),
}


def test_broken_files_are_problems_and_leave_the_others_loaded(project: Path, write: Write) -> None:
    for name, (text, _) in BROKEN.items():
        write(name, text)
    write("sales.py", pipeline_source("sales"))
    loaded = load(project)
    assert list(loaded.plans) == ["sales"]
    found = {Path(each.file).name: each.message for each in loaded.problems}
    assert found.keys() == BROKEN.keys()
    for name, (_, words) in BROKEN.items():
        with pytest.raises(DefinitionError, match=rf"(?s){words}"):
            raise DefinitionError(found[name])


def test_a_hanging_file_is_stopped_with_everything_it_started(project: Path, write: Write) -> None:
    note = project / "child.pid"
    path = write(
        "hangs.py",
        f"""
        import pathlib, subprocess, time
        started = subprocess.Popen(["sleep", "60"])
        pathlib.Path({str(note)!r}).write_text(str(started.pid))
        time.sleep(60)
        """,
    )
    began = time.monotonic()
    assert "did not finish importing in 2 s and was stopped" in problem(project, path, timeout_seconds=2)
    assert time.monotonic() - began < 20
    assert ends(int(note.read_text()), within_seconds=10)


def test_what_a_file_leaves_running_does_not_hold_up_its_plan(project: Path, write: Write) -> None:
    path = write(
        "threads.py",
        "import subprocess, threading, time\n"
        "threading.Thread(target=time.sleep, args=(60,)).start()\n"
        "subprocess.Popen(['sleep', '60'])\n" + pipeline_source("threads"),
    )
    began = time.monotonic()
    assert isinstance(trace_file(project, path, 30), list)
    assert time.monotonic() - began < 15


def test_an_error_in_a_sibling_names_the_sibling(project: Path, write: Write) -> None:
    write("bad_sibling.py", "x = 1\nx = x / 0\n")
    path = write("sales.py", "import bad_sibling\n")
    assert "pipelines/bad_sibling.py:2: importing sales.py raised ZeroDivisionError" in problem(project, path)


def test_an_error_in_an_installed_package_names_the_line_that_called_it(project: Path, write: Write) -> None:
    write("../.venv/site-packages/strict.py", "def check(value):\n    raise ValueError(value)\n")
    path = write("sales.py", "import sys\nsys.path.append('.venv/site-packages')\nimport strict\nstrict.check('no')\n")
    assert "pipelines/sales.py:4: importing sales.py raised ValueError: no" in problem(project, path)


def test_one_name_in_two_files_is_a_problem_that_names_both(project: Path, write: Write) -> None:
    write("one.py", pipeline_source("sales"))
    write("two.py", pipeline_source("sales"))
    loaded = load(project)
    assert loaded.plans == {}
    assert [(each.message, set(each.files)) for each in loaded.problems] == [
        (
            "Pipeline sales is defined in pipelines/one.py and in pipelines/two.py; rename all but one of them.",
            {"pipelines/one.py", "pipelines/two.py"},
        )
    ]


def test_the_original_of_a_stray_copy_is_said_to_be_defined_twice(project: Path, write: Write) -> None:
    write("sales.py", pipeline_source("sales"))
    write("sales_new.py", pipeline_source("sales"))
    with pytest.raises(DefinitionError, match=r"sales is defined in pipelines/sales\.py and in pipelines/sales_new"):
        load(project).plan("sales")


def test_a_pipeline_imported_from_another_file_is_not_a_second_one(project: Path, write: Write) -> None:
    write("sales.py", pipeline_source("sales"))
    write("importer.py", "from sales import sales, train\n")
    loaded = load(project)
    assert (list(loaded.plans), loaded.problems) == (["sales"], ())


def test_a_file_with_a_known_plan_is_not_traced_again(project: Path, write: Write) -> None:
    write("sales.py", pipeline_source("sales"))
    known = load(project).plan("sales")
    write("sales.py", "raise RuntimeError\n")
    write("other.py", pipeline_source("other"))
    loaded = trace_project(project, project / "pipelines", 30, known=[known])
    assert (set(loaded.plans), loaded.problems) == ({"sales", "other"}, ())


def test_files_with_a_leading_underscore_are_left_alone(project: Path, write: Write) -> None:
    write("_draft.py", "raise RuntimeError\n")
    assert load(project).problems == ()


def test_an_unknown_pipeline_names_the_known_ones_and_the_closest(project: Path, write: Write) -> None:
    write("sales.py", pipeline_source("sales"))
    write("broken.py", "1 / 0\n")
    loaded = load(project)
    with pytest.raises(
        NotFound, match=r"no pipeline 'sale'; did you mean sales\?.* are sales\..*broken.py did not load"
    ):
        loaded.plan("sale")
    with pytest.raises(DefinitionError, match="ZeroDivisionError"):
        loaded.plan("broken")


def test_a_project_without_pipelines_says_how_to_get_one(project: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="`podium init` makes a project"):
        load(project).plan("sales")
    with pytest.raises(NotFound, match=r"No \*\.py file in .*nowhere"):
        trace_project(tmp_path, tmp_path / "nowhere", 1).plan("sales")


@pytest.mark.usefixtures("clean_modules")
def test_a_step_is_found_again_by_the_names_in_its_plan(project: Path, write: Write) -> None:
    path = write("found_again.py", pipeline_source("found_again"))
    plan = load(project).plan("found_again")
    node = plan.step("train")
    found = load_step(project, plan.file, node.module, node.qualname)
    assert found.function(None) == "model"
    module = load_file(project, path)
    assert module.train is found
    assert load_file(project, path) is module


@pytest.mark.usefixtures("clean_modules")
def test_two_files_of_one_stem_cannot_share_a_process(project: Path, write: Write) -> None:
    load_file(project, write("same_stem.py", "x = 1\n"))
    other = write("../other/same_stem.py", "x = 2\n")
    with pytest.raises(DefinitionError, match="has loaded another module 'same_stem'"):
        load_file(project, other)


@pytest.mark.usefixtures("clean_modules")
def test_a_file_outside_the_project_is_refused(project: Path, write: Write) -> None:
    path = write("outside.py", "")
    with pytest.raises(DefinitionError, match="outside the project"):
        load_file(project / "nested", path)


@pytest.mark.usefixtures("clean_modules")
def test_a_missing_file_is_named(project: Path) -> None:
    with pytest.raises(DefinitionError, match=r"pipelines/none\.py: there is no such file"):
        load_file(project, project / "pipelines" / "none.py")


def test_tracing_leaves_nothing_behind_in_this_process(project: Path, write: Write) -> None:
    write("untouched.py", pipeline_source("untouched"))
    before, folder = set(sys.modules), os.getcwd()  # noqa: PTH109
    load(project)
    assert "untouched" not in sys.modules
    assert folder == os.getcwd()  # noqa: PTH109
    assert str(project) not in sys.path
    assert before <= set(sys.modules)
