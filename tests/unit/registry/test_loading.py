"""Models are loaded in a process that checks first, limits itself and is ended whole; hostile ones never run."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cloudpickle
import pandas as pd
import psutil
import pytest
import skops.io
from sklearn.dummy import DummyClassifier
from sklearn.tree import DecisionTreeClassifier

from podium.errors import ArtifactError, Refused
from podium.registry import loading, model_files, packaging
from podium.registry.file_sums import sums_of
from podium.registry.load_once import load_once
from podium.registry.load_report import Limits, LoadMemory, LoadReport, environment_digest
from podium.registry.loading import CheckedLoads, load_in_child
from podium.registry.packaging import CLOUDPICKLE, SKOPS, digest_of_folder
from podium.registry.trust import Trust

SAMPLE = pd.DataFrame({"distance": [100.0, 900.0], "carrier": pd.Categorical(["AA", "UA"])})
FEW = Limits(memory_bytes=1024**3, seconds=90)
ALLOW = Trust(pickle="allow")


def stored(folder: Path, data: bytes, serialization: str, *, sample: pd.DataFrame | None = None, **flavor: Any) -> str:
    """Store a model as MLflow does, and return its digest."""
    folder.mkdir(exist_ok=True)
    payload = "model.skops" if serialization == SKOPS else "model.pkl"
    said = {"pickled_model": payload, "serialization_format": serialization, **flavor}
    inputs = json.dumps([{"name": name, "type": "any"} for name in SAMPLE])
    (folder / "MLmodel").write_text(json.dumps({"flavors": {"sklearn": said}, "signature": {"inputs": inputs}}))
    (folder / payload).write_bytes(data)
    if sample is not None:
        model_files.complete_folder(folder, fitted(), sample)
    return digest_of_folder(folder)


def fitted() -> DummyClassifier:
    return DummyClassifier(strategy="most_frequent").fit(SAMPLE, ["late", "punctual"])


def checked(folder: Path, digest: str, *, trust: Trust | None = None, limits: Limits = FEW, own: bool = False) -> Any:
    return load_in_child(folder, digest=digest, source="here", trust=trust or Trust(), limits=limits, own_code=own)


class Reduced:
    """Pickles as a call of `function`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def hostile(statement: str) -> bytes:
    """A pickle that runs a statement when it is loaded, and then is no model."""
    return pickle.dumps(Reduced(exec, statement))


def test_a_model_that_loads_is_described(tmp_path: Path) -> None:
    digest = stored(tmp_path / "model", skops.io.dumps(fitted()), SKOPS, sample=SAMPLE)
    report = checked(tmp_path / "model", digest)
    assert report.columns == ("distance", "carrier")
    assert report.classes == ("late", "punctual")
    assert report.rows_predicted == 2
    assert 0 < report.seconds < 90
    assert 20 * 1024**2 < (report.peak_memory_bytes or 0) < FEW.memory_bytes
    assert not report.remembered
    assert LoadReport.from_document(json.loads(json.dumps(report.to_document()))) == report


def test_another_digest_loads_nothing_and_names_the_file(tmp_path: Path) -> None:
    folder, canary = tmp_path / "model", tmp_path / "it-ran"
    digest = stored(folder, skops.io.dumps(fitted()), SKOPS, sample=SAMPLE)
    (folder / "model.skops").write_bytes(hostile(f"open({str(canary)!r}, 'w')"))
    for trust in (Trust(), ALLOW):
        with pytest.raises(ArtifactError, match=r"changed after they were stored \(model\.skops was changed\)"):
            checked(folder, digest, trust=trust)
    (folder / "extra.txt").write_text("x")
    (folder / "podium_example.json").unlink()
    with pytest.raises(ArtifactError, match=r"model.skops was changed, podium_example.json is missing, extra.txt was"):
        model_files.check_folder(folder, digest=digest, source="here")
    (folder / "SHA256SUMS").write_bytes(sums_of(packaging.digests_of_folder(folder)))
    with pytest.raises(ArtifactError, match="SHA256SUMS itself was changed"):
        model_files.check_folder(folder, digest=digest, source="here")
    assert not canary.exists()


