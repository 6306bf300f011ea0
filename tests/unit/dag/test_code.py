"""Which change of which file changes a step's code digest: all that the step can reach, and little else."""

import itertools
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

import pytest

from podium.dag.catalogue import trace_file
from podium.dag.code import ProjectCode
from podium.dag.plan import Plan

FLOW = """
'''A pipeline.'''
import functools
import json

import reports
from features import scaling
from podium import Interval, pipeline, step
from tools import timed

RATE = 0.1
LABELS = {"late": RATE}
UNUSED = 3


def helper(rows):
    '''Help.'''
    return deeper(rows)


def deeper(rows, factor=2):
    return [row * factor for row in rows]  # twice


class Model:
    depth = 3

    def fit(self, rows):
        return rows[: self.depth]


def unrelated():
    return UNUSED


@functools.cache
def constants():
    return LABELS


@step(cache=True, retries=1)
@timed(5)
def train(rows: list[int], seed: int = 7) -> list[int]:
    '''Train.'''
    import lazily

    found = (lambda items: helper(items))(rows)
    return Model().fit([scaling.scale(each) + lazily.SHIFT for each in found if constants()])


@step
def report(rows: list[int]) -> str:
    return reports.text(rows)


@pipeline(model="m", team="t", environment="dev")
def flow(day: Interval):
    report(train([1, 2]))
"""
FILES = {
    "pipelines/flow.py": FLOW,
    "reports.py": "def text(rows):\n    return str(rows)\n",
    "tools.py": textwrap.dedent("""
        import functools

        def timed(seconds):
            def wrap(function):
                @functools.wraps(function)
                def wrapper(*arguments, **keywords):
                    return function(*arguments, **keywords)
                return wrapper
            return wrap
    """),
    "features/__init__.py": "",
    "features/scaling.py": "from features import units\n\ndef scale(x):\n    return units.metres(x)\n",
    "features/units.py": "def metres(x):\n    '''Metres.'''\n    return x\n",
    "lazily.py": "SHIFT = 1\n",
}


def digest(root: Path, files: Mapping[str, str], name: str = "train", file: str = "pipelines/flow.py") -> str | None:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(textwrap.dedent(text))
    return ProjectCode(root, files, [root, root / "pipelines"]).digest("flow", file, name)


def changed(file: str, old: str, new: str) -> dict[str, str]:
    assert old in FILES[file], old
    return {**FILES, file: FILES[file].replace(old, new)}


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("pipelines/flow.py", "  # twice", "  # two times"),
        ("pipelines/flow.py", "'''Train.'''", "'''Fit.'''"),
        ("pipelines/flow.py", "'''Help.'''", ""),
        ("pipelines/flow.py", "'''A pipeline.'''", "\n\n\n"),
        ("pipelines/flow.py", "return UNUSED", "return UNUSED + 1"),
        ("pipelines/flow.py", "UNUSED = 3", "UNUSED = 4"),
        ("pipelines/flow.py", "retries=1", "retries=2, memory='2GiB'"),
        ("pipelines/flow.py", "reports.text(rows)", "reports.text(rows) + '!'"),
        ("pipelines/flow.py", "report(train([1, 2]))", "report(train([1, 2, 3]))"),
        ("pipelines/flow.py", 'LABELS = {"late": RATE}', 'LABELS = {\n    "late": RATE,\n}'),
        ("reports.py", "str(rows)", "repr(rows)"),
        ("features/units.py", "'''Metres.'''", "'''In metres.'''"),
    ],
)
def test_what_the_step_does_not_reach_keeps_its_digest(tmp_path: Path, file: str, old: str, new: str) -> None:
    before = digest(tmp_path / "a", FILES)
    assert before is not None
    assert digest(tmp_path / "b", changed(file, old, new)) == before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("pipelines/flow.py", "Model().fit(", "Model().fit(2 * "),
        ("pipelines/flow.py", "row * factor", "row + factor"),
        ("pipelines/flow.py", "factor=2", "factor=3"),
        ("pipelines/flow.py", "seed: int = 7", "seed: int = 8"),
        ("pipelines/flow.py", "rows[: self.depth]", "rows[self.depth :]"),
        ("pipelines/flow.py", "depth = 3", "depth = 4"),
        ("pipelines/flow.py", "RATE = 0.1", "RATE = 0.2"),
        ("pipelines/flow.py", "@timed(5)", "@timed(6)"),
        ("pipelines/flow.py", "@timed(5)\n", ""),
        ("pipelines/flow.py", "@functools.cache", "@functools.lru_cache"),
        ("pipelines/flow.py", "helper(items)", "deeper(items)"),
        ("tools.py", "return function(*", "return 2 * function(*"),
        ("features/scaling.py", "units.metres(x)", "units.metres(x) + 1"),
        ("features/units.py", "return x", "return x / 2"),
        ("features/__init__.py", "", "import features.units\n"),
        ("lazily.py", "SHIFT = 1", "SHIFT = 2"),
    ],
)
def test_what_the_step_reaches_changes_its_digest(tmp_path: Path, file: str, old: str, new: str) -> None:
    before = digest(tmp_path / "a", FILES)
    after = digest(tmp_path / "b", changed(file, old, new))
    assert before is not None
    assert after is not None
    assert after != before


