"""What a pickle would import is read without running it, however it is written; hostile ones never run."""

import io
import os
import pickle
import pickletools
import random
import struct
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, SplineTransformer, StandardScaler

from podium.registry.model_scan import ModelScan, scan_model
from podium.registry.packaging import CLOUDPICKLE
from podium.registry.pickle_scan import scan_pickle

X = np.random.default_rng(7).random((60, 4))
Y = (X[:, 0] > 0.5).astype(int)


def scanned(data: bytes, *packages: str) -> ModelScan:
    return scan_model(data, CLOUDPICKLE, types=(), packages=packages)


def names(data: bytes, **options: Any) -> list[str]:
    return [str(each) for each in scan_pickle(data, **options).imports]


class Reduced:
    """Pickles as a call of `function`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A file that a hostile pickle would make."""
    return tmp_path / "it-ran"


@pytest.mark.parametrize("protocol", range(6))
def test_a_call_of_the_shell_is_seen_in_every_protocol(protocol: int, canary: Path) -> None:
    data = pickle.dumps(Reduced(os.system, f"touch {canary}"), protocol)
    assert names(data) == ["posix.system"]
    assert scanned(data).verdict == "dangerous"
    assert not canary.exists()


@pytest.mark.parametrize("protocol", range(6))
def test_eval_is_seen_under_its_old_name_too(protocol: int, canary: Path) -> None:
    data = pickle.dumps(Reduced(eval, f"open({str(canary)!r}, 'w')"), protocol)
    assert names(data) == ["builtins.eval"]
    assert scanned(data).verdict == "dangerous"
    assert not canary.exists()


def test_eval_by_getattr_is_dangerous() -> None:
    data = pickle.dumps(Reduced(getattr, Reduced(__import__, "builtins"), "eval"))
    assert names(data) == ["builtins.getattr", "builtins.__import__"]
    assert scanned(data).verdict == "dangerous"


MEMOISED = (
    b"\x80\x04"  # protocol 4
    b"\x8c\x06system\x94"  # memo 0
    b"\x8c\x02os\x94"  # memo 1
    b"\x8c\x05numpy\x8c\x04mean"  # what somebody who reads backwards would take for the import
    b"00"  # and takes off the stack again
    b"h\x01h\x00\x93"  # memo 1, memo 0, STACK_GLOBAL
    b"\x8c\x04true\x85R."
)


def test_a_name_put_together_from_the_memo_is_followed() -> None:
    assert names(MEMOISED) == ["os.system"]
    assert scanned(MEMOISED).verdict == "dangerous"


def test_a_dotted_name_that_walks_into_another_module_is_dangerous() -> None:
    for module, name in (("numpy.f2py", "crackfortran.os.system"), ("sklearn.pipeline", "np.f2py.os.system")):
        data = b"\x80\x04" + _text(module) + _text(name) + b"\x93."
        assert scanned(data).verdict == "dangerous", name


def _text(text: str) -> bytes:
    return b"\x8c" + bytes([len(text)]) + text.encode()


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"\x80\x04" + _text("os") + b"K\x01\x93.", "known only when it runs"),
        (b"\x80\x04" + _text("os\nx") + _text("system") + b"\x93.", "without a proper name"),
        (b"cos x\nsystem\n.", "without a proper name"),
        (b"\x80\x02\x82\x01.", "only its writer knows"),
        (b"\x80\x02\x83\x01\x00.", "only its writer knows"),
        (b"Psomewhere\n.", "only its writer knows"),
        (MEMOISED[:-1], "no complete pickle"),
        (b"\x80\x04\x93.", "no complete pickle"),
        (b"\x80\x04h\x07.", "no complete pickle"),
        (b"\x80\x04u.", "no complete pickle"),
        (b"\x80\x04\x8e" + struct.pack("<Q", 1 << 60) + b".", "no complete pickle"),
        # Beyond its frame the unpickler reads on from elsewhere: it imports s.system here, whatever is written.
        (b"\x80\x04\x95" + struct.pack("<Q", 2) + b"cos\nsystem\n.", "crosses the end of its frame"),
        (b"\x80\x04\x95" + struct.pack("<Q", 9) + b"\x95" + struct.pack("<Q", 1) + b"N.", "begins inside another"),
        (b"", "no complete pickle"),
        (b"joblib or zlib, but no pickle", "no complete pickle"),
    ],
)
def test_what_cannot_be_followed_is_dangerous(data: bytes, problem: str) -> None:
    scan = scanned(data)
    assert problem in "; ".join(scan.problems)
    assert scan.verdict == "dangerous"