def test_the_list_of_sums_is_one_that_sha256sum_reads(tmp_path: Path) -> None:
    stored(tmp_path, b"", SKOPS, sample=SAMPLE)
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=tmp_path, check=True, capture_output=True)


@pytest.mark.parametrize("policy", ["refuse", "scan"])
def test_a_hostile_pickle_never_runs(tmp_path: Path, policy: Any) -> None:
    canary = tmp_path / "it-ran"
    digest = stored(tmp_path / "model", hostile(f"open({str(canary)!r}, 'w')"), CLOUDPICKLE)
    trust = Trust(pickle=policy)
    told = r"it is a pickle, and this project loads none" if policy == "refuse" else "it imports builtins.exec"
    with pytest.raises(Refused, match=told):
        checked(tmp_path / "model", digest, trust=trust, own=True)
    with pytest.raises(Refused, match=told):
        model_files.load_folder(tmp_path / "model", digest=digest, source="here", trust=trust, own_code=True)
    assert not canary.exists()
    with pytest.raises(ArtifactError, match=r"as a NoneType: it has no predict"):
        checked(tmp_path / "model", digest, trust=ALLOW)
    assert canary.exists(), "the canary does not sing"


def test_code_of_its_own_is_loaded_only_where_a_run_made_it(tmp_path: Path) -> None:
    digest = stored(tmp_path / "model", cloudpickle.dumps(local_estimator()), CLOUDPICKLE, sample=SAMPLE)
    with pytest.raises(Refused, match="holds code of its own"):
        checked(tmp_path / "model", digest)
    assert checked(tmp_path / "model", digest, own=True).rows_predicted == 2


def local_estimator() -> Any:
    class Local:
        def predict(self, rows: pd.DataFrame) -> Any:
            return rows["distance"] > 100

    return Local()


def test_the_types_that_skops_may_rebuild_are_the_project_s_and_not_the_model_s(tmp_path: Path) -> None:
    tree = DecisionTreeClassifier().fit([[1], [2]], [0, 1])
    types = ["sklearn.tree._tree.Tree"]
    digest = stored(tmp_path / "model", skops.io.dumps(tree), SKOPS, skops_trusted_types=types)
    asked: dict[str, Any] = {"digest": digest, "source": "here", "own_code": False}
    with pytest.raises(Refused, match=r"nobody reviewed: .*sklearn\.tree\._tree\.Tree.* trusted_types"):
        load_once(tmp_path / "model", trust=Trust(), **asked)
    assert load_once(tmp_path / "model", trust=Trust(types=(*types, "numpy.dtype")), **asked).classes == (0, 1)


@pytest.mark.parametrize("payload", ["../outside.pkl", "/etc/passwd", "none.pkl"])
def test_a_model_file_outside_the_model_s_folder_is_not_read(tmp_path: Path, payload: str) -> None:
    (tmp_path / "outside.pkl").write_bytes(pickle.dumps(1))
    digest = stored(tmp_path / "model", b"", CLOUDPICKLE, pickled_model=payload)
    with pytest.raises(ArtifactError, match="none of its files"):
        model_files.load_folder(tmp_path / "model", digest=digest, source="here", trust=ALLOW, own_code=True)


def test_folders_of_code_are_not_imported(tmp_path: Path) -> None:
    digest = stored(tmp_path / "model", b"", CLOUDPICKLE, code="code")
    with pytest.raises(ArtifactError, match="brings a folder of code"):
        model_files.load_folder(tmp_path / "model", digest=digest, source="here", trust=ALLOW, own_code=True)


