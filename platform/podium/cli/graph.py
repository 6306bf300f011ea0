"""A run's graph as lines of text."""

from collections.abc import Iterator, Mapping, Sequence

from podium.cli import output
from podium.dag.plan import Plan


def draw(plan: Plan, states: Mapping[str, str], items: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield one line per step, indented below the deepest step it waits for, with state and what it waits for.

    `items` are the states of a mapped step's items; of these their number is told, and how many succeeded.
    """
    depth: dict[str, int] = {}
    for node in plan.steps:
        depth[node.name] = 1 + max((depth[name] for name in node.dependencies), default=-1)
    width = max(2 * depth[node.name] + len(node.name) for node in plan.steps)
    longest = max(map(len, states.values()))
    for node in plan.steps:
        name = "  " * depth[node.name] + node.name
        state = states[node.name]
        conditions = [f"{each.step}.{each.output}" for each in node.conditions]
        asked = {each.step for each in node.conditions}
        after = [dependency for dependency in node.dependencies if dependency not in asked]
        waits = [
            *([f"after {', '.join(after)}"] if after else []),
            *([f"if {' and '.join(conditions)}"] if conditions else []),
            *([f"over {node.over}{_told(items.get(node.name, ()))}"] if node.over is not None else []),
        ]
        gap = " " * (longest - len(state)) if waits else ""
        yield f"{name:<{width}}  {output.state(state)}{gap}" + (f"  [dim]{' '.join(waits)}[/]" if waits else "")


def _told(items: Sequence[str]) -> str:
    return f" ({items.count('succeeded'):,} of {len(items):,} items succeeded)" if items else ""
