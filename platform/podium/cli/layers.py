"""A graph laid out in layers from left to right, each step behind the deepest it waits for; pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

_SWEEPS = 3


@dataclass(frozen=True)
class Layout:
    """Where steps stand and edges pass: (layer, height within the layer), heights spread evenly around 0.

    `edges` are the points that each edge passes, both of its ends included: one in every layer, so that a long edge
    goes around the steps between.
    """

    steps: Mapping[str, tuple[int, float]]
    edges: Mapping[tuple[str, str], Sequence[tuple[int, float]]]

    @property
    def layers(self) -> int:
        """How many layers there are."""
        return 1 + max((layer for layer, _ in self.steps.values()), default=0)

    @property
    def reach(self) -> float:
        """How far from 0 the outermost step or edge is."""
        points = [*self.steps.values(), *(point for edge in self.edges.values() for point in edge)]
        return max((abs(height) for _, height in points), default=0.0)


def laid_out(dependencies: Mapping[str, Sequence[str]]) -> Layout:
    """Lay out steps given in topological order, each with those it waits for.

    >>> laid_out({"a": [], "b": ["a"], "c": ["a"]}).steps
    {'a': (0, 0.0), 'b': (1, -0.5), 'c': (1, 0.5)}
    """
    depth: dict[str, int] = {}
    for name, before in dependencies.items():
        depth[name] = 1 + max((depth[each] for each in before), default=-1)
    layers: list[list[str]] = [[] for _ in range(1 + max(depth.values(), default=0))]
    for name in dependencies:
        layers[depth[name]].append(name)
    chains: dict[tuple[str, str], list[str]] = {}
    for name, before in dependencies.items():
        for each in before:
            passed = [f"{each}→{name}@{layer}" for layer in range(depth[each] + 1, depth[name])]
            for layer, point in enumerate(passed, depth[each] + 1):
                layers[layer].append(point)
            chains[each, name] = [each, *passed, name]
    _untangle(layers, chains.values())
    place = {
        point: (layer, height) for layer, points in enumerate(layers) for point, height in _heights(points).items()
    }
    return Layout(
        {name: place[name] for name in dependencies},
        {edge: [place[point] for point in chain] for edge, chain in chains.items()},
    )


def _untangle(layers: list[list[str]], chains: Iterable[Sequence[str]]) -> None:
    """Sort each layer by where its neighbours stand, forth and back: few edges cross then."""
    left: dict[str, list[str]] = {}
    right: dict[str, list[str]] = {}
    for chain in chains:
        for one, other in pairwise(chain):
            right.setdefault(one, []).append(other)
            left.setdefault(other, []).append(one)
    forth, back = range(1, len(layers)), range(len(layers) - 2, -1, -1)
    for _ in range(_SWEEPS):
        for layer in forth:
            layers[layer] = _sorted(layers[layer], _heights(layers[layer - 1]), left)
        for layer in back:
            layers[layer] = _sorted(layers[layer], _heights(layers[layer + 1]), right)


def _heights(points: Sequence[str]) -> dict[str, float]:
    """Return how far each point of a layer is from its middle."""
    return {point: index - (len(points) - 1) / 2 for index, point in enumerate(points)}


def _sorted(points: Sequence[str], beside: Mapping[str, float], near: Mapping[str, Sequence[str]]) -> list[str]:
    """Return a layer's points by the mean height of their neighbours beside; one without any stays."""
    own = _heights(points)
    wanted = {
        point: sum(beside[each] for each in near[point]) / len(near[point]) if point in near else own[point]
        for point in points
    }
    return sorted(points, key=wanted.__getitem__)
