"""Where in a user's files something was written, as messages show it."""

import inspect
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

_THIS_PACKAGE = str(Path(__file__).parent) + os.sep


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
    """Return `file:line` of the innermost frame of `traceback`, or of its innermost one `within` a folder."""
    found = "an unknown place"
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        if within is None or Path(file).is_relative_to(within):
            found = _show(file, traceback.tb_lineno)
        traceback = traceback.tb_next
    return found


def _show(file: str, line: int | None) -> str:
    path = Path(file)
    if path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    return f"{path}:{line}"
