"""Where in a user's files something was written, as messages show it."""

import inspect
import os
import sysconfig
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

PODIUM_FOLDER = Path(__file__).parent.parent
_THIS_PACKAGE = str(Path(__file__).parent) + os.sep
_INSTALLED_FOLDERS = tuple(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib"))


def of_function(function: Callable[..., Any]) -> str:
    """Return `file:line` of where `function` is defined, the file relative to the current folder."""
    code = function.__code__
    return _show(code.co_filename, code.co_firstlineno)


def of_caller() -> str:
    """Return `file:line` of the innermost caller outside this package."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_code.co_filename.startswith(_THIS_PACKAGE):
        frame = frame.f_back
    if frame is None:
        return "an unknown place"
    return _show(frame.f_code.co_filename, frame.f_lineno)


def of_traceback(traceback: TracebackType | None, within: Path | None = None) -> str:
    """Return `file:line` of the innermost frame of `traceback`, if told so of those `within` a folder.

    A frame in a person's own code goes before those of what it called: Podium, and whatever is installed.
    """
    found, own = "an unknown place", False
    while traceback is not None:
        path = Path(traceback.tb_frame.f_code.co_filename)
        if within is None or path.is_relative_to(within):
            is_own = path.is_absolute() and not is_installed(path) and not path.is_relative_to(PODIUM_FOLDER)
            if is_own or not own:
                found, own = _show(str(path), traceback.tb_lineno), is_own
        traceback = traceback.tb_next
    return found


def is_installed(path: Path) -> bool:
    """Tell whether a file belongs to Python itself or to an installed package."""
    # Not whatever lies under `sys.prefix`: that may be the project's root, or /usr with the project in /usr/src.
    return bool({"site-packages", "dist-packages"} & set(path.parts)) or any(
        path.is_relative_to(folder) for folder in _INSTALLED_FOLDERS
    )


def _show(file: str, line: int | None) -> str:
    path = Path(file)
    if path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    return f"{path}:{line}"