_numbers = itertools.count(1)


def of(tmp_path: Path, source: str, **files: str) -> str | None:
    """The digest of `it` in a module of this source."""
    root = tmp_path / str(next(_numbers))
    named = {f"{name}.py": text for name, text in files.items()}
    return digest(root, {"flow.py": source, **named}, "it", "flow.py")


REGISTRY = """
MODELS = {}
def register(function):
    MODELS[function.__name__] = function
    return function
@register
def linear():
    return 1
def it():
    return MODELS["linear"]()
"""


@pytest.mark.parametrize(
    ("source", "old", "new"),
    [
        (REGISTRY, "return 1", "return 2"),
        ("def it():\n    return ITEMS\nITEMS = []\nITEMS.append(1)", "append(1)", "append(2)"),
        ("def it():\n    return ITEMS\nITEMS = []\ndef add():\n    ITEMS.append(1)\nadd()", "append(1)", "append(2)"),
        ("def it():\n    return RATE\nRATE = 1\ndef f():\n    global RATE\n    RATE = 2\n", "RATE = 2", "RATE = 3"),
        ("class Base: pass\nclass A(Base):\n    x = 1\ndef it():\n    return Base.__subclasses__()", "x = 1", "x = 2"),
        ("def it():\n    return RATE\nif True:\n    RATE = 1\nelse:\n    RATE = 2", "RATE = 2", "RATE = 3"),
        ("def it() -> 'list[Row]': ...\nclass Row:\n    x = 1", "x = 1", "x = 2"),
        (
            "def it():\n    def inner():\n        return [f(x) for x in ()]\n    return inner\ndef f(x): return 1",
            "1",
            "2",
        ),
        ("import re\ndef it():\n    return PATTERN\nPATTERN = re.compile('a')", "'a'", "'b'"),
        ("try:\n    import fast\nexcept ImportError:\n    fast = None\ndef it(): return 1", "None", "0"),
        ("LIMITS = (LOW, HIGH) = (1, 2)\ndef it():\n    return HIGH", "(1, 2)", "(1, 3)"),
        (
            "from enum import Enum\nclass C(Enum):\n    A = 1\ndef it(c):\n    match c:\n        case C.A: return 1",
            "A = 1",
            "A = 2",
        ),
    ],
)
def test_what_is_reached_in_a_roundabout_way_counts(tmp_path: Path, source: str, old: str, new: str) -> None:
    before, after = of(tmp_path, source), of(tmp_path, source.replace(old, new))
    assert None not in (before, after)
    assert before != after


def test_what_another_module_does_when_it_is_imported_counts(tmp_path: Path) -> None:
    flow = "import settings_of\nimport data\ndef it():\n    return data.ROWS"
    files = {"data": "ROWS = []", "settings_of": "import data\ndata.ROWS.append(1)\ndef unused(): return 1"}
    before = of(tmp_path, flow, **files)
    assert before is not None
    assert (
        of(tmp_path, flow, **{**files, "settings_of": files["settings_of"].replace("return 1", "return 2")}) == before
    )
    assert (
        of(tmp_path, flow, **{**files, "settings_of": files["settings_of"].replace("append(1)", "append(2)")}) != before
    )


