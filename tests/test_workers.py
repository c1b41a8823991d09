import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest

from biomedjourney import workers
from biomedjourney.errors import UserError


def square(x: int) -> int:
    return x * x


def threads_here(_: int) -> str:
    return os.environ["OMP_NUM_THREADS"]


def slow_square(x: int) -> int:
    time.sleep(0.1)
    return x * x


def square_slow_but_for_zero(x: int) -> int:
    time.sleep(3 if x else 0)
    return x * x


def end(how: str) -> str:
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "refused":
        raise UserError("row 3: not a number: correct it")
    return how


class NeedsTwo(Exception):
    """An exception that pickle cannot rebuild."""

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(f"{place}: {reason}")


def fail_oddly(how: str) -> None:
    class Local(Exception):
        pass

    raise NeedsTwo("row 3", "a reason ☺") if how == "two arguments" else Local("a reason ☺")


CHUNK = 200


def traced_square(folder: Path, fails_at: int | None, x: int) -> int:
    """Leaves a file for each item; a chunk of items takes 20 seconds, but for the first chunk."""
    (folder / str(x)).touch()
    if x == fails_at:
        error = ZeroDivisionError(f"item {x}")
        error.add_note(f"the note of item {x}")
        raise error
    time.sleep(0.1 if x >= CHUNK else 0)
    return x * x


@pytest.mark.parametrize(("how", "name"), [("two arguments", "NeedsTwo: row 3"), ("local", "Local")])
def test_an_exception_that_cannot_be_passed_on_keeps_its_text_and_its_traceback(how: str, name: str) -> None:
    with pytest.raises(RuntimeError, match=f"^{name}: a reason ☺$") as raised:
        list(workers.map_ordered(fail_oddly, [how], 2))
    assert "in fail_oddly" in str(raised.value.__cause__)


def test_a_process_of_a_launcher_ends_with_it(tmp_path: Path) -> None:
    """It gets SIGTERM, on which training saves a checkpoint, although nobody can tell it of its launcher's end."""
    rank = (
        "import os, signal\n"
        "from biomedjourney.cli import commands\n"
        "signal.signal(signal.SIGTERM, lambda number, frame: (print('saved', flush=True), os._exit(75)))\n"
        "commands(['inspect', '--help'], standalone_mode=False)\n"
        "print('ready', flush=True)\n"
        "signal.pause()"
    )
    launcher = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {rank!r}], start_new_session=True)"
    environment = os.environ | {"LOCAL_RANK": "0"}
    with subprocess.Popen([sys.executable, "-c", launcher], stdout=subprocess.PIPE, text=True, env=environment) as job:
        assert job.stdout is not None
        lines = iter(job.stdout.readline, "ready\n")
        assert any("Usage" in line for line in lines)
        list(lines)
        job.send_signal(signal.SIGKILL)
        assert job.communicate(timeout=30)[0] == "saved\n"


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
    """In a new process: the server that forks the children keeps the variables of its start."""
    code = (
        "from biomedjourney import workers; from tests.test_workers import threads_here\n"
        "print(*workers.map_ordered(threads_here, range(4), processes=2))\n"
    )
    variables = os.environ | {"OMP_NUM_THREADS": "7"}
    result = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=True)
    assert result.stdout == "1 1 1 1\n"


def test_an_exception_comes_with_its_note_and_ends_the_work_at_once(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError, match="item 3") as caught:
        list(workers.map_ordered(partial(traced_square, tmp_path, 3), range(10_000), processes=2, chunk=CHUNK))
    assert caught.value.__notes__ == ["the note of item 3"]
    assert len(list(tmp_path.iterdir())) < CHUNK, "the chunk in the other process was worked through"


@pytest.mark.parametrize(
    ("how", "said"),
    [("killed", r"ended abruptly.*more memory"), ("refused", "^row 3: not a number: correct it$")],
)
def test_a_killed_process_and_a_mistake_of_the_user_are_one_line(how: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        list(workers.map_ordered(end, ["well"] * 20 + [how] + ["well"] * 20, processes=2))


def test_an_iterator_that_is_closed_ends_the_work_at_once(tmp_path: Path) -> None:
    others = psutil.Process().children(recursive=True)  # of other tests in this process
    results = workers.map_ordered(partial(traced_square, tmp_path, None), range(10_000), processes=2, chunk=CHUNK)
    assert next(results) == 0
    descendants = [process for process in psutil.Process().children(recursive=True) if process not in others]
    children = [process for process in descendants if process.ppid() != os.getpid()]  # of the server that forks them
    assert len(children) >= 2
    results.close()
    assert len(list(tmp_path.iterdir())) < 2 * CHUNK, "a chunk after the first one was worked through"
    assert psutil.wait_procs(children, timeout=5)[1] == []


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_no_process_outlives_the_parent(name: str) -> None:
    code = (
        "from biomedjourney import workers; from tests.test_workers import slow_square\n"
        "for result in workers.map_ordered(slow_square, range(10_000), processes=2, chunk=10):\n"
        "    print(result, flush=True)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    assert parent.stdout.readline() == "0\n"
    children = psutil.Process(parent.pid).children(recursive=True)
    assert len(children) >= 3  # the server and two workers
    parent.send_signal(getattr(signal, name))
    _, alive = psutil.wait_procs(children, timeout=10)
    for child in alive:
        child.kill()
    assert alive == []
    parent.communicate(timeout=10)


def test_ctrl_c_which_reaches_idle_and_busy_children_too_is_told_once() -> None:
    code = (
        "from biomedjourney import workers; from tests.test_workers import square_slow_but_for_zero\n"
        "for result in workers.map_ordered(square_slow_but_for_zero, range(2), processes=2):\n"
        "    print(result, flush=True)\n"
    )
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    parent = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, **pipes)
    assert parent.stdout is not None
    assert parent.stdout.readline() == "0\n"
    os.killpg(parent.pid, signal.SIGINT)
    _, errors = parent.communicate(timeout=20)
    assert errors.count("Traceback") == 1
    assert errors.endswith("KeyboardInterrupt\n")
