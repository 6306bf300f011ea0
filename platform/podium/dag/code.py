"""Which code of the project a step consists of, as a digest; told from the source alone, nothing is run.

From the step's function every name is followed to the statements of its module that bind it, and from there on; an
import of another module of the project takes that module whole, with all that it imports in turn. Statements that may
act when their module is imported (a registration, a change of a setting) count for every step of the project, since any
step may see what they did. Comments, docstrings, positions, and the options of `@step` do not count.

Where the source does not tell what runs (`eval`, `globals`, a module imported by a computed name), a step has no
digest of its own, and that of the whole project stands for it: this may only err towards computing again.
"""

import ast
import functools
import importlib
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from podium.dag.imports import files_of, imports_of, searched
from podium.dag.plan import Plan, StepNode
from podium.ids import digest_json

# By name: what the package names for type checkers lies on floors above this one.
_PODIUM = importlib.import_module("podium")

_NOT_TOLD = frozenset(
    {
        *("eval", "exec", "globals", "locals", "vars", "__globals__", "f_globals"),
        *("__import__", "import_module", "exec_module", "run_module", "run_path"),
        *("__doc__", "getdoc", "getsource", "getsourcelines"),  # docstrings and positions do not count here
    }
)
"""Names by which code reaches other code, or itself, in a way that its source does not tell."""

_IDENTIFIER = re.compile(r"[^\W\d]\w*")
_OPTIONS = frozenset({"step", "pipeline"})
_Function = ast.FunctionDef | ast.AsyncFunctionDef


def with_code_digests(plan: Plan, code: "ProjectCode") -> Plan:
    """Return a plan whose cached steps say which code they consist of."""

    @functools.cache
    def digest_of(name: str) -> str | None:
        node = plan.step(name)
        return code.digest(node.module, node.module_file, node.qualname)

    def completed(node: StepNode) -> StepNode:
        if not node.cache:
            return node  # so that its plan keeps its digest
        before = [digest_of(name) for name in (node.name, *plan.upstream(node.name))]
        whole = None if None in before else digest_json(before)
        return replace(node, code_digest=digest_of(node.name), upstream_code_digest=whole)

    return replace(plan, steps=tuple(completed(node) for node in plan.steps))


class ProjectCode:
    """The project's own files as syntax trees, each read once.

    `files` are relative to the project's `root`: all that its modules import. `folders` are those of `sys.path` in it.
    """

    def __init__(self, root: Path, files: Iterable[str], folders: Sequence[Path]) -> None:
        self._root = root
        self._files = frozenset(root / file for file in files)
        self._folders = folders
        self._modules: dict[Path, _Module] = {}
        self._acting: dict[Path, tuple[int, ...]] = {}

    def digest(self, module: str, file: str | None, qualname: str) -> str | None:
        """Return the digest of all the code that a function of the project reaches; None where nobody can tell.

        One of Podium's own (a stage) is as its version; of any other installed package nobody can tell.
        """
        if file is None:
            own = module.partition(".")[0] == _PODIUM.__name__
            return digest_json([_PODIUM.__version__, module, qualname]) if own else None
        try:
            return digest_json(self._reached(self._root / file, qualname.partition(".")[0]))
        except (_NotToldError, RecursionError):
            return None

    def _reached(self, file: Path, name: str) -> dict[str, Any]:
        start = [(file, number) for number in self._module(file).bound_by(name)]
        if not start:
            raise _NotToldError
        acting = [(other, number) for other in self._files for number in self._acting_in(other)]
        statements, whole = set[tuple[Path, int]](), set[Path]()
        ahead = [*start, *acting]
        while ahead:
            place = ahead.pop()
            if place in statements:
                continue
            statements.add(place)
            module, number = self._module(place[0]), place[1]
            ahead.extend((place[0], each) for used in module.names(number) for each in module.bound_by(used))
            whole |= self._imported(place[0], module.statements[number])
        whole = self._with_imported(whole)
        parts: dict[str, list[str]] = {}
        for path, number in sorted(statements):
            if path not in whole:
                parts.setdefault(self._shown(path), []).append(ast.dump(self._module(path).statements[number]))
        trees = [self._module(path).tree for path in sorted(whole)]
        uses_podium = any(map(_imports_podium, (*trees, *(self._module(path).statements[n] for path, n in statements))))
        return {
            "statements": parts,
            "files": {self._shown(path): self._module(path).dumped for path in sorted(whole)},
            "podium": _PODIUM.__version__ if uses_podium else None,
        }

    def _with_imported(self, files: Collection[Path]) -> set[Path]:
        found, ahead = set(files), list(files)
        while ahead:
            path = ahead.pop()
            module = self._module(path)
            _check_told(module.tree)
            new = self._imported(path, module.tree) - found
            found |= new
            ahead.extend(new)
        return found

    def _imported(self, file: Path, tree: ast.AST) -> set[Path]:
        """Return the project's files that the imports below a node of `file` could run or make reachable."""
        found: set[Path] = set()
        for level, name in imports_of(tree):
            folders = searched(file, level, self._folders)
            found |= files_of(name, folders, self._files.__contains__)
        for level, name in _bound_modules(tree):
            # Through a package all of its modules are reachable that anybody imported.
            packages = [folder / name.replace(".", "/") for folder in searched(file, level, self._folders)]
            found |= {each for each in self._files if any(package in each.parents for package in packages)}
        return found

    def _module(self, file: Path) -> "_Module":
        if file not in self._modules:
            try:
                self._modules[file] = _Module(ast.parse(file.read_bytes()))
            except (OSError, SyntaxError, ValueError) as error:
                raise _NotToldError from error
        return self._modules[file]

    def _acting_in(self, file: Path) -> tuple[int, ...]:
        """Return the statements of a module that may change more than the names they bind, when it is imported."""
        if file not in self._acting:
            statements = self._module(file).statements
            own = {
                name
                for statement in statements
                if not isinstance(statement, ast.Import | ast.ImportFrom) or self._imported(file, statement)
                for name in _bound(statement)
            }
            self._acting[file] = tuple(n for n, statement in enumerate(statements) if _may_act(statement, own))
        return self._acting[file]

    def _shown(self, file: Path) -> str:
        return file.relative_to(self._root).as_posix()


