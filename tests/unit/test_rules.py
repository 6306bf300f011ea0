"""Rules about the code itself that no linter keeps."""

import ast
import subprocess
import sys
from pathlib import Path

import podium

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "platform" / "podium"


def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.partition(".")[0])
    return found


def test_mlflow_is_imported_by_its_adapter_alone() -> None:
    importers = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py") if "mlflow" in _imports(path)}
    assert importers == {
        "registry/mlflow_registry.py",
        "registry/mlflow_signature.py",
        "registry/mlflow_tables.py",
    }


def test_ray_is_imported_only_in_processes_made_for_it() -> None:
    importers = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py") if "ray" in _imports(path)}
    assert importers == {"execution/ray_driver.py", "execution/ray_node.py"}


def test_the_public_api_is_what_it_says() -> None:
    assert set(podium.__all__) == {
        "Cache",
        "Cancelled",
        "Interval",
        "NewFiles",
        "NewRows",
        "Promoted",
        "Retry",
        "RunEnded",
        "Schedule",
        "Snooze",
        "Trigger",
        "__version__",
        "pipeline",
        "run_after",
        "sensor",
        "step",
        "wait_for_approval",
        "when",
    }
    for name in podium.__all__:
        assert getattr(podium, name) is not None


def test_nothing_shadows_the_standard_library() -> None:
    assert not (ROOT / "platform" / "__init__.py").exists()
    names = {path.stem for path in PACKAGE.glob("*.py")} | {path.name for path in PACKAGE.iterdir() if path.is_dir()}
    assert not names & set(sys.stdlib_module_names)


def test_no_module_holds_two_ideas() -> None:
    generated = PACKAGE / "db" / "migrations" / "versions"
    long = {
        path.relative_to(ROOT).as_posix(): lines
        for path in (*PACKAGE.rglob("*.py"), *(ROOT / "pipelines").glob("*.py"))
        if not path.is_relative_to(generated) and (lines := path.read_text(encoding="utf-8").count("\n")) > 400
    }
    assert long == {}


def test_light_commands_import_nothing_heavy() -> None:
    code = (
        "import sys; import podium.cli.main; "
        "print(*sorted({'mlflow','pandas','sklearn','numpy','pyarrow','scipy','sqlalchemy','pydantic','rich','alembic'}"
        " & set(sys.modules)))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert loaded == []


def test_commands_that_need_no_registry_do_not_import_mlflow() -> None:
    code = (
        "import sys; import podium.cli.execution, podium.wiring.runs, podium.wiring.documents, podium.finops.reports; "
        "import podium.cli.model_report, podium.wiring.judgements; "
        "print(*sorted({'mlflow','pandas','sklearn','numpy','scipy','pyarrow'} & set(sys.modules)))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert loaded == []
