"""The regressor's own part: what trains, chooses and judges, the configurations, a choice by the tuning rows alone."""

from datetime import date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.dummy import DummyRegressor

from pipelines import _flights
from podium import Interval
from podium.dag.loading import load_file, trace_loaded
from podium.dag.references import Reference
from podium.registry.evaluation import evaluate
from podium.registry.evidence import Evidence
from podium.settings import REVIEWED_TYPES

ROOT = Path(__file__).parents[3]
FILE = ROOT / "pipelines" / "minutes_late.py"
minutes_late = load_file(ROOT, FILE)

NEW_YORK = ZoneInfo("America/New_York")
APRIL = Interval.parse("2013-04", "America/New_York")


def hourly(first: datetime, end: datetime) -> pd.DataFrame:
    """An example every hour, with a number of its own as distance and as delay."""
    times = pd.date_range(first, end, freq="h", inclusive="left", name="departure")
    rows = pd.DataFrame(dict.fromkeys(_flights.CATEGORIES, "EWR"), index=times)
    for name in _flights.NUMBERS:
        rows[name] = np.arange(len(rows), dtype=float)
    return rows.assign(arr_delay=np.arange(len(rows), dtype=float))


def year(first: datetime) -> pd.DataFrame:
    return hourly(first, datetime(2014, 1, 1, tzinfo=NEW_YORK))


def span(part: pd.DataFrame) -> tuple[str, str]:
    return f"{part.index[0]:%Y-%m-%d %H}", f"{part.index[-1]:%Y-%m-%d %H}"


# --- the parts


def test_six_months_train_two_weeks_choose_and_the_month_judges() -> None:
    parts = minutes_late.split(year(datetime(2012, 6, 1, tzinfo=NEW_YORK)), APRIL)
    assert span(parts.history) == ("2012-10-01 00", "2013-03-17 23")
    assert span(parts.tuning) == ("2013-03-18 00", "2013-03-31 23")
    assert span(parts.holdout) == ("2013-04-01 00", "2013-04-30 23")
    assert pd.concat(parts)["minutes_late"].is_unique  # no row is in two parts


def test_a_month_outside_the_data_is_said_with_what_the_data_cover() -> None:
    rows = hourly(datetime(2013, 1, 1, tzinfo=NEW_YORK), datetime(2013, 4, 1, tzinfo=NEW_YORK))
    with pytest.raises(_flights.DataProblem, match=r"The holdout of minutes_late, .* from 2013-01-01 to 2013-03-31"):
        minutes_late.split(rows, APRIL)


# --- the configurations


@pytest.mark.parametrize(
    ("first", "months"),
    [(date(2013, 1, 1), [3]), (date(2012, 10, 2), [3]), (date(2012, 10, 1), [3, 6]), (date(2012, 1, 1), [3, 6])],
)
def test_only_configurations_that_the_data_reach_back_for_are_tried(first: date, months: list[int]) -> None:
    begins = datetime(first.year, first.month, first.day, 5, tzinfo=NEW_YORK)  # no flight leaves before five
    history = minutes_late.split(year(begins), APRIL).history
    since = {3: date(2013, 1, 1), 6: date(2012, 10, 1)}
    tried = minutes_late.configurations(APRIL, history)
    assert [each.since for each in tried] == [since[number] for number in months for _ in minutes_late.LEAVES]
    assert len(set(tried)) == len(tried)


def test_a_month_without_enough_before_it_is_refused_rather_than_learned_from_less() -> None:
    history = minutes_late.split(year(datetime(2013, 1, 2, tzinfo=NEW_YORK)), APRIL).history
    with pytest.raises(_flights.DataProblem, match=r"begins on 2013-01-02, less than the 3 months before 2013-04-01"):
        minutes_late.configurations(APRIL, history)


def test_a_configuration_learns_from_its_first_day_on() -> None:
    history = minutes_late.split(year(datetime(2012, 6, 1, tzinfo=NEW_YORK)), APRIL).history
    changed = history.assign(minutes_late=history["minutes_late"].where(history.index >= "2013-01-01", 9e6))
    recent = minutes_late.Configuration(since=date(2013, 1, 1), leaves=16)
    older = minutes_late.Configuration(since=date(2012, 12, 31), leaves=16)
    features = history.drop(columns="minutes_late")

    def answers(configuration: Any, rows: pd.DataFrame) -> Any:
        return minutes_late.fit(configuration, rows).predict(features)

    np.testing.assert_array_equal(answers(recent, history), answers(recent, changed))
    assert not np.array_equal(answers(older, history), answers(older, changed))


