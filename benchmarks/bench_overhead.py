"""What Podium costs on top of a plain script that does the same work.

Both retrain `flight_delay` over the same months as whole processes, from nothing: an empty folder, an empty MLflow
store. The plain script calls the same step functions one after another in one process, judges with the same
`evaluate`, tries the version in the same canary, and talks to MLflow directly; it keeps no database, no artifacts, no
logs, no ledger, and nothing of it survives a kill. Pairs of runs alternate in order; the ratio is the median over the
pairs.

Exits 1 where the ratio is above `LIMIT`, or where the two did not come to the same verdicts for the same reasons.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

LIMIT = 1.10
MONTHS = ("2013-04", "2013-05", "2013-06", "2013-07")
PROJECT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Timing:
    """One whole process: seconds of wall time, seconds of CPU of it and all its children, a document per month."""

    wall_seconds: float
    cpu_seconds: float
    printed: list[Any]


def main() -> None:
    """Time both, print the table, and exit 1 above the limit."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=5, help="pairs of runs (default 5)")
    parser.add_argument("--months", nargs="+", default=list(MONTHS), metavar="MONTH")
    parser.add_argument("--plain", type=Path, metavar="FOLDER", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.plain:
        with contextlib.redirect_stdout(sys.stderr):
            verdicts = retrain_plainly(options.plain, options.months)
        print(json.dumps(verdicts))
    else:
        sys.exit(compare(options.months, options.repeats))


def compare(months: list[str], repeats: int) -> int:
    """Run both `repeats` times and return the exit code."""
    print(
        f"flight_delay over {months[0]} … {months[-1]} ({len(months)} months), {os.cpu_count()} cores, {repeats} pairs"
    )
    print(
        f"{'pair':>4}  {'plain':>8}  {'podium':>8}  {'ratio':>6}   {'plain CPU':>9}  {'podium CPU':>10}   load before"
    )
    pairs = []
    for number in range(repeats):
        load = os.getloadavg()[0]
        if number % 2:
            podium = run_podium(months)
            plain = run_plain(months)
        else:
            plain = run_plain(months)
            podium = run_podium(months)
        check_same_work(plain, podium)
        pairs.append((plain, podium))
        print(
            f"{number + 1:>4}  {plain.wall_seconds:>6.2f} s  {podium.wall_seconds:>6.2f} s  "
            f"{podium.wall_seconds / plain.wall_seconds:>6.3f}   "
            f"{plain.cpu_seconds:>7.2f} s  {podium.cpu_seconds:>8.2f} s   {load:.2f}"
        )
    print_phases([podium for _, podium in pairs])
    return conclude(pairs)


def conclude(pairs: list[tuple[Timing, Timing]]) -> int:
    """Print the median ratio beside the limit and return the exit code."""
    ratios = [podium.wall_seconds / plain.wall_seconds for plain, podium in pairs]
    ratio, sign = statistics.median(ratios), "≤"
    if ratio > LIMIT:
        sign = ">"
    # What else runs on the machine only adds time: the fastest of each is the least disturbed.
    fastest = min(podium.wall_seconds for _, podium in pairs) / min(plain.wall_seconds for plain, _ in pairs)
    print(
        f"median ratio {ratio:.3f} {sign} {LIMIT:.2f} allowed (from {min(ratios):.3f} to {max(ratios):.3f}; "
        f"the fastest run of each: {fastest:.3f})"
    )
    return 0 if ratio <= LIMIT else 1


def run_plain(months: list[str]) -> Timing:
    """Time the plain script in a fresh folder."""
    with tempfile.TemporaryDirectory(prefix="plain-") as folder:
        return timed([sys.executable, __file__, "--plain", folder, "--months", *months], {})


def run_podium(months: list[str]) -> Timing:
    """Time `podium run` in a fresh state folder."""
    intervals = [word for month in months for word in ("--for", month)]
    command = [str(Path(sys.executable).with_name("podium")), "run", "flight_delay", *intervals, "--json"]
    with tempfile.TemporaryDirectory(prefix="podium-") as folder:
        return timed(command, {"PODIUM_HOME": folder})


def timed(command: list[str], settings: dict[str, str]) -> Timing:
    """Run a command to its end and return its timing; a failed command ends the benchmark with what it said."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("PODIUM_")}
    # Waiting OpenMP threads sleep, for both: on a busy machine their spinning made one plain run 4 times as long.
    environment = {**own, "OMP_WAIT_POLICY": "passive", "MLFLOW_DISABLE_TELEMETRY": "true", **settings}
    before, start = os.times(), time.perf_counter()
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)
    wall_seconds, after = time.perf_counter() - start, os.times()
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} exited with {done.returncode}:\n{done.stderr[-4000:]}")
    cpu_seconds = after.children_user + after.children_system - before.children_user - before.children_system
    printed = json.loads(done.stdout)  # of one month: the run itself, not a list
    return Timing(wall_seconds, cpu_seconds, printed if isinstance(printed, list) else [printed])


def check_same_work(plain: Timing, podium: Timing) -> None:
    """End the benchmark unless both came to the same verdicts for the same reasons."""
    verdicts = [{part: run["verdict"][part] for part in ("result", "reasons")} for run in podium.printed]
    if plain.printed != verdicts:
        sys.exit(f"The two did not do the same work.\nplain:  {plain.printed}\npodium: {verdicts}")


def print_phases(timings: list[Timing]) -> None:
    """Print where Podium's wall time went, as medians over the pairs, from the times it recorded itself."""
    phases = [phases_of(timing) for timing in timings]
    names = list(phases[0])
    medians = {name: statistics.median(each[name] for each in phases) for name in names}
    print("podium's wall time: " + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in medians.items()))


