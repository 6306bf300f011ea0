"""Loading a pipeline file into this process, and knowing by digest which code it consists of.

Only a process made for it loads a pipeline file: a slot that executes a step, or the child that
`podium.dag.catalogue` starts for tracing.
"""

import functools
import hashlib
import importlib
import importlib.machinery
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from podium.dag import complaints, location
from podium.dag.authoring import Pipeline, Step
from podium.dag.code import ProjectCode, with_code_digests
from podium.dag.imports import imports_of_file, with_imported_files
from podium.dag.parameter_types import read_texts
from podium.dag.plan import Plan
from podium.dag.tracing import trace
from podium.errors import DefinitionError


@dataclass(frozen=True)
class LoadedCode:
    """What of this process' modules belongs to the project; paths are relative to the project's root."""

    module_files: Mapping[str, str]  # module name → path
    digests: Mapping[str, str]  # path → SHA-256, of these and of the files that they may yet import


def load_file(root: Path, path: Path) -> ModuleType:
    """Import the pipeline file `path` under its stem's name, with `root` and its folder on `sys.path`.

    A second call returns the same module. DefinitionError where the stem cannot be a module's name or hides
    another module, where importing fails, or where another file of this process has the name.
    """
    root, path = _absolute(root), _absolute(path)
    name = path.stem
    loaded = sys.modules.get(name)
    if loaded is not None and getattr(loaded, "__file__", None) == str(path):
        return loaded
    _check_module_name(root, path)
    for folder in (root, path.parent):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        with _without_bytecode():
            module = importlib.import_module(name)
    except DefinitionError:
        raise
    except SyntaxError as error:
        where = f"{_shown(error.filename, root)}:{error.lineno}"
        raise DefinitionError(
            f"{where}: {error.msg}. Correct that line; until then {path.name} has no pipelines."
        ) from error
    except (Exception, SystemExit) as error:
        where = location.of_traceback(error.__traceback__, within=root)
        about_a_model = complaints.about_a_model(error)
        if about_a_model is not None:
            raise DefinitionError(f"{where}: {about_a_model}") from error
        raise DefinitionError(
            f"{where}: importing {path.name} raised {type(error).__name__}: {complaints.in_one_line(error)}. "
            "Correct it there; until then the file has no pipelines."
        ) from error
    if Path(module.__file__ or "") != path:
        raise DefinitionError(
            f"{_shown(path, root)}: this process has loaded another module {name!r}, from {module.__file__}; "
            "rename one of the two files."
        )
    return module


@contextmanager
def _without_bytecode() -> Iterator[None]:
    """Let an import write no `.pyc`: on a full disk Python cuts one short and does not notice, and every later import
    of the file fails of that until somebody edits it.
    """
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


def trace_loaded(root: Path, path: Path) -> list[Plan]:
    """Load `path` and return its pipelines' plans; DefinitionError for the first thing wrong."""
    root = _absolute(root)
    module = load_file(root, path)
    found = {id(each): each for each in vars(module).values() if isinstance(each, Pipeline)}
    code = loaded_code(root)
    sources = ProjectCode(root, code.digests, _own_folders(root))
    plans = []
    for pipeline in found.values():
        if pipeline.function.__module__ != module.__name__:
            continue  # imported from another file, which defines it
        plan = trace(
            pipeline,
            file=code.module_files[module.__name__],
            modules=code.digests,
            module_files=code.module_files,
        )
        for step in plan.steps:
            if step.kind == "step":
                load_step(root, plan.file, step.module, step.qualname)
        plans.append(with_code_digests(plan, sources))
    return plans


def read_texts_of(root: Path, path: Path, pipeline: str, texts: dict[str, str]) -> dict[str, Any]:
    """Load `path` and return what texts for the run parameters of one of its pipelines stand for; else UsageError."""
    module = load_file(_absolute(root), path)
    defined = {each.name: each for each in vars(module).values() if isinstance(each, Pipeline)}
    if pipeline not in defined:
        raise DefinitionError(f"{_shown(path, root)} defines no pipeline {pipeline!r} any more; ask for it again.")
    return read_texts(pipeline, defined[pipeline].function, texts)


def load_step(root: Path, file: str, module: str, qualname: str) -> Step[..., Any]:
    """Return the step `qualname` of `module`, the pipeline's `file` loaded; DefinitionError if it is none."""
    load_file(root, root / file)
    found: Any = importlib.import_module(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, Step):
        raise DefinitionError(
            f"{file}: the step {module}.{qualname} cannot be imported under that name; define it with @step "
            "at the top level of its module, under a name of its own."
        )
    return found