def test_what_a_truncated_file_imports_first_is_told() -> None:
    data = pickle.dumps(Reduced(os.system, "true"))[:-4]
    assert scanned(data).all_named("dangerous") == ["posix.system"]


def test_a_bomb_of_opcodes_is_not_read_to_its_end() -> None:
    bomb = b"\x80\x04" + b"(" * 100_000_000
    scan = scan_pickle(bomb, opcodes=50_000)
    assert scan.problems == ["it has more opcodes than are read"]


def test_a_pickle_inside_a_string_is_read(canary: Path) -> None:
    for protocol in range(6):
        inner = pickle.dumps(Reduced(os.system, f"touch {canary}"), protocol)
        for outer in (2, 4, 5):
            assert scanned(pickle.dumps({"payload": inner}, outer)).verdict == "dangerous", (protocol, outer)
    assert not canary.exists()


def test_pickles_in_archives_and_arrays_of_objects_are_read() -> None:
    hostile = pickle.dumps(Reduced(os.system, "true"))
    archive, array = io.BytesIO(), io.BytesIO()
    np.savez(archive, allow_pickle=True, bad=np.array([Reduced(os.system, "true")], dtype=object))
    np.save(array, np.array([Reduced(os.system, "true")], dtype=object), allow_pickle=True)
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as file:
        file.writestr("model/data.pkl", hostile)
    for data in (archive.getvalue(), array.getvalue(), zipped.getvalue()):
        assert scanned(pickle.dumps(data)).verdict == "dangerous"
        scan = scan_model(pickle.dumps(1), CLOUDPICKLE, types=(), packages=(), beside={"extra.bin": data})
        assert "the file extra.bin beside it imports posix.system" in scan.problems


def test_nested_without_end_is_a_problem() -> None:
    data = pickle.dumps(1)
    for _ in range(9):
        data = pickle.dumps(data)
    assert "nested more than" in "; ".join(scanned(data).problems)


def test_random_bytes_inside_a_pickle_are_no_pickle() -> None:
    generator = np.random.default_rng(3)
    parts = [b"\x80\x04" + generator.bytes(2000) for _ in range(50)]
    assert scanned(pickle.dumps(parts)).verdict == "clean"


