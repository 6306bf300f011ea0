"""A graph laid out in layers."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from podium.cli.layers import laid_out


def test_a_step_stands_behind_the_deepest_it_waits_for() -> None:
    layout = laid_out({"a": [], "b": ["a"], "c": ["a", "b"]})
    assert {name: layer for name, (layer, _) in layout.steps.items()} == {"a": 0, "b": 1, "c": 2}
    assert layout.layers == 3


def test_a_long_edge_goes_around_the_step_between() -> None:
    layout = laid_out({"a": [], "b": ["a"], "c": ["a", "b"]})
    (first, between, last) = layout.edges["a", "c"]
    assert (first, last) == (layout.steps["a"], layout.steps["c"])
    assert between[0] == 1
    assert abs(between[1] - layout.steps["b"][1]) >= 1


def test_two_chains_side_by_side_do_not_cross() -> None:
    layout = laid_out({"a": [], "b": [], "d": ["b"], "c": ["a"], "f": ["d"], "e": ["c"]})
    above = [layout.steps[one][1] < layout.steps[other][1] for one, other in (("a", "b"), ("c", "d"), ("e", "f"))]
    assert len(set(above)) == 1


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, Sequence[str]]:
    names = [f"s{n}" for n in range(draw(st.integers(1, 12)))]
    return {
        name: draw(st.lists(st.sampled_from(names[:position]), unique=True, max_size=3)) if position else []
        for position, name in enumerate(names)
    }


@given(graphs())
def test_no_step_lies_on_another_or_under_an_edge_that_passes(graph: dict[str, Sequence[str]]) -> None:
    layout = laid_out(graph)
    passing = [point for points in layout.edges.values() for point in points[1:-1]]
    places = [*layout.steps.values(), *passing]
    assert len(set(places)) == len(places)
    for (one, other), points in layout.edges.items():
        assert [layer for layer, _ in points] == list(range(layout.steps[one][0], layout.steps[other][0] + 1))
    assert layout.reach == max(abs(height) for _, height in places)
