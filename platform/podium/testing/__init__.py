"""Tests of pipelines: run one in the process of a test, in milliseconds, with fakes in place of the world.

>>> from podium import Interval, pipeline, step
>>> from podium.testing import run_pipeline
>>> @step(retries=3)
... def count(day: Interval) -> int:
...     raise ConnectionError("the warehouse is asleep")
>>> @step
... def double(number: int) -> int:
...     return 2 * number
>>> @pipeline(model="demand", team="research", environment="dev")
... def demand(day: Interval) -> None:
...     double(count(day))
>>> result = run_pipeline(demand, "2013-03-01", fakes={"count": lambda day: 21})
>>> result.state, result.value("double")
('succeeded', 42)
>>> result = run_pipeline(demand, "2013-03-01")  # four attempts and 7 seconds of waiting, in no time
>>> result.states, len(result.steps["count"].attempts), result.waited_seconds
({'count': 'failed', 'double': 'skipped'}, 4, 7.0)
"""

from podium.clock import FakeClock
from podium.testing.registry import FakeRegistry
from podium.testing.result import AttemptResult, RunEvent, RunResult, StepResult
from podium.testing.run import run_pipeline

__all__ = ["AttemptResult", "FakeClock", "FakeRegistry", "RunEvent", "RunResult", "StepResult", "run_pipeline"]