def test_training_refuses_a_feature_that_is_known_only_later() -> None:
    history = minutes_late.split(year(datetime(2013, 1, 1, tzinfo=NEW_YORK)), APRIL).history.assign(air_time=1.0)
    with pytest.raises(_flights.DataProblem, match=r"of minutes_late hold air_time, which nobody knows"):
        minutes_late.fit(minutes_late.Configuration(since=date(2013, 1, 1), leaves=16), history)


# --- the choice


def test_the_tuning_rows_alone_choose_and_by_the_absolute_error(capsys: pytest.CaptureFixture[str]) -> None:
    # Nine flights in time and one very late: 0 is best by the absolute error, the mean of 100 by the squared.
    tuning = pd.DataFrame({"distance": range(10), "minutes_late": [0.0] * 9 + [1000.0]})
    tried = [minutes_late.Configuration(since=date(2013, month, 1), leaves=16) for month in (1, 2, 3)]
    constants = [DummyRegressor(strategy="constant", constant=value).fit([[0]], [0]) for value in (100.0, 0.0, -50.0)]
    assert minutes_late.choose(tried, constants, tuning) == tried[1]
    assert minutes_late.choose(tried[::-1], constants[::-1], tuning) == tried[1]
    assert "since 2013-02-01, 16 leaves: 100.000 minutes" in capsys.readouterr().out


def test_the_configurations_are_fitted_side_by_side_and_the_choice_once_more_on_all() -> None:
    [plan] = trace_loaded(ROOT, FILE)
    steps = {node.name: node for node in plan.steps}
    stages = ["evaluate_candidate", "register_version", "promote_version"]
    assert list(steps) == ["validate", "configurations", "fit", "choose", "train", *stages]
    assert steps["fit"].over == "configuration"
    read = {
        name: {
            value.output
            for value in steps[name].inputs.values()
            if isinstance(value, Reference) and value.step == "validate"
        }
        for name in ("fit", "choose", "train", "evaluate_candidate")
    }
    assert read == {
        "fit": {"history"},
        "choose": {"tuning"},
        "train": {"history", "tuning"},
        "evaluate_candidate": {"holdout"},
    }
    assert [bool(steps[name].conditions) for name in stages] == [False, True, True]


# --- the real data


@pytest.fixture(scope="module")
def april() -> Any:
    return minutes_late.validate(APRIL)


@pytest.fixture(scope="module")
def model(april: Any) -> Any:
    return minutes_late.train(minutes_late.Configuration(date(2013, 1, 1), 16), april.history, april.tuning)


def judged(candidate: Any, champion: Any, holdout: pd.DataFrame) -> Evidence:
    return evaluate(
        candidate,
        champion,
        holdout,
        label="minutes_late",
        model="minutes_late",
        policy=minutes_late.POLICY,
        candidate_digest="0" * 64,
        champion_version=None if champion is None else "1",
        holdout_digest="1" * 64,
        holdout_uses=0,
        seed=1,
    )


def test_april_of_2013_splits_into_its_known_counts(april: Any) -> None:
    assert [len(part) for part in april] == [65_075, 12_836, 27_564]
    assert not _flights.KNOWN_LATER & set(april.history.columns)


def test_the_model_beats_the_best_constant_and_is_saved_without_trust_in_code(april: Any, model: Any) -> None:
    evidence = judged(model, None, april.holdout)
    assert evidence.verdict == "passed"
    absolute = next(each for each in evidence.measurements if each.metric == "mean_absolute_error")
    assert absolute.candidate is not None
    assert absolute.baseline is not None
    assert 0.90 < absolute.candidate / absolute.baseline < 0.93

    nowhere = april.holdout.drop(columns="minutes_late").head(5).assign(dest="ZZZ", temp=np.nan, held_at_airport=np.nan)
    assert np.isfinite(model.predict(nowhere)).all()
    assert set(skops.io.get_untrusted_types(data=skops.io.dumps(model))) <= set(REVIEWED_TYPES)


def test_the_gate_refuses_a_model_that_learned_from_too_little(april: Any, model: Any) -> None:
    little = minutes_late.fit(minutes_late.Configuration(date(2013, 3, 27), 48), april.tuning)
    evidence = judged(little, model, april.holdout)
    assert evidence.verdict == "failed"
    assert evidence.primary is not None
    assert evidence.primary.test == "paired bootstrap (BCa)"
    assert "is not shown to be not worse than the champion's by the margin 0.5" in evidence.reasons[0]
