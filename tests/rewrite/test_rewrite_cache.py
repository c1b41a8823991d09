"""The cache of answers: whole after a kill at any moment, and shared by processes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biomedjourney.rewrite.cache import Cache, key

PARTS = st.lists(st.text(max_size=3) | st.integers(0, 3) | st.none(), max_size=3)
LOOP = """
import sys
from biomedjourney.rewrite.cache import Cache, key
cache = Cache(sys.argv[1])
for i in range(100000):
    cache.put(key(i % 50), {"text": str(i % 50) * 20000})
    print(i, flush=True)
"""


@settings(max_examples=100, deadline=None)
@given(PARTS, PARTS)
def test_keys_differ_where_the_parts_differ(a: list[object], b: list[object]) -> None:
    assert (key(*a) == key(*b)) == (json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True))


def test_what_was_put_is_found_again(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "deep" / "cache")
    assert cache.get(key("x")) is None
    cache.put(key("x"), {"text": "ä"})
    cache.put(key("x"), {"text": "ö"})
    assert Cache(tmp_path / "deep" / "cache").get(key("x")) == {"text": "ö"}


@pytest.mark.parametrize("content", [b"", b"{", b"\x00\xff", b"[1]"])
def test_a_damaged_file_counts_as_no_answer(content: bytes, tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.put(key("x"), {"text": "a"})
    (path,) = tmp_path.rglob("*.json")
    path.write_bytes(content)
    assert cache.get(key("x")) is None


def test_killed_writers_leave_whole_answers(tmp_path: Path) -> None:
    """Two processes write the same keys; both are killed again and again at any moment."""
    for moment in (0.0, 0.003, 0.01):
        running = [
            subprocess.Popen(
                [sys.executable, "-c", LOOP, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=os.environ
            )
            for _ in range(2)
        ]
        for process in running:
            assert process.stdout is not None
            process.stdout.readline()
        time.sleep(moment)
        for process in running:
            process.send_signal(signal.SIGKILL)
            process.communicate()
    cache = Cache(tmp_path)
    found = {i: cache.get(key(i)) for i in range(50)}
    assert found[0] is not None
    assert all(answer is None or answer == {"text": str(i) * 20000} for i, answer in found.items())
    assert all(json.loads(path.read_bytes()) for path in tmp_path.rglob("*.json"))
