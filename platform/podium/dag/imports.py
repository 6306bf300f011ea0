"""What import statements could mean, told from the source alone: nothing is run."""

import ast
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path


def imports_of(tree: ast.AST) -> set[tuple[int, str]]:
    """Return what the imports below a node could mean: the level (0 is absolute, 1 the file's folder), the dotted name.

    `from a import b` may mean the module `a.b` or something in `a`, so both are named.
    """
    found: set[tuple[int, str]] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {(0, alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = [node.module] if node.module else []
            names = [*package, *(".".join((*package, alias.name)) for alias in node.names)]
            found |= {(node.level, name) for name in names}
    return found


def imports_of_file(path: Path) -> set[tuple[int, str]]:
    """Return what a file's imports could mean; of one that cannot be read as Python, nothing."""
    try:
        return imports_of(ast.parse(path.read_bytes()))
    except (OSError, SyntaxError, ValueError):
        return set()


def searched(file: Path, level: int, folders: Sequence[Path]) -> Sequence[Path]:
    """Return the folders in which an import of `level` in `file` is looked for; `folders` are those of `sys.path`."""
    return file.parents[level - 1 : level] if level else folders


def files_of(name: str, folders: Iterable[Path], is_file: Callable[[Path], bool] = Path.is_file) -> set[Path]:
    """Return the files in `folders` that importing the dotted `name` could run, its packages' included."""
    found: set[Path] = set()
    for folder in folders:
        path = folder
        for part in name.split("."):
            found |= {path / f"{part}.py", path / part / "__init__.py"}
            path /= part
    return {path for path in found if is_file(path)}


def with_imported_files(
    files: Iterable[Path], folders: Sequence[Path], is_own: Callable[[Path], bool]
) -> Collection[Path]:
    """Return `files` and the project's own files that their imports, and those files' in turn, could mean."""
    found = set(files)
    ahead = list(found)
    while ahead:
        path = ahead.pop()
        for level, name in imports_of_file(path):
            new = {file for file in files_of(name, searched(path, level, folders)) if is_own(file)} - found
            found |= new
            ahead.extend(new)
    return found
