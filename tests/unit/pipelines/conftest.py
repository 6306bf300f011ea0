"""Fits of these tests take one thread each: OpenMP threads that spin while they wait starve the tests beside them."""

from collections.abc import Iterator

import pytest
import threadpoolctl


@pytest.fixture(scope="session", autouse=True)
def _one_thread_a_fit() -> Iterator[None]:
    with threadpoolctl.threadpool_limits(1):
        yield
