"""Processes and threads: the one place that decides how many of each.

`joblib.Parallel` does not take the pool's place: its generator of results takes items as workers become free, not as
results are used, so that memory is unbounded where the reader of the results is slower than the workers.
"""

import ctypes
import os
import pickle
import signal
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from datetime import timedelta
from itertools import islice
from multiprocessing import connection, get_context, parent_process
from multiprocessing.synchronize import Event
from threading import Thread
from typing import TypeVar

from biomedjourney.errors import MORE_MEMORY, UserError, brief

T = TypeVar("T")
R = TypeVar("R")

LIBRARIES = ("OMP", "OPENBLAS", "MKL")
PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux's prctl
CHUNKS_PER_PROCESS = 4  # one is worked on, the others wait: enough that no process waits while results are used


def limit_threads(threads: int) -> None:
    """Gives this process and its children ``threads`` threads each; call it before numpy or torch do any work.

    Two processes with two threads each on two cores spin against each other and slow down tenfold.
    """
    for library in LIBRARIES:
        os.environ[f"{library}_NUM_THREADS"] = str(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


def is_first_to_fail() -> bool:
    """Whether no other process of the same launch has failed before, so that one of them tells the reason.

    Processes that torchrun or accelerate started ask the store of their launcher; others are alone.
    """
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True" or os.environ["WORLD_SIZE"] == "1":
        return True
    from torch.distributed import TCPStore

    own = os.environ["RANK"]
    try:
        store = TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), timeout=timedelta(seconds=5))
        return store.compare_set("biomedjourney/failed", "", own) == own.encode()
    except RuntimeError:  # the launcher has ended
        return True


def map_ordered(work: Callable[[T], R], items: Iterable[T], processes: int, chunk: int = 1) -> Generator[R, None, None]:
    """Maps ``work`` over ``items`` in ``processes`` single-threaded processes, in order, with bounded memory.

    At most ``4 * processes`` chunks of ``chunk`` items are under way at any time, so that neither the items nor
    the results pile up. With one process the work is done in this one. ``work`` must be importable (a function
    at the top of a module, or a ``functools.partial`` of one).

    An exception of ``work`` ends it all: each process finishes the item at hand and no other. A caller that may stop
    before the last result closes the iterator (`contextlib.closing`), with the same effect. The processes end with
    this one, however it ends. Raises UserError where the system kills one of them.
    """
    limit_threads(1)
    if processes <= 1:
        yield from map(work, items)
        return
    context = get_context("forkserver")
    stop = context.Event()
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_start_child, initargs=(stop,))
    source = iter(items)
    pending: deque[Future[list[R]]] = deque()
    try:
        while batch := list(islice(source, chunk)):
            pending.append(pool.submit(_map_chunk, work, batch))
            if len(pending) >= CHUNKS_PER_PROCESS * processes:
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()
    except BrokenProcessPool as error:
        if error.__cause__ is not None:
            raise
        raise UserError(
            f"a process of this step ended abruptly, most likely killed for want of memory: {MORE_MEMORY} "
            "or fewer processes (resources.VERB.threads)"
        ) from error
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


def end_with_launcher() -> None:
    """Lets the system send this process SIGTERM when its parent ends, even by a signal that leaves the parent no time.

    Otherwise the processes of a training job, which `accelerate launch` starts, would go on alone on GPUs that the next
    job takes for free, and write the checkpoints that it writes.
    """
    ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, signal.SIGTERM)


_stop: Event


def _start_child(stop: Event) -> None:
    global _stop
    _stop = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent alone ends the work
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Ends this process when its parent ends, even by a signal that leaves the parent no time to say so."""
    parent = parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)


def _map_chunk(work: Callable[[T], R], batch: list[T]) -> list[R]:
    results = []
    for item in batch:
        if _stop.is_set():
            break  # nobody reads these results any more
        try:
            results.append(work(item))
        except Exception as error:
            _check_that_it_travels(error)
            raise
    return results


def _check_that_it_travels(error: Exception) -> None:
    """Raises RuntimeError, with the same text, for an exception that the other process could not rebuild.

    The pool would say instead that it is broken, and lose the traceback.
    """
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301, of this process
    except Exception:
        raise RuntimeError(brief(error)) from error
