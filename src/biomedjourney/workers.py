"""Processes and threads: the one place that decides how many of each."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

LIBRARIES = ("OMP", "OPENBLAS", "MKL")


def limit_threads(threads: int) -> None:
    """Gives this process and its children ``threads`` threads each; call it before numpy or torch do any work.

    Two processes with two threads each on two cores spin against each other and slow down tenfold.
    """
    for library in LIBRARIES:
        os.environ[f"{library}_NUM_THREADS"] = str(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


def map_ordered(work: Callable[[T], R], items: Iterable[T], processes: int, chunk: int = 1) -> Iterator[R]:
    """Maps ``work`` over ``items`` in ``processes`` single-threaded processes, in order, with bounded memory.

    At most ``4 * processes`` chunks of ``chunk`` items are under way at any time, so that neither the items nor
    the results pile up. With one process the work is done in this one. ``work`` must be importable (a function
    at the top of a module, or a ``functools.partial`` of one).
    """
    limit_threads(1)
    if processes <= 1:
        yield from map(work, items)
        return
    source = iter(items)
    with ProcessPoolExecutor(processes, mp_context=get_context("forkserver")) as pool:
        pending = []
        while batch := list(islice(source, chunk)):
            pending.append(pool.submit(_map_chunk, work, batch))
            if len(pending) >= 4 * processes:
                yield from pending.pop(0).result()
        for future in pending:
            yield from future.result()


def _map_chunk(work: Callable[[T], R], batch: list[T]) -> list[R]:
    return [work(item) for item in batch]