class _NotToldError(Exception):
    """The source does not tell which code runs."""


@dataclass(frozen=True)
class _Module:
    """One file: its statements, normalised, and which of them bind and use which names."""

    tree: ast.Module

    def __post_init__(self) -> None:
        _drop_docstrings(self.tree)
        _drop_options(self.tree)

    @property
    def statements(self) -> list[ast.stmt]:
        return self.tree.body

    @functools.cached_property
    def dumped(self) -> str:
        return ast.dump(self.tree)

    def bound_by(self, name: str) -> tuple[int, ...]:
        """Return the statements, by number, that bind a name."""
        return tuple(self._binders.get(name, ()))

    def names(self, number: int) -> frozenset[str]:
        """Return the names that a statement uses, wherever in it; _NotToldError if what it reaches is not told."""
        if number not in self._names:
            _check_told(self.statements[number])
            self._names[number] = frozenset(_used(self.statements[number]))
        return self._names[number]

    @functools.cached_property
    def _names(self) -> dict[int, frozenset[str]]:
        return {}

    @functools.cached_property
    def _binders(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for number, statement in enumerate(self.statements):
            for name in _bound(statement):
                found.setdefault(name, []).append(number)
        return found


def _check_told(tree: ast.AST) -> None:
    for node in ast.walk(tree):
        named = {
            *([node.id] if isinstance(node, ast.Name) else ()),
            *([node.attr] if isinstance(node, ast.Attribute) else ()),
            *((alias.name for alias in node.names) if isinstance(node, ast.ImportFrom) else ()),
        }
        of_sys = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "sys"
        from_sys = isinstance(node, ast.ImportFrom) and node.module == "sys"
        if named & _NOT_TOLD or ((of_sys or from_sys) and "modules" in named):
            raise _NotToldError


def _used(tree: ast.AST) -> Iterator[str]:
    """Yield every name below a node, local ones too, and those in annotations that are texts."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Global):
            yield from node.names
        annotations = (getattr(node, "annotation", None), getattr(node, "returns", None))
        for text in (part for annotation in annotations if annotation is not None for part in ast.walk(annotation)):
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                yield from _IDENTIFIER.findall(text.value)


def _bound(statement: ast.stmt) -> set[str]:
    """Return the names of its module that a statement binds, at import or later."""
    found = {name for node in ast.walk(statement) if isinstance(node, ast.Global) for name in node.names}
    ahead: list[ast.AST] = [statement]
    while ahead:
        node = ahead.pop()
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            found.add(node.id)
        elif isinstance(node, ast.Import):
            found |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar | ast.MatchMapping):
            name = node.rest if isinstance(node, ast.MatchMapping) else node.name
            found |= {name} if name else set()
        if isinstance(node, _Function | ast.ClassDef):
            found.add(node.name)  # what is bound within is its own
        elif not isinstance(node, ast.Lambda):
            ahead.extend(ast.iter_child_nodes(node))
    return found


def _may_act(statement: ast.stmt, own: Collection[str]) -> bool:
    """Tell whether a statement of a module may change something beside the names it binds.

    It may if it calls something with a name of the project's `own` in it: `@register`, `ITEMS = filled(BASE)`.
    """
    if isinstance(statement, ast.Import | ast.Pass):
        return False
    if isinstance(statement, ast.ImportFrom):
        return any(alias.name == "*" for alias in statement.names)
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return False
    if isinstance(statement, ast.If) and _is_never_true(statement.test):
        return False
    if isinstance(statement, _Function):
        defaults = [*statement.args.defaults, *statement.args.kw_defaults]
        return _uses(statement.decorator_list, own) or _calls_with(filter(None, defaults), own)
    if isinstance(statement, ast.ClassDef):
        bases = [*statement.bases, *(keyword.value for keyword in statement.keywords)]  # who may know what derives
        return _uses((*statement.decorator_list, *bases), own) or any(_may_act(each, own) for each in statement.body)
    if isinstance(statement, ast.Assign) and all(map(_is_names, statement.targets)):
        return _calls_with([statement.value], own)
    if isinstance(statement, ast.AnnAssign) and _is_names(statement.target):
        return statement.value is not None and _calls_with([statement.value], own)
    return True


def _calls_with(expressions: Iterable[ast.expr], names: Collection[str]) -> bool:
    calling = [each for each in expressions if any(isinstance(node, ast.Call) for node in ast.walk(each))]
    return _uses(calling, names)


def _uses(expressions: Iterable[ast.expr], names: Collection[str]) -> bool:
    return any(name in names for each in expressions for name in _used(each))


def _is_names(target: ast.expr) -> bool:
    if isinstance(target, ast.Tuple | ast.List):
        return all(map(_is_names, target.elts))
    return isinstance(target.value if isinstance(target, ast.Starred) else target, ast.Name)


def _is_never_true(test: ast.expr) -> bool:
    """Tell whether a condition is false in whatever Podium runs: `TYPE_CHECKING`, `__name__ == "__main__"`."""
    return ast.unparse(test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING", "__name__ == '__main__'")


def _bound_modules(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the level and dotted name of what imports below a node bind, as far as it may be a package."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name if alias.asname else alias.name.partition(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (
                (node.level, f"{node.module}.{alias.name}" if node.module else alias.name) for alias in node.names
            )


def _imports_podium(tree: ast.AST) -> bool:
    """Tell whether something below a node imports more of Podium than what pipelines are written with."""
    modules = {f"{_PODIUM.__name__}.{name}" for name in _PODIUM.__all__}
    return any(
        level == 0 and name.startswith(f"{_PODIUM.__name__}.") and name not in modules
        for level, name in imports_of(tree)
    )


def _drop_docstrings(tree: ast.AST) -> None:
    for node in ast.walk(tree):
        if isinstance(node, _Function | ast.ClassDef | ast.Module) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or ([] if isinstance(node, ast.Module) else [ast.Pass()])


def _drop_options(tree: ast.Module) -> None:
    """Take `@step(…)` and `@pipeline(…)` off functions: how a step is attempted does not change what it returns."""
    names = {
        alias.asname or alias.name: alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module == _PODIUM.__name__
        for alias in node.names
    }
    for statement in tree.body:  # whoever binds the name otherwise has decorators of their own
        if not isinstance(statement, ast.ImportFrom):
            for name in _bound(statement):
                names.pop(name, None)
    for node in ast.walk(tree):
        if isinstance(node, _Function):
            node.decorator_list = [each for each in node.decorator_list if not _is_option(each, names)]


def _is_option(decorator: ast.expr, names: dict[str, str]) -> bool:
    function = decorator.func if isinstance(decorator, ast.Call) else decorator
    if isinstance(function, ast.Attribute):
        return ast.unparse(function) in {f"{_PODIUM.__name__}.{name}" for name in _OPTIONS}
    return isinstance(function, ast.Name) and names.get(function.id) in _OPTIONS
