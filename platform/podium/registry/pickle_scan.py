"""What a pickle would import, read from its opcodes: nothing of it is run.

The stack and the memo are followed as the unpickler keeps them, so that a name put together from memoised strings is
read for what it is. What cannot be followed is a problem, and a pickle with a problem is not loaded.
"""

import io
import pickletools
import re
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

OPCODES = 3_000_000
"""How many opcodes are read: a few seconds of them. A forest of 1,000 trees has 30,000."""
_DEPTH = 5
_MEMBER_BYTES = 256 * 1024 * 1024
_NAME_CHARACTERS = 1000
_ZIP, _ARRAY = b"PK\x03\x04", b"\x93NUMPY"
_IDENTIFIERS = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_OLD_GLOBAL = re.compile(rb"[ci]([A-Za-z_][\w.]{0,99})\n([A-Za-z_][\w.]{0,99})\n")
_MARK = object()


@dataclass(frozen=True)
class Import:
    """A name that a pickle takes from a module; `hint` is set where it is only what bytes inside it look like."""

    module: str
    name: str
    hint: bool = False

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass
class PickleScan:
    """What was found: imports in the order of their appearance, and what keeps the scan from vouching for the rest."""

    imports: dict[Import, None] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    opcodes_left: int = OPCODES
    gave_up: bool = False  # on something that was not read at all

    def problem(self, text: str) -> None:
        """Note once that something could not be followed."""
        if text not in self.problems:
            self.problems.append(text)


def scan_pickle(data: bytes, *, opcodes: int = OPCODES) -> PickleScan:
    """Return what the pickle `data` imports, with the pickles in its strings and in archives among them."""
    scan = PickleScan(opcodes_left=opcodes)
    _read(data, scan, depth=0)
    return scan


def scan_part(data: bytes, scan: PickleScan, *, depth: int = 0) -> None:
    """Add what is found in bytes of any kind: a pickle, an archive of them, an array of objects; or nothing."""
    if depth > _DEPTH:
        scan.gave_up = True
        scan.problem(f"it holds pickles nested more than {_DEPTH} deep")
    elif data.startswith(_ZIP):
        _read_archive(data, scan, depth)
    elif data.startswith(_ARRAY):
        _read_array(data, scan, depth)
    elif data[:1] == b"\x80" and data[1:2] and data[1] <= 5:
        _read_nested(data, scan, depth, hint=False)
    elif _OLD_GLOBAL.search(data):  # what protocols 0 and 1 write begins with no mark
        _read_nested(data, scan, depth, hint=True)


def _read_nested(data: bytes, scan: PickleScan, depth: int, *, hint: bool) -> None:
    """Add what bytes import that may be a pickle; without an import they only began like one."""
    found = PickleScan(opcodes_left=scan.opcodes_left)
    _read(data, found, depth=depth)
    scan.opcodes_left = found.opcodes_left
    for each in found.imports:
        scan.imports[Import(each.module, each.name, hint=hint or each.hint)] = None
    scan.gave_up |= found.gave_up
    if (found.imports and not hint) or found.gave_up:
        for text in found.problems:
            scan.problem(text)


def _read_archive(data: bytes, scan: PickleScan, depth: int) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for member in archive.infolist():
                with archive.open(member) as file:
                    beginning = file.read(len(_ARRAY))
                    if beginning[:4] == _ZIP or beginning[:1] in (b"\x80", b"\x93"):
                        rest = file.read(_MEMBER_BYTES)
                        scan_part(beginning + rest, scan, depth=depth + 1)
                        if len(rest) == _MEMBER_BYTES:
                            scan.problem(f"its part {member.filename!r} is too large to be scanned")
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError, ValueError):
        scan.problem("it holds an archive that cannot be read")


def _read_array(data: bytes, scan: PickleScan, depth: int) -> None:
    """An array of objects is a header and a pickle; other arrays are numbers."""
    width = 2 if data[6:7] == b"\x01" else 4
    start = 8 + width + int.from_bytes(data[8 : 8 + width], "little")
    if re.search(rb"'descr':\s*'\|O", data[:start]) and start < len(data):
        _read(data[start:], scan, depth=depth + 1)


