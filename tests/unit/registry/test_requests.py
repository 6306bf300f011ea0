import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

from podium.errors import EvaluationError
from podium.registry.holdout import read_holdout
from podium.registry.requests import wrong_answers

ROWS = pd.DataFrame({"x": [-2.0, -1.0, 1.0, 2.0]})


def test_a_class_is_wrong_when_it_is_not_the_rows() -> None:
    model = LogisticRegression().fit(ROWS, [0, 0, 1, 1])
    rows = read_holdout(ROWS.assign(late=[0, 1, 1, 0]), "late", called="replay")
    assert wrong_answers(model, "challenger", rows, block_rows=3).tolist() == [False, True, False, True]


def test_a_number_is_wrong_when_it_is_off_by_more_than_the_tolerance() -> None:
    model = LinearRegression().fit(ROWS, ROWS["x"])
    rows = read_holdout(ROWS.assign(delay=[-2.0, 1.0, 1.0, 2.4]), "delay", called="replay")
    assert wrong_answers(model, "challenger", rows, tolerance=0.5).tolist() == [False, True, False, False]


@pytest.mark.parametrize(
    ("model", "tolerance", "message"),
    [
        (LinearRegression(), None, r"The champion predicts numbers.*CanaryPlan\(tolerance=…\)"),
        (LogisticRegression(), 0.5, r"The champion predicts classes.*remove tolerance=0.5"),
    ],
)
def test_a_tolerance_belongs_to_numbers(model: LinearRegression, tolerance: float | None, message: str) -> None:
    fitted = model.fit(ROWS, [0, 0, 1, 1])
    rows = read_holdout(ROWS.assign(label=[0, 0, 1, 1]), "label", called="replay")
    with pytest.raises(EvaluationError, match=message):
        wrong_answers(fitted, "champion", rows, tolerance=tolerance)


def test_what_is_wrong_with_the_rows_names_them_as_the_caller_does() -> None:
    model = LogisticRegression().fit(ROWS, [0, 0, 1, 1])
    with pytest.raises(EvaluationError, match="The replay is empty"):
        read_holdout(ROWS.assign(late=0)[:0], "late", called="replay")
    rows = read_holdout(pd.DataFrame({"y": [1.0], "late": [0]}), "late", called="replay")
    with pytest.raises(EvaluationError, match="The replay lacks 1 of the 1 feature columns"):
        wrong_answers(model, "challenger", rows)
    unknown = read_holdout(pd.DataFrame({"x": [np.nan], "late": [0]}), "late", called="replay")
    with pytest.raises(EvaluationError, match="The challenger failed on rows 0 to 0 of the replay"):
        wrong_answers(model, "challenger", unknown)
