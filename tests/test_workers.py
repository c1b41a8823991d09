import os

from biomedjourney import workers


def square(x: int) -> int:
    return x * x


def threads_here(_: int) -> str:
    return os.environ["OMP_NUM_THREADS"]


def test_order_is_kept_whatever_the_number_of_processes() -> None:
    expected = [x * x for x in range(57)]
    for processes, chunk in ((1, 1), (2, 1), (2, 7)):
        assert list(workers.map_ordered(square, range(57), processes, chunk)) == expected


def test_items_are_taken_as_the_results_are_used() -> None:
    taken = []

    def items():
        for i in range(1000):
            taken.append(i)
            yield i

    results = workers.map_ordered(square, items(), processes=2, chunk=2)
    next(results)
    assert len(taken) <= 4 * 2 * 2 + 2


def test_children_have_one_thread_each() -> None:
    assert set(workers.map_ordered(threads_here, range(4), processes=2)) == {"1"}
