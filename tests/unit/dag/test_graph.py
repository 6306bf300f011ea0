"""Orders and cycles of graphs."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.dag.graph import CycleError, reachable, topological_order

numbers = st.integers(0, 7)
edges = st.sets(st.tuples(numbers, numbers), max_size=20)


def graph_of(pairs: set[tuple[int, int]]) -> dict[str, list[str]]:
    return {str(node): sorted(str(first) for first, second in pairs if second == node) for node in range(8)}


def cycle_in(graph: dict[str, list[str]]) -> tuple[str, ...]:
    try:
        topological_order(graph)
    except CycleError as error:
        return error.path
    return ()


@given(edges)
def test_an_order_puts_everything_after_what_it_depends_on_or_shows_a_real_cycle(
    pairs: set[tuple[int, int]],
) -> None:
    graph = graph_of(pairs)
    cycle = cycle_in(graph)
    if cycle:
        assert cycle[0] == cycle[-1]
        assert len(cycle) > 1
        assert all(earlier in graph[later] for earlier, later in pairwise(cycle))
    else:
        order = topological_order(graph)
        assert sorted(order) == sorted(graph)
        assert all(order.index(first) < order.index(node) for node, needed in graph.items() for first in needed)


@given(edges)
def test_an_order_that_works_is_kept(pairs: set[tuple[int, int]]) -> None:
    graph = graph_of({(first, second) for first, second in pairs if first < second})
    assert topological_order(graph) == tuple(graph)


def test_a_long_chain_needs_no_recursion() -> None:
    chain: dict[str, list[str]] = {str(number): [str(number + 1)] for number in range(5_000)}
    chain["5000"] = []
    assert topological_order(chain)[0] == "5000"
    assert len(reachable("0", chain)) == 5_000


def test_a_step_that_waits_for_itself_is_a_cycle() -> None:
    with pytest.raises(CycleError, match="a → a"):
        topological_order({"a": ["a"]})