def phases_of(timing: Timing) -> dict[str, float]:
    """Split one run's wall time: before the first attempt, in steps (and each step), between attempts, the rest."""
    attempts = sorted(
        (moment(attempt["started_at"]), moment(attempt["ended_at"]), attempt["wall_seconds"], step["name"])
        for run in timing.printed
        for step in run["steps"]
        for attempt in step["attempts"]
    )
    first_start, last_end = attempts[0][0], max(end for _, end, _, _ in attempts)
    spanned = (last_end - first_start).total_seconds()
    metered = sum(wall for _, _, wall, _ in attempts)
    # The first attempt waits for the slot host's imports: recorded as started, not yet metered.
    first_wait = (attempts[0][1] - first_start).total_seconds() - attempts[0][2]
    by_step: dict[str, float] = {}
    for _, _, wall, name in attempts:
        by_step[name] = by_step.get(name, 0.0) + wall
    return {
        "before the first attempt and after the last": timing.wall_seconds - spanned,
        "the first attempt's wait for its slot": first_wait,
        "between and around attempts": spanned - metered - first_wait,
        **{f"in {name}": seconds for name, seconds in by_step.items()},
    }


def moment(text: str) -> datetime:
    """Return an instant of a document."""
    return datetime.fromisoformat(text)


def retrain_plainly(folder: Path, months: list[str]) -> list[dict[str, Any]]:
    """Retrain month by month as a script does, and return each month's verdict with its reasons."""
    sys.path.insert(0, str(PROJECT))
    import mlflow
    import mlflow.sklearn

    from pipelines import _flights, flight_delay
    from podium import Interval
    from podium.registry.evaluation import evaluate
    from podium.registry.packaging import requirements_of
    from podium.registry.policy import GatePolicy
    from podium.settings import REVIEWED_TYPES

    mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
    mlflow.create_experiment("plain", artifact_location=str(folder / "artifacts"))
    mlflow.set_experiment("plain")
    client = mlflow.MlflowClient()
    client.create_registered_model("flight_delay")
    champion, verdicts = None, []
    for month in months:
        data = flight_delay.validate(Interval.parse(month, _flights.TIME_ZONE))
        candidate = flight_delay.train(data.history)
        evidence = evaluate(
            candidate,
            champion and mlflow.sklearn.load_model("models:/flight_delay@champion"),
            data.holdout,
            label=flight_delay.LABEL,
            model="flight_delay",
            policy=GatePolicy(primary="auc", floors={"auc": 0.58}),
            candidate_digest="",
            champion_version=champion,
            holdout_digest="",
            holdout_uses=0,
            seed=0,
        )
        verdicts.append({"result": evidence.verdict, "reasons": list(evidence.reasons)})
        if not evidence.passed:
            continue
        sample = data.holdout.drop(columns=flight_delay.LABEL).head(1000)
        with mlflow.start_run():
            logged = mlflow.sklearn.log_model(
                candidate,
                name="flight_delay",
                signature=mlflow.models.infer_signature(sample, candidate.predict(sample)),
                input_example=sample.head(3),
                pip_requirements=list(requirements_of(candidate)),
                serialization_format="skops",
                skops_trusted_types=list(REVIEWED_TYPES),
            )
        created = client.create_model_version("flight_delay", logged.model_uri, model_id=logged.model_id)
        if champion is None or tried_plainly(data, month, created.version):
            client.set_registered_model_alias("flight_delay", "champion", created.version)
            champion = str(created.version)
    return verdicts


def tried_plainly(data: Any, month: str, version: str) -> bool:
    """Return whether the canary promotes a version; it draws as Podium does for the same run, and writes nothing."""
    import mlflow.sklearn

    from pipelines import _flights, flight_delay
    from podium import Interval
    from podium.canary.analysis import assess
    from podium.canary.replay import ReplayTraffic
    from podium.ids import digest_bytes, digest_json
    from podium.registry.holdout import read_holdout
    from podium.registry.requests import wrong_answers

    plan, label = flight_delay.CANARY, flight_delay.LABEL
    challenger = mlflow.sklearn.load_model(f"models:/flight_delay/{version}")
    champion = mlflow.sklearn.load_model("models:/flight_delay@champion")
    requests, judged = read_holdout(data.replay, label), read_holdout(data.holdout, label)
    run = ["flight_delay", Interval.parse(month, _flights.TIME_ZONE).to_document(), {}]
    traffic = ReplayTraffic(
        wrong_answers(challenger, "challenger", requests),
        wrong_answers(champion, "champion", requests),
        weights=plan.weights,
        seed=digest_bytes(f"person:{digest_json(run)}/run_canary".encode()),
    )
    baseline = float(wrong_answers(champion, "champion", judged).mean())
    horizon = plan.horizon(len(requests))
    for position in plan.looks(horizon):
        verdict = assess(plan, horizon, baseline, traffic.cells(position)).verdict
        if verdict != "continue":
            return verdict == "promote"
    return False


if __name__ == "__main__":
    main()