def test_what_is_no_scikit_learn_model_is_said(tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text("flavors: {python_function: {}}")
    for text in ("flavors: {python_function: {}}", "[", "\t"):
        (tmp_path / "MLmodel").write_text(text)
        with pytest.raises(ArtifactError, match="has no flavor sklearn"):
            model_files.read_sheet(tmp_path, "here")


# Limits. What runs into them is loaded under "allow": the limits are what is left then.


def fails(tmp_path: Path, statement: str, *, limits: Limits = FEW) -> str:
    digest = stored(tmp_path / "model", hostile(statement), CLOUDPICKLE)
    with pytest.raises(ArtifactError) as caught:
        checked(tmp_path / "model", digest, trust=ALLOW, limits=limits)
    return str(caught.value)


def test_a_model_that_takes_all_memory_is_stopped(tmp_path: Path) -> None:
    assert "it needs more than 1 GiB of memory (load_memory_gib in [models])" in fails(tmp_path, "bytearray(8 << 30)")


def test_a_model_that_never_ends_is_ended(tmp_path: Path) -> None:
    # Both ask for a second; one sleeps, and what it started outlives its group, the other computes.
    mark = f"{tmp_path.name}-{os.getpid()}"
    forks = (
        "import os, subprocess, sys, time\n"
        f"subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(99)', {mark!r}], start_new_session=True)\n"
        "os.fork()\n"
        "time.sleep(99)"
    )
    started = time.monotonic()
    assert "was ended after 2 s (load_seconds in [models])" in fails(tmp_path, forks, limits=replace(FEW, seconds=2))
    assert time.monotonic() - started < 20
    assert [each for each in psutil.process_iter(["cmdline"]) if mark in (each.info["cmdline"] or ())] == []


def test_a_model_that_computes_for_ever_is_ended_by_its_own_limit(tmp_path: Path) -> None:
    program = (
        "from podium.registry.load_child import limit\nlimit({'memory_bytes': 1 << 30, 'seconds': 1})\nwhile True: pass"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, timeout=60)
    assert done.returncode == -signal.SIGXCPU
    assert "more than 1 s of the processor" in loading._how_it_ended(done.returncode, Limits(seconds=1))


def test_a_model_that_crashes_says_its_last_words(tmp_path: Path) -> None:
    said = fails(tmp_path, "import os, sys; sys.stderr.write('CUDA is gone\\n'); sys.stderr.flush(); os.abort()")
    assert "ended by SIGABRT. Its last line: CUDA is gone" in said
    assert "exit code 3 and without an answer" in fails(tmp_path, "import os; os._exit(3)")


def test_a_model_sees_no_secret_no_file_and_a_limit_on_all_it_may_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PODIUM_DATABASE_URL", "AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_TOKEN", "MY_PASSWORD"):
        monkeypatch.setenv(name, "secret")
    seen = tmp_path / "seen.json"
    statement = (
        "import json, os\nimport resource as r\n"
        "limits = list(map(r.getrlimit, [r.RLIMIT_AS, r.RLIMIT_CPU, r.RLIMIT_CORE, r.RLIMIT_FSIZE, r.RLIMIT_NPROC]))\n"
        f"json.dump([dict(os.environ), os.listdir('.'), os.getcwd(), limits], open({str(seen)!r}, 'w'))"
    )
    fails(tmp_path, statement)
    environment, files, folder, limits = json.loads(seen.read_text())
    assert "secret" not in environment.values()
    assert set(environment) <= {
        *loading._KEPT, "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "HOME", "TMPDIR",
        "PYTHONUSERBASE", "PODIUM_LOAD",
    }  # fmt: skip
    assert files == []
    assert not Path(folder).exists(), "its folder is left"
    assert limits[:-1] == [[1024**3, 1024**3], [90, 91], [0, 0], [64 * 1024**2, 64 * 1024**2]]
    assert 500 < limits[-1][0] < 100_000, "processes of this user"


# Memory of loads.


def test_bytes_that_loaded_are_not_loaded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "model"
    digest = stored(folder, skops.io.dumps(fitted()), SKOPS, sample=SAMPLE)
    loads: list[str] = []

    def load(_: Path, *, digest: str, **__: Any) -> LoadReport:
        loads.append(digest)
        return LoadReport(("distance",), None, 2, 0.5, 1)

    monkeypatch.setattr(loading, "load_in_child", load)

    def check(trust: Trust | None = None, limits: Limits | None = None, *, own_code: bool = False) -> LoadReport:
        """As a new process would."""
        checker = CheckedLoads(trust or Trust(), limits, tmp_path / "loads")
        return checker.check(folder, digest=digest, source="here", own_code=own_code)

    assert not check().remembered
    assert check().remembered
    assert loads == [digest]
    check(own_code=True)
    check(Trust(packages=("acme",)))
    check(limits=FEW)
    assert len(loads) == 4, "what is allowed, or what it may use, changed"
    monkeypatch.setattr("podium.registry.load_report._installed", lambda: ["scikit_learn-9.9.dist-info"])
    assert not check().remembered
    for file in (tmp_path / "loads").iterdir():
        file.write_text("{")
    assert not check().remembered

    (folder / "model.skops").write_bytes(b"changed")
    with pytest.raises(ArtifactError, match=r"model\.skops was changed"):
        check()


def test_a_folder_that_cannot_be_written_is_no_reason_to_fail(tmp_path: Path) -> None:
    (tmp_path / "loads").write_text("a file")
    memory = LoadMemory(tmp_path / "loads")
    report = LoadReport((), None, 0, 0.1, None)
    memory.keep("d" * 64, "e" * 64, report)
    assert memory.find("d" * 64, "e" * 64) == replace(report, remembered=True)
    assert LoadMemory(tmp_path / "loads").find("d" * 64, "e" * 64) is None


def test_the_environment_is_the_same_from_one_process_to_the_next(tmp_path: Path) -> None:
    program = (
        "from podium.registry.load_report import *; from podium.registry.trust import Trust\n"
        "print(environment_digest(Trust(), Limits(), own_code=False))"
    )
    command = [sys.executable, "-c", program]
    first, second = (
        subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
        for folder in (Path.cwd(), tmp_path)
    )
    assert first == second
    assert len(first.strip()) == 64


def test_what_is_installed_meanwhile_makes_another_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))

    def found() -> str:
        return environment_digest(Trust(), Limits(), own_code=False)

    before = found()
    assert found() == before
    (tmp_path / "acme-1.0.dist-info").mkdir()
    after = found()
    assert after != before
    (tmp_path / "acme-1.0.dist-info").rename(tmp_path / "acme-1.1.dist-info")
    assert found() not in (before, after)


# Rows to try a model on.


def test_rows_keep_their_types(tmp_path: Path) -> None:
    rows = SAMPLE.assign(
        at=pd.to_datetime(["2013-01-01", "2013-01-02"]),
        hour=[1, 2],
        late=[True, False],
        name=pd.array(["a", None], dtype="string"),
        gap=[1.5, float("nan")],
    )
    text = model_files.example_text(rows, fitted())
    assert text is not None
    pd.testing.assert_frame_equal(model_files.read_example(text), rows)


def test_rows_whose_types_are_lost_are_not_kept() -> None:
    rows = SAMPLE.assign(span=pd.interval_range(0, 2))
    assert model_files.example_text(rows, fitted()) is None


def test_a_model_that_does_not_predict_the_rows_stored_with_it_is_damaged(tmp_path: Path) -> None:
    class Broken:
        def predict(self, rows: pd.DataFrame) -> Any:
            raise RuntimeError(f"the lookup table is empty for {len(rows)} rows")

    digest = stored(tmp_path, cloudpickle.dumps(Broken()), CLOUDPICKLE, sample=SAMPLE)
    with pytest.raises(ArtifactError, match=r"does not predict .*RuntimeError: the lookup table is empty"):
        checked(tmp_path, digest, own=True)
