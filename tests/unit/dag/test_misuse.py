"""Every misuse of authoring has a message that says where, what and the remedy."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from podium import Cache, Interval, Retry, Schedule, pipeline, run_after, step, when
from podium.dag.authoring import Pipeline
from podium.dag.tracing import trace
from podium.errors import DefinitionError

# Without its types: mypy would find most of these mistakes before Podium does.
untyped_step: Callable[[Callable[..., Any]], Any] = step
untyped_pipeline: Any = pipeline
UntypedSchedule: Any = Schedule


class Split(NamedTuple):
    train: list[int]
    test: list[int]


class Evidence:
    auc: float
    passed: bool
    _secret: int

    @property
    def verdict(self) -> str:
        return ""

    def explain(self) -> str:
        return ""


@untyped_step
def split(day: Interval) -> Split:
    return Split([], [])


@untyped_step
def fit(rows: list[int], depth: int = 3, name: str | None = None) -> str:
    return ""


@untyped_step
def judge(model: str) -> Evidence:
    return Evidence()


@untyped_step
def publish(model: str) -> None:
    pass


@untyped_step
def untyped(anything):  # type: ignore[no-untyped-def]  # what is tested
    return anything


@untyped_step
def maybe() -> str | None:
    return None


class Shadow:
    result: int


class Shadows(NamedTuple):
    result: int


@untyped_step
def shadow() -> Shadow:
    return Shadow()


@untyped_step
def shadows() -> Shadows:
    return Shadows(1)


def traced(body: Callable[[Any], object]) -> Pipeline:
    def daily(day: Interval) -> None:
        body(day)

    return pipeline(model="m", team="t", environment="prod")(daily)


def refusal(body: Callable[[Any], object]) -> str:
    with pytest.raises(DefinitionError) as caught:
        trace(traced(body))
    return str(caught.value)


@pytest.mark.parametrize(
    ("use", "remedy"),
    [
        (bool, "has no truth value.*with when"),
        (lambda handle: handle and 1, "has no truth value"),
        (lambda handle: not handle, "has no truth value"),
        (list, "cannot be iterated.*loop inside a step"),
        (len, "has no length"),
        (lambda handle: handle == 1, "cannot be compared.*inside a step"),
        (lambda handle: handle < 1, "cannot be compared"),
        (lambda handle: 1 in handle, "cannot be searched"),
        (lambda handle: {handle}, "set"),
        (lambda handle: handle + 1, "cannot be computed with"),
        (lambda handle: 2 * handle, "cannot be computed with"),
        (lambda handle: -handle, "cannot be computed with"),
        (float, "cannot be computed with"),
        (lambda handle: handle[0], "cannot be indexed"),
        (lambda handle: handle(), "cannot be called"),
        (str, "has no text"),
        (lambda handle: f"{handle}", "has no text"),
        (lambda handle: f"{handle:>3}", "has no text"),
        (lambda handle: setattr(handle, "depth", 3), "cannot have its 'depth' set"),
    ],
)
def test_a_handle_refuses_what_needs_the_value_now(use: Callable[[Any], object], remedy: str) -> None:
    with pytest.raises(DefinitionError, match=rf"test_misuse\.py:\d+: the result of step fit .*{remedy}"):
        trace(traced(lambda _: use(fit([1]))))


def test_unpacking_a_named_tuple_says_to_take_its_fields() -> None:
    def body(day: Any) -> None:
        _train, _test = split(day)

    assert "take its fields by name (train, test)" in refusal(body)


def test_an_unknown_output_lists_the_known_ones() -> None:
    assert "no output 'tset'; did you mean test? Known are train, test." in refusal(lambda day: split(day).tset)
    message = refusal(lambda _: judge(fit([1])).explain)
    assert "no output 'explain'. Known are auc, passed, verdict." in message
    assert "Its return annotation names none" in refusal(lambda _: untyped(1).rows)


def test_an_output_of_an_output_is_refused() -> None:
    assert "output train of step split has no named output 'first'" in refusal(lambda day: split(day).train.first)
    assert "the interval day has no named output 'start'" in refusal(lambda day: day.start)


def test_a_named_tuple_cannot_be_passed_whole() -> None:
    assert "pass the fields it needs (train, test)" in refusal(lambda day: untyped(split(day)))


def test_no_output_may_be_called_result() -> None:
    assert "that name stands for the whole value" in refusal(lambda _: shadow().result)
    assert "returns Shadows, which has a field 'result'" in refusal(lambda _: shadows())


def test_a_handle_is_of_no_use_after_its_trace() -> None:
    kept: list[Any] = []
    trace(traced(lambda _: kept.append(judge(fit([1])))))
    with pytest.raises(DefinitionError, match="kept after its trace ended"):
        _ = kept[0].passed
    with pytest.raises(DefinitionError, match="step publish is called outside a pipeline with <handle of"):
        publish(kept[0])
    assert "belongs to another trace of pipeline daily" in refusal(lambda _: publish(kept[0]))


def test_a_wrong_call_names_the_parameter_and_the_definition() -> None:
    message = refusal(lambda _: publish())
    assert "step publish is called wrongly: missing a required argument: 'model'" in message
    assert "publish(model: str)" in message
    assert "unexpected keyword argument 'modle'" in refusal(lambda _: publish(modle="x"))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            lambda day: publish(day),
            "parameter model of step publish takes str, but the interval day is Interval",
        ),
        (
            lambda _: fit(judge("x")),
            "parameter rows of step fit takes list[int], but the result of step judge is Evidence",
        ),
        (lambda _: publish(maybe()), "takes str, but the result of step maybe is str | None"),
        (lambda _: publish(publish("x")), "a second time"),
        (lambda _: fit([1], depth="deep"), "parameter depth of step fit takes int, but is given 'deep'"),
        (lambda day: publish(split(day).train), "takes str, but output train of step split is list[int]"),
    ],
)
def test_types_must_fit(body: Callable[[Any], object], words: str) -> None:
    assert words in refusal(body)


def test_fitting_and_unknown_types_pass() -> None:
    def body(day: Any) -> None:
        fit(split(day).train, name=maybe())
        untyped(publish("x"))

    assert len(trace(traced(body)).steps) == 5


def test_a_second_call_needs_a_name() -> None:
    def body(day: Any) -> None:
        publish("a")
        publish("b")

    assert 'publish.named("publish_2")(…)' in refusal(body)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([object()], "builtins.object has no JSON"),
        (lambda: 1, "has no JSON"),
        ({1, 2}, "builtins.set has no JSON"),
    ],
)
def test_a_constant_without_json_is_refused(value: object, words: str) -> None:
    message = refusal(lambda _: untyped(value))
    assert "parameter anything of step untyped gets a constant that cannot be kept in a plan" in message
    assert words in message


def test_a_collection_of_handles_is_refused() -> None:
    assert "gets a list with handles in it" in refusal(lambda _: untyped([fit([1])]))
    assert "gets a dict with handles in it" in refusal(lambda _: untyped({"a": (fit([1]),)}))


def test_when_needs_a_bool_output_of_a_step() -> None:
    def with_constant(day: Any) -> None:
        with when(1 > 0):
            publish("x")

    def with_text(day: Any) -> None:
        with when(judge("x").verdict):
            publish("x")

    def with_interval(day: Any) -> None:
        with when(day):
            publish("x")

    assert "when(True) in pipeline daily is decided before any run" in refusal(with_constant)
    assert "when(…) needs a bool, but output verdict of step judge is str" in refusal(with_text)
    assert "when(…) needs a bool, but the interval day is Interval" in refusal(with_interval)


def test_when_must_open_a_block() -> None:
    def statement(day: Any) -> None:
        when(judge("x").passed)
        publish("x")

    def condition(day: Any) -> None:
        if when(judge("x").passed):
            publish("x")

    def statement_and_block(day: Any) -> None:
        passed = judge("x").passed
        when(passed)
        with when(passed):
            publish("x")

    assert "write `with when(…):` around its steps" in refusal(statement)
    assert "write `with when(…):` around its steps" in refusal(statement_and_block)
    assert "write `with when(…):` instead of `if`" in refusal(condition)
    with pytest.raises(DefinitionError, match="outside of one, use a plain `if`"):
        when(True)


def test_run_after_takes_results_only_and_shows_a_cycle() -> None:
    def cycle(day: Any) -> None:
        model = fit([1])
        run_after(model, judge(model))

    assert "give it only what step calls returned" in refusal(lambda _: run_after(fit([1]), "judge"))
    assert "give it only what step calls returned" in refusal(lambda day: run_after(fit([1]), day))
    assert "fit → judge → fit" in refusal(cycle)
    with pytest.raises(DefinitionError, match="call the steps in that order"):
        run_after(1, 2)


def test_a_pipeline_calls_steps_only_and_is_run_by_podium() -> None:
    inner = traced(lambda _: publish("x"))
    assert "pipeline daily calls pipeline daily; a pipeline calls steps only" in refusal(lambda day: inner(day))
    with pytest.raises(DefinitionError, match="podium run daily --for INTERVAL"):
        inner()


def test_a_pipeline_without_steps_is_refused() -> None:
    assert "daily calls no step" in refusal(lambda _: None)


NOT_A_TYPE: Any = 3
NO_TUPLE: Any = "numpy"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"retries": -1}, "step f: retries=-1 is no count"),
        ({"retries": True}, "retries=True is no count"),
        ({"memory": "2 potatoes"}, "memory='2 potatoes' is no size; give bytes, or text as '512MiB'"),
        ({"memory": 0}, "memory=0 is no size"),
        ({"cpu": 0}, "step f: cpu=0 is no number of cores"),
        ({"cpu": float("nan")}, "cpu=nan is no number of cores"),
        ({"gpu": 0.5}, "gpu=0.5 is no count"),
        ({"timeout": "soon"}, "timeout='soon' is no duration; give seconds, or text as '90s'"),
        ({"timeout": "0s"}, "timeout='0s' is no duration"),
        ({"cache": "yes"}, "cache='yes' is neither True nor False"),
        ({"tags": "nightly"}, "tags='nightly' is no list of texts"),
        ({"tags": 3}, "tags=3 is no list of texts"),
        ({"retry": 3}, "'retry' is no option; did you mean retries?"),
        ({"retries": Retry(-1)}, "limit=-1 is no count"),
        ({"retries": Retry(1, delay="soon")}, "delay='soon' is no duration"),
        ({"retries": Retry(1, longest=0)}, "longest=0 is no duration"),
        ({"retries": Retry(1, factor=0.5)}, "factor=0.5 of Retry is no number from 1 on"),
        ({"retries": Retry(1, jitter=2)}, "jitter=2 of Retry is no share from 0 to 1"),
        ({"retries": Retry(1, on=NOT_A_TYPE)}, "on=3 of Retry is neither exception types nor a function"),
        ({"retries": Retry(1, on=(OSError, NOT_A_TYPE))}, "of Retry holds what is no exception type"),
        ({"retries": Retry(1, give_up_on=NOT_A_TYPE)}, "of Retry holds what is no exception type"),
        ({"cache": "7d"}, "cache='7d' is neither True nor False nor a Cache(ttl=…, environment=…)"),
        ({"cache": Cache(ttl="never")}, "ttl='never' is no duration"),
        ({"cache": Cache(environment=NO_TUPLE)}, "environment='numpy' is no list of texts"),
        ({"run_if": "sometimes"}, "run_if='sometimes' is not one of all_succeeded, any_succeeded, none_failed, always"),
        ({"pool": "a b"}, "pool='a b' is no name"),
        ({"labels": "gpu"}, "labels='gpu' is no list of texts"),
        ({"labels": ["a b"]}, "labels='a b' is no name"),
    ],
)
def test_a_wrong_step_option_is_refused_at_definition(options: dict[str, Any], words: str) -> None:
    def f() -> None:
        pass

    with pytest.raises(DefinitionError) as caught:
        step(**options)(f)
    assert words in str(caught.value)
    assert "test_misuse.py:" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"team": ""}, "pipeline p: team is not given, so its cost would have no owner"),
        ({"team": None, "model": None}, "model and team are not given"),
        ({"model": "a/b"}, "model='a/b' is no name"),
        ({"grain": "fortnight"}, "grain='fortnight' is not one of hour, day, week, month, year"),
        ({"schedule": "daily"}, "schedule='daily' is no schedule: it has not the five fields of cron"),
        ({"schedule": "0 25 * * *"}, "schedule='0 25 * * *' is no schedule: cron cannot read its hour"),
        ({"schedule": "0 0 30 2 *"}, "schedule='0 0 30 2 *' is no schedule: cron cannot read its day-of-month"),
        ({"schedule": 5}, "schedule=5 is neither five fields of cron, as '0 6 1 * *', nor a Schedule(…)"),
        ({"schedule": Schedule()}, "takes either cron='0 6 1 * *' or every='6h'"),
        ({"schedule": Schedule("0 6 * * *", every="6h")}, "takes either cron='0 6 1 * *' or every='6h'"),
        ({"schedule": Schedule(every="0.5s")}, "every='0.5s' of Schedule is no whole number of seconds"),
        ({"schedule": Schedule(every=math.nan)}, "every=nan is no duration"),
        ({"schedule": Schedule("0 6 * * *", delay="9000000d")}, "delay='9000000d' of Schedule is more than 366 days"),
        ({"schedule": Schedule("0 6 * * *", jitter="367d")}, "jitter='367d' of Schedule is more than 366 days"),
        ({"schedule": Schedule(every="400d")}, "every='400d' of Schedule is more than 366 days"),
        ({"schedule": Schedule(every="5000000d")}, "every='5000000d' of Schedule is more than 366 days"),
        ({"schedule": Schedule("0 6 * * *", delay="soon")}, "delay='soon' is no duration"),
        (
            {"schedule": UntypedSchedule("0 6 * * *", missed="some")},
            "missed='some' of Schedule is not one of skip, last, all",
        ),
        ({"schedule": Schedule("0 6 * * *", missed_limit=0)}, "missed_limit=0 of Schedule is no whole number from 1"),
        ({"schedule": Schedule("* * * * *", missed_limit=1001)}, "missed_limit=1001 of Schedule is no whole number"),
        ({"schedule": UntypedSchedule("0 6 * * *", exclude="sun")}, "exclude='sun' is no list of texts"),
        ({"schedule": Schedule("0 6 * * *", exclude=("sonntag",))}, "'sonntag' names no days; write sat, 12-25"),
        ({"schedule": Schedule("0 6 * * *", exclude=("02-30",))}, "'02-30' is no day of a year"),
        ({"schedule": Schedule("0 6 * * *", exclude=("holidays:ZZ",))}, "the package holidays knows none of ZZ"),
        ({"schedule": Schedule("0 6 * * sun", exclude=("sun",))}, "never fires on a day that exclude=('sun',) leaves"),
        ({"timezone": "New York"}, "timezone='New York' is no time zone"),
        ({"timezone": 3}, "timezone=3 is no time zone"),
        ({"cron": "* * * * *"}, "'cron' is no option"),
        ({"priority": 0.5}, "priority=0.5 is no whole number from -1000 to 1000"),
        ({"priority": 1001}, "priority=1001 is no whole number"),
        ({"deadline": "soon"}, "deadline='soon' is no duration"),
    ],
)
def test_a_wrong_pipeline_option_is_refused_at_definition(options: dict[str, Any], words: str) -> None:
    def p(day: Interval) -> None:
        pass

    with pytest.raises(DefinitionError) as caught:
        pipeline(**{"model": "m", "team": "t", "environment": "prod", **options})(p)
    assert words in str(caught.value)


def test_a_pipeline_without_owner_tags_is_refused() -> None:
    with pytest.raises(DefinitionError, match="model and team and environment are not given"):

        @pipeline
        def p(day: Interval) -> None:
            pass


def test_only_named_functions_with_named_parameters_are_steps() -> None:
    async def later() -> None:
        pass

    def many(*frames: int) -> None:
        pass

    def positional(frame: int, /) -> None:
        pass

    for function, words in (
        (later, "later is async or yields"),
        (many, r"many takes \*frames: int, which has no name"),
        (positional, "positional takes frame: int, which has no name"),
        (lambda: 1, "'<lambda>' cannot name a step"),
        (Evidence, "is for functions, and .* is none"),
    ):
        with pytest.raises(DefinitionError, match=words):
            step(function)
    with pytest.raises(DefinitionError, match="'fit it' cannot name a step"):
        fit.named("fit it")


def test_the_interval_comes_first_and_parameters_are_plain() -> None:
    owners = {"model": "m", "team": "t", "environment": "prod"}

    def without() -> None:
        publish("x")

    def of_text(day: str) -> None:
        publish("x")

    def with_object(day: Interval, policy: Evidence) -> None:
        publish("x")

    def with_wrong_default(day: Interval, depth: int = "deep") -> None:  # type: ignore[assignment]  # what is tested
        publish("x")

    for function, words in (
        (without, "without takes no interval"),
        (of_text, "its first parameter, day, is the run's interval"),
        (with_object, "parameter policy: .*Evidence cannot be given to a run"),
        (with_wrong_default, "parameter depth is int, but its default is 'deep'"),
    ):
        with pytest.raises(DefinitionError, match=words):
            trace(untyped_pipeline(**owners)(function))
