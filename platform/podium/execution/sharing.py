"""How a worker's free slots are shared among the runs that could use them; pure."""

import heapq
from collections.abc import Mapping


def shares(free: int, held: Mapping[str, int], claimable: Mapping[str, int]) -> dict[str, int]:
    """Return how many step runs of each run to claim now, for `free` slots in all.

    `held` is how many slots each run has now, `claimable` how many step runs of each could start, the oldest run
    first. Each slot goes to the run that has the fewest, among equals to the oldest: old runs come to their end
    first, and however wide a run is, another one gets the next slot that is free.

    >>> shares(3, {"wide": 1}, {"wide": 100, "narrow": 1})
    {'wide': 2, 'narrow': 1}
    >>> shares(1, {"wide": 1}, {"wide": 100, "narrow": 1})
    {'narrow': 1}
    """
    given: dict[str, int] = {}
    queue = [(held.get(run_id, 0), age, run_id) for age, run_id in enumerate(claimable) if claimable[run_id] > 0]
    heapq.heapify(queue)
    for _ in range(free):
        if not queue:
            break
        slots, age, run_id = heapq.heappop(queue)
        given[run_id] = given.get(run_id, 0) + 1
        if given[run_id] < claimable[run_id]:
            heapq.heappush(queue, (slots + 1, age, run_id))
    return {run_id: given[run_id] for run_id in claimable if run_id in given}