def _read(data: bytes, scan: PickleScan, *, depth: int) -> None:
    machine = _Machine(scan, depth)
    try:
        for operation, argument, position in pickletools.genops(data):
            scan.opcodes_left -= 1
            if scan.opcodes_left < 0:
                scan.gave_up = True
                scan.problem("it has more opcodes than are read")
                return
            machine.step(operation, argument, position or 0)
    except (ValueError, IndexError, KeyError, OverflowError, MemoryError) as error:
        scan.problem(f"it is no complete pickle ({str(error)[:80] or type(error).__name__})")


class _Machine:
    """The unpickler's stack and memo, of which only strings are kept."""

    def __init__(self, scan: PickleScan, depth: int) -> None:
        self._scan = scan
        self._depth = depth
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._protocol = 0
        self._frame_end = 0

    def step(self, operation: pickletools.OpcodeInfo, argument: Any, position: int) -> None:
        self._keep_to_frames(operation, argument, position)
        name = operation.name
        if name == "PROTO":
            self._protocol = argument
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self._memo[len(self._memo) if argument is None else int(argument)] = self._stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            self._stack.append(self._memo[int(argument)])
        elif name == "DUP":
            self._stack.append(self._stack[-1])
        elif name == "MARK":
            self._stack.append(_MARK)
        elif name == "STACK_GLOBAL":
            found, module = self._stack.pop(), self._stack.pop()
            self._import(module, found)
            self._stack.append(None)
        else:
            if name in ("GLOBAL", "INST"):
                self._import(*argument.split(" ", 1))
            elif name in ("EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID"):
                self._scan.problem(f"it refers to what only its writer knows ({name})")
            self._apply(operation, argument)

    def _keep_to_frames(self, operation: pickletools.OpcodeInfo, argument: Any, position: int) -> None:
        """Object to an opcode that crosses the end of its frame, where the unpickler reads on from elsewhere."""
        if self._frame_end and position >= self._frame_end:
            if position > self._frame_end:
                self._scan.problem("one of its opcodes crosses the end of its frame")
            self._frame_end = 0
        if operation.name == "FRAME":
            if self._frame_end:
                self._scan.problem("one of its frames begins inside another")
            self._frame_end = position + 9 + argument

    def _apply(self, operation: pickletools.OpcodeInfo, argument: Any) -> None:
        """Take from the stack what the opcode takes, and put there what it puts."""
        pops = len(operation.stack_before)
        if pickletools.markobject in operation.stack_before:
            pops = operation.stack_before.index(pickletools.markobject)
            while self._stack.pop() is not _MARK:
                pass
        if pops > len(self._stack):
            raise IndexError("its stack is empty")
        del self._stack[len(self._stack) - pops :]
        value = None
        if isinstance(argument, str | bytes | bytearray) and operation.name not in ("GLOBAL", "INST"):
            value = argument if isinstance(argument, str) and len(argument) <= _NAME_CHARACTERS else None
            for data in _as_bytes(argument):
                scan_part(data, self._scan, depth=self._depth + 1)
        self._stack.extend([value] * len(operation.stack_after))

    def _import(self, module: Any, name: Any) -> None:
        if not (isinstance(module, str) and isinstance(name, str)):
            self._scan.problem("it imports a name that is known only when it runs")
            return
        if self._protocol < 3:  # Python 2's names, which the unpickler translates
            module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        if not (_IDENTIFIERS.fullmatch(module) and _IDENTIFIERS.fullmatch(name)):
            self._scan.problem(f"it imports something without a proper name ({module[:40]!r}, {name[:40]!r})")
            return
        self._scan.imports[Import(module, name)] = None


def _as_bytes(argument: str | bytes | bytearray) -> Iterator[bytes]:
    """Yield the bytes of a string constant that are long enough to be a pickle with an import."""
    if len(argument) < 8:
        return
    if isinstance(argument, str):  # protocols 0 to 2 keep bytes as the characters of their numbers
        try:
            yield argument.encode("latin-1")
        except UnicodeEncodeError:
            return
    else:
        yield bytes(argument)
