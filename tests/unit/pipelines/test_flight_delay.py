"""The classifier's own part: its label, the parts of a month, and what only a passed candidate does."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.metrics import roc_auc_score

from pipelines import _flights
from podium import Interval
from podium.dag.loading import load_file, trace_loaded
from podium.settings import REVIEWED_TYPES

ROOT = Path(__file__).parents[3]
FILE = ROOT / "pipelines" / "flight_delay.py"
flight_delay = load_file(ROOT, FILE)

NEW_YORK = ZoneInfo("America/New_York")
APRIL = Interval.parse("2013-04", "America/New_York")
NOON = datetime(2013, 4, 10, 12, tzinfo=NEW_YORK)


def hourly(first: datetime, days: int, arr_delay: tuple[float, ...] = (0.0, 60.0)) -> pd.DataFrame:
    """An example every hour, arrival delays in turn."""
    times = pd.date_range(first, periods=24 * days, freq="h", name="departure")
    rows = pd.DataFrame(dict.fromkeys(_flights.CATEGORIES, "EWR"), index=times)
    for name in _flights.NUMBERS:
        rows[name] = 1.0
    return rows.assign(arr_delay=np.resize(np.array(arr_delay), len(rows)))


@pytest.mark.parametrize(("arr_delay", "late"), [(-20.0, 0), (15.0, 0), (16.0, 1)])
def test_late_is_an_arrival_more_than_fifteen_minutes_after_its_time(arr_delay: float, late: int) -> None:
    rows = hourly(NOON, 1, arr_delay=(arr_delay, 0.0, 60.0))
    labelled = flight_delay.labelled(rows, "history", NOON, NOON + timedelta(hours=3))
    assert labelled["late"].tolist() == [late, 0, 1]
    assert "arr_delay" not in labelled


def test_training_refuses_a_feature_that_is_known_only_later() -> None:
    history = flight_delay.labelled(hourly(NOON, 2), "history", NOON, NOON + timedelta(days=2)).assign(dep_delay=1.0)
    with pytest.raises(_flights.DataProblem, match=r"of flight_delay hold dep_delay, which nobody knows"):
        flight_delay.train(history)


# --- the parts of a month


def test_history_trains_the_first_half_judges_and_the_second_is_kept() -> None:
    rows = hourly(datetime(2012, 12, 1, tzinfo=NEW_YORK), 31 + 90 + 30 + 31)
    rows["distance"] = np.arange(len(rows), dtype=float)
    parts = flight_delay.split(rows, APRIL)

    def span(part: pd.DataFrame) -> tuple[str, str]:
        times = rows.index[part["distance"].to_numpy(int)]
        return f"{times[0]:%m-%d %H}", f"{times[-1]:%m-%d %H}"

    assert span(parts.history) == ("01-01 00", "03-31 23")
    assert span(parts.holdout) == ("04-01 00", "04-15 23")
    assert span(parts.replay) == ("04-16 00", "04-30 23")


def test_flights_without_a_label_are_left_out_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    rows = hourly(datetime(2013, 1, 1, tzinfo=NEW_YORK), 120)
    rows.loc[rows.index[rows.index >= NOON + timedelta(days=10)][:5], "arr_delay"] = np.nan
    parts = flight_delay.split(rows, APRIL)
    assert len(parts.replay) == 15 * 24 - 5
    assert {str(part["late"].dtype) for part in parts} == {"int64"}
    assert (
        "replay of flight_delay, 2013-04-16 00:00 to 2013-05-01 00:00: 355 flights; 5 without"
        in capsys.readouterr().out
    )


def test_a_month_outside_the_data_is_said_with_what_the_data_cover() -> None:
    rows = hourly(datetime(2013, 1, 1, tzinfo=NEW_YORK), 89)
    with pytest.raises(_flights.DataProblem, match=r"The holdout .* no flight .* from 2013-01-01 to 2013-03-3"):
        flight_delay.split(rows, APRIL)


def test_the_first_month_has_nothing_to_train_on() -> None:
    rows = hourly(APRIL.start, 30)
    with pytest.raises(_flights.DataProblem, match=r"The history .* no flight with a known arrival"):
        flight_delay.split(rows, APRIL)


def test_a_month_whose_flights_all_lack_an_arrival_has_no_labels() -> None:
    rows = hourly(datetime(2013, 1, 1, tzinfo=NEW_YORK), 120)
    rows.loc[rows.index >= APRIL.start, "arr_delay"] = np.nan
    with pytest.raises(_flights.DataProblem, match=r"The holdout .* \(360 were scheduled\)"):
        flight_delay.split(rows, APRIL)


def test_a_single_class_is_refused() -> None:
    rows = hourly(datetime(2013, 1, 1, tzinfo=NEW_YORK), 120)
    rows.loc[rows.index >= APRIL.start, "arr_delay"] = 0.0
    with pytest.raises(_flights.DataProblem, match=r"360 flights, all with late = 0; one class"):
        flight_delay.split(rows, APRIL)


def test_only_a_candidate_that_passed_is_registered_and_promoted() -> None:
    [plan] = trace_loaded(ROOT, FILE)
    names = ["validate", "train", "evaluate_candidate", "register_version", "run_canary"]
    assert [node.name for node in plan.steps] == names
    conditions = [[(on.step, on.output) for on in node.conditions] for node in plan.steps]
    assert conditions == [[], [], [], *[[("evaluate_candidate", "passed")]] * 2]


# --- the real data


@pytest.fixture(scope="module")
def april() -> Any:
    return flight_delay.validate(APRIL)


def test_april_of_2013_splits_into_its_known_counts(april: Any) -> None:
    assert [len(part) for part in april] == [77_911, 13_877, 13_687]
    assert not _flights.KNOWN_LATER & set(april.history.columns)


def test_a_model_of_the_first_quarter_ranks_april_and_knows_what_to_do_with_the_unknown(april: Any) -> None:
    model = flight_delay.train(april.history)
    features = april.holdout.drop(columns="late")
    assert 0.65 < roc_auc_score(april.holdout["late"], model.predict_proba(features)[:, 1]) < 0.80

    nowhere = features.head(5).assign(dest="ZZZ", carrier="ZZ", temp=np.nan, visib=np.nan, held_at_airport=np.nan)
    assert np.isfinite(model.predict_proba(nowhere)).all()

    data = skops.io.dumps(model)
    assert set(skops.io.get_untrusted_types(data=data)) <= set(REVIEWED_TYPES)
