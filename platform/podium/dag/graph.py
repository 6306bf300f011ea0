"""Orders of a static graph: pure functions of `{name: names it depends on}`."""

from collections.abc import Collection, Mapping


class CycleError(ValueError):
    """The graph has a cycle; `path` walks it and ends where it began."""

    def __init__(self, path: tuple[str, ...]) -> None:
        super().__init__(" → ".join(path))
        self.path = path


def topological_order(dependencies: Mapping[str, Collection[str]]) -> tuple[str, ...]:
    """Return the names, each after all it depends on and else in the order given; CycleError on a cycle.

    >>> topological_order({"register": ["train"], "validate": [], "train": ["validate"]})
    ('validate', 'train', 'register')
    """
    order: dict[str, None] = {}
    for name in dependencies:
        _append(name, dependencies, order)
    return tuple(order)


def reachable(name: str, edges: Mapping[str, Collection[str]]) -> frozenset[str]:
    """Return every name that a walk along `edges` from `name` meets, without `name` itself.

    >>> sorted(reachable("validate", {"validate": ["train"], "train": ["evaluate"], "evaluate": []}))
    ['evaluate', 'train']
    """
    found: set[str] = set()
    ahead = list(edges[name])
    while ahead:
        each = ahead.pop()
        if each not in found:
            found.add(each)
            ahead.extend(edges[each])
    return frozenset(found)


def _append(first: str, dependencies: Mapping[str, Collection[str]], order: dict[str, None]) -> None:
    # Depth first with an own stack: a chain of steps may be longer than Python's recursion limit.
    stack = [(first, iter(dependencies[first]))]
    path = {first: None}
    while stack:
        name, ahead = stack[-1]
        needed = next((each for each in ahead if each not in order), None)
        if needed is None:
            stack.pop()
            del path[name]
            order[name] = None
        elif needed in path:
            walked = list(path)
            cycle = [*walked[walked.index(needed) :], needed]
            raise CycleError(tuple(reversed(cycle)))  # from what runs first to what waits for it
        else:
            path[needed] = None
            stack.append((needed, iter(dependencies[needed])))