def loaded_code(root: Path) -> LoadedCode:
    """Return which loaded modules are the project's own, and the digests of all the code they can run.

    That includes what a step imports only when it runs, as far as an import statement names it.
    """
    loaded = {name: Path(getattr(module, "__file__", None) or "") for name, module in list(sys.modules.items())}
    own = {name: file for name, file in loaded.items() if is_own_code(file, root)}
    folders = _own_folders(root)
    files = with_imported_files(own.values(), folders, lambda file: is_own_code(file, root))
    return LoadedCode(
        module_files={name: file.relative_to(root).as_posix() for name, file in own.items()},
        digests=dict(sorted((file.relative_to(root).as_posix(), _digest(file)) for file in files)),
    )


def is_own_code(file: Path, root: Path) -> bool:
    """Tell whether `file` is the project's own: under `root`, neither installed there nor Podium's."""
    return _is_local(file, root) and not file.is_relative_to(location.PODIUM_FOLDER)


def imported_names(paths: Iterable[Path]) -> tuple[str, ...]:
    """Return every dotted name outside the standard library that the imports of some files could mean, sorted.

    Reads the files and runs nothing. `from a import b` may mean the module `a.b` or something in `a`, so both are
    named. A file that cannot be read as Python has none.
    """
    names = {name for path in paths for level, name in imports_of_file(path) if level == 0}
    return tuple(sorted(name for name in names if name.partition(".")[0] not in sys.stdlib_module_names))


def changed_files(root: Path, modules: Mapping[str, str]) -> tuple[str, ...]:
    """Return which files of a plan's `modules` (path → SHA-256) are gone or differ; imports nothing."""
    return tuple(
        file for file, digest in modules.items() if not (root / file).is_file() or _digest(root / file) != digest
    )


def plan_is_current(root: Path, plan: Plan) -> bool:
    """Tell whether every file that `plan` was traced from is still as it was; imports nothing."""
    return not changed_files(root, plan.modules)


def check_unchanged(root: Path, modules: Mapping[str, str]) -> None:
    """Raise DefinitionError, naming the files, unless the code is what a plan's `modules` say it was."""
    changed = changed_files(root, modules)
    absent = [file for file in changed if not (root / file).is_file()]
    if absent:
        raise DefinitionError(
            f"{', '.join(absent)} {'is' if len(absent) == 1 else 'are'} not there in {root} on the host "
            f"{os.uname().nodename}. Every worker needs the code that the run was planned with: put it there, and "
            "`podium runs resume` goes on."
        )
    if changed:
        raise DefinitionError(
            f"{', '.join(changed)} changed since the run was planned, or this machine has another version. "
            "`podium runs resume` goes on with the code it finds; put the old code back first to go on with that, or "
            "start a new run with --again."
        )


def _check_module_name(root: Path, path: Path) -> None:
    shown = _shown(path, root)
    if not path.is_file():
        raise DefinitionError(f"{shown}: there is no such file; create it, or correct its name.")
    if not _is_local(path, root):
        raise DefinitionError(f"{path}: the file lies outside the project {root}; move it into its pipelines folder.")
    if not path.stem.isidentifier():
        remedy = "".join(each if each.isalnum() else "_" for each in path.stem)
        raise DefinitionError(f"{shown}: {path.stem!r} is no module name; rename the file, as {remedy}.py.")
    hidden = _hidden_module(path.stem, root)
    if hidden:
        raise DefinitionError(
            f"{shown}: the file hides {hidden} {path.stem!r} from everything else; rename it, as "
            f"{path.stem}_pipeline.py."
        )


@functools.cache
def _hidden_module(name: str, root: Path) -> str:
    if name in sys.stdlib_module_names:
        return "the standard library's"
    elsewhere = [entry for entry in sys.path if entry and not _is_local(Path(entry), root)]
    if importlib.machinery.PathFinder.find_spec(name, elsewhere) is not None:
        return "the installed package"
    return ""


def _is_local(path: Path, root: Path) -> bool:
    return path.is_relative_to(root) and not location.is_installed(path) and path != location.PODIUM_FOLDER.parent


def _own_folders(root: Path) -> list[Path]:
    return [Path(entry) for entry in sys.path if _is_local(Path(entry), root)]


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100  # resolve() would leave the project through a symbolic link


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _shown(path: str | Path | None, root: Path) -> str:
    file = Path(path or "an unknown file")
    return str(file.relative_to(root) if file.is_relative_to(root) else file)
