"""A real Ray cluster on this machine: a head that executes nothing, and nodes that can be killed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil

_STORE_BYTES = 80 * 2**20
_MEMORY_BYTES = 4 * 2**30
_NOTICED_SOON = {  # a node that is gone is given up after two seconds, not after half a minute
    "health_check_initial_delay_ms": 500,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 2000,
    "health_check_failure_threshold": 3,
}


class RayCluster:
    """The cluster's address, and nodes to add and to kill."""

    def __init__(self, cluster: Any) -> None:
        self._cluster = cluster
        self.address: str = cluster.address

    def add_node(self, cpu: int, gpu: int = 0) -> Any:
        """Add a node, with so many GPUs that nobody looks at; it is there when this returns."""
        return self._cluster.add_node(
            num_cpus=cpu, num_gpus=gpu, memory=_MEMORY_BYTES, object_store_memory=_STORE_BYTES
        )

    def remove_node(self, node: Any) -> None:
        """Take a node away."""
        self._cluster.remove_node(node, allow_graceful=False)

    def kill_node_of(self, process_id: int) -> None:
        """Kill the node that executes a process: its raylet and everything that Ray runs there, all at once.

        What Podium started there is left to notice it itself.
        """
        raylet = next(each for each in psutil.Process(process_id).parents() if each.name() == "raylet")
        (node,) = [
            node for node in self._cluster.worker_nodes if node.all_processes["raylet"][0].process.pid == raylet.pid
        ]
        for each in (raylet, *raylet.children()):
            each.kill()
        self._cluster.remove_node(node, allow_graceful=False)

    def kill_worker_of(self, process_id: int) -> None:
        """Kill the process of Ray's that a process was started by, and leave the node."""
        next(each for each in psutil.Process(process_id).parents() if each.name().startswith("ray::")).kill()


@contextmanager
def ray_cluster() -> Iterator[RayCluster]:
    """Start a head without cores; everything of the cluster ends with the block."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 0,
            "memory": 0,
            "object_store_memory": _STORE_BYTES,
            "include_dashboard": False,
            "_system_config": _NOTICED_SOON,
        },
    )
    try:
        yield RayCluster(cluster)
    finally:
        cluster.shutdown()