def test_what_is_read_agrees_with_what_the_unpickler_imports() -> None:
    """The machine against the real one, on what cloudpickle writes of every kind of model below."""

    class Watched(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            found.append(f"{module}.{name}")
            return super().find_class(module, name)

    for estimator in ESTIMATORS:
        found: list[str] = []
        data = cloudpickle.dumps(estimator)
        Watched(io.BytesIO(data)).load()
        assert names(data) == list(dict.fromkeys(found))
        assert names(pickletools.optimize(data)) == list(dict.fromkeys(found))


ESTIMATORS = [
    GradientBoostingClassifier(n_estimators=3).fit(X, Y),
    HistGradientBoostingClassifier(max_iter=3).fit(X, Y),
    RandomForestClassifier(n_estimators=3).fit(X, Y),
    SGDClassifier(max_iter=5, tol=None).fit(X, Y),
    KNeighborsClassifier().fit(X, Y),
    make_pipeline(StandardScaler(), SelectKBest(k=2), SplineTransformer(), LogisticRegression()).fit(X, Y),
    make_pipeline(FunctionTransformer(np.log1p), OneHotEncoder(handle_unknown="ignore"), LogisticRegression()).fit(
        X, Y
    ),
    pd.DataFrame({"a": [1, 2], "at": pd.to_datetime(["2013", "2014"]), "c": pd.Categorical(["x", "y"])}),
]


SEEDS = [
    MEMOISED,
    *(pickle.dumps(Reduced(os.system, "true"), protocol) for protocol in range(6)),
    pickle.dumps(["memo", "os", "system", "posix", "builtins", "eval"] * 2, 4),
    pickle.dumps({"a": [1, (2, 3)], "b": {4}, "c": frozenset([5])}, 2),
    b"(lp0\nS'os'\np1\naS'system'\np2\na0g1\ng2\n\x93.",
]
PIECES = [
    b"\x93", b"c", b"i", b"0", b"2", b"\x94", b"h\x00", b"h\x01", b"g0\n", b"q\x00", b"\x8c\x02os", b"\x8c\x06system",
    b"cos\nsystem\n", b"(", b"1", b"t", b"\x85", b"R", b"U\x02os", b"Vos\n", b"\x80\x02", b"\x80\x04", b"o", b"b", b"e",
    b"\x95\x04\x00\x00\x00\x00\x00\x00\x00", b".",
]  # fmt: skip


def test_nothing_is_imported_unseen_by_pickles_that_were_tampered_with() -> None:
    """Against the real unpickler, whose imports are caught: what it asks for was read, or the pickle has a problem."""
    generator = random.Random(11)  # noqa: S311 - to be repeatable
    for _ in range(500):
        data = bytearray(generator.choice(SEEDS))
        for _ in range(generator.choice((1, 1, 2, 3))):
            place = generator.randrange(len(data))
            if generator.random() < 0.3:
                data[place] = generator.randrange(32, 148)
            else:
                data[place:place] = generator.choice(PIECES)
        scan, imported = scan_pickle(bytes(data)), _caught(bytes(data))
        seen = {(each.module, each.name) for each in scan.imports}
        assert scan.problems or imported <= seen, bytes(data)


def _caught(data: bytes) -> set[tuple[str, str]]:
    """Return what the unpickler asks for, under the names of Python 3; it is given something harmless instead."""
    found: set[tuple[str, str]] = set()

    class Harmless:
        def __init__(self, *_: object, **__: object) -> None:
            pass

    class Watched(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            found.add(NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name)))
            return Harmless

    with suppress(Exception):
        Watched(io.BytesIO(data)).load()
    return found


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("protocol", [2, 5])
def test_what_ordinary_models_are_made_of_is_reviewed(estimator: Any, protocol: int) -> None:
    scan = scanned(pickle.dumps(estimator, protocol))
    assert (scan.verdict, scan.all_named("unreviewed"), scan.problems) == ("clean", [], ())


def test_a_function_of_the_pipeline_file_is_code_of_its_own() -> None:
    local = make_pipeline(FunctionTransformer(lambda rows: rows * 2), LogisticRegression())
    assert scanned(cloudpickle.dumps(local)).verdict == "own_code"


def test_a_package_is_unreviewed_until_the_project_reviewed_it() -> None:
    data = b"\x80\x04" + _text("acme.features") + _text("distance") + b"\x93."
    assert scanned(data).verdict == "unreviewed"
    assert scanned(data, "acme").verdict == "clean"
    assert scanned(data, "acme.features").verdict == "clean"
    assert scanned(data, "ac").verdict == "unreviewed"
    stolen = b"\x80\x04" + _text("acme.features") + _text("os") + b"\x93."
    assert scanned(stolen, "acme").verdict == "dangerous"


@pytest.mark.parametrize(
    "function",
    [
        np.load, np.fromfile, pd.read_pickle, pd.eval, partial, pickle.loads, cloudpickle.loads, exec, open, __import__,
        getattr, os.popen, os.remove,
    ],
    ids=lambda each: each.__qualname__,
)  # fmt: skip
def test_functions_that_read_files_or_run_texts_are_not_reviewed(function: Any) -> None:
    verdict = scanned(pickle.dumps(Reduced(function))).verdict
    assert verdict == ("clean" if function is partial else "dangerous")  # partial alone calls nothing that was not read