def test_a_package_counts_with_each_of_its_modules_that_can_be_reached_through_it(tmp_path: Path) -> None:
    files = {
        "flow.py": "import shop\ndef it():\n    return shop.till.open()",
        "shop/__init__.py": "",
        "shop/till.py": "1",
    }
    before = digest(tmp_path / "a", files, "it", "flow.py")
    assert digest(tmp_path / "b", {**files, "shop/till.py": "2"}, "it", "flow.py") != before


@pytest.mark.parametrize(
    "body",
    [
        "return globals()['f']()",
        "return eval('f()')",
        "from importlib import import_module\n    return import_module('features')",
        "import importlib\n    return importlib.import_module('features')",
        "import sys\n    return sys.modules[__name__].f()",
        "return it.__doc__",
    ],
)
def test_where_the_source_does_not_tell_what_runs_there_is_no_digest(tmp_path: Path, body: str) -> None:
    assert of(tmp_path, f"def it():\n    {body}\ndef f(): return 1") is None
    assert of(tmp_path, "import other\ndef it():\n    other.it()", other=f"def it():\n    {body}") is None
    assert of(tmp_path, f"def it():\n    return 1\ndef f():\n    {body}") is not None  # not reached


def test_a_function_that_no_statement_binds_has_no_digest(tmp_path: Path) -> None:
    assert of(tmp_path, "def other(): ...") is None
    assert of(tmp_path, "def it(:") is None


def test_a_stage_is_as_podiums_version_and_any_other_package_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    code = ProjectCode(Path("/nowhere"), (), ())
    before = code.digest("podium.stages.evaluate", None, "evaluate_candidate")
    monkeypatch.setattr("podium.__version__", "9.9")
    assert before is not None
    assert code.digest("podium.stages.evaluate", None, "evaluate_candidate") != before
    assert code.digest("company.steps", None, "train") is None


def test_what_uses_more_of_podium_than_the_authoring_counts_with_its_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = "from podium import Interval\ndef it(day: Interval): ..."
    using = "from podium.stages import judge\ndef it(): return judge()"
    before = of(tmp_path, plain), of(tmp_path, using)
    monkeypatch.setattr("podium.__version__", "9.9")
    after = of(tmp_path, plain), of(tmp_path, using)
    assert before[0] == after[0]
    assert before[1] != after[1]


def traced(root: Path, files: Mapping[str, str]) -> Plan:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    found = trace_file(root, root / "pipelines" / "flow.py", 60)
    assert isinstance(found, list), found
    return found[0]


def test_a_traced_plan_says_it_of_its_cached_steps_alone(tmp_path: Path) -> None:
    first = traced(tmp_path / "a", FILES)
    second = traced(tmp_path / "b", changed("reports.py", "str(rows)", "repr(rows)"))
    assert (first.step("report").code_digest, first.step("report").upstream_code_digest) == (None, None)
    assert first.code_digest != second.code_digest
    assert first.step("train").code_digest is not None
    assert first.step("train").code_digest == second.step("train").code_digest
    assert Plan.from_document(first.to_document()) == first


def test_a_step_knows_the_code_of_those_before_it(tmp_path: Path) -> None:
    cached = {**FILES, "pipelines/flow.py": FLOW.replace("@step\n", "@step(cache=True)\n").replace("@timed(5)\n", "")}
    model = {**cached, "lazily.py": "SHIFT = 2\n"}
    before, after = (traced(tmp_path / name, files).step("report") for name, files in (("a", cached), ("b", model)))
    assert before.code_digest == after.code_digest is not None
    assert before.upstream_code_digest != after.upstream_code_digest
    assert None not in (before.upstream_code_digest, after.upstream_code_digest)


def test_the_digest_is_the_same_in_every_process(tmp_path: Path) -> None:
    before = digest(tmp_path, FILES)
    code = (
        "import sys; from pathlib import Path; from podium.dag.code import ProjectCode; root = Path(sys.argv[1]); "
        "files = [str(path.relative_to(root)) for path in root.rglob('*.py')]; "
        "print(ProjectCode(root, files, [root, root / 'pipelines']).digest('flow', 'pipelines/flow.py', 'train'))"
    )
    for seed in ("1", "2"):
        environment = {"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)}
        command = [sys.executable, "-c", code, str(tmp_path)]
        found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
        assert found.strip() == before
