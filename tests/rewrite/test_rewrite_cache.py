"""The cache of answers: complete whenever it is read, after a kill too, and shared by processes."""

import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biomedjourney.rewrite.cache import Cache, key

PARTS = st.lists(st.text(max_size=3) | st.integers(0, 3) | st.none(), max_size=3)
LONG = {"text": "x" * 1_000_000}
# a process that writes one answer again and again
WRITER = """
import sys
from biomedjourney.rewrite.cache import Cache, key
while True:
    Cache(sys.argv[1]).put(key("x"), {"text": "x" * 1_000_000})
    print("put", flush=True)
"""
# a process that has written a new answer, and waits to be killed when it is about to give it its name
KILLED_WRITER = """
import os, sys
from biomedjourney.rewrite.cache import Cache, key

def wait(*paths):
    print("written", flush=True)
    sys.stdin.read()

os.replace = wait
Cache(sys.argv[1]).put(key("x"), {"text": "new"})
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


def test_a_killed_writer_leaves_the_answer_before(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.put(key("x"), {"text": "old"})
    program = [sys.executable, "-c", KILLED_WRITER, str(tmp_path)]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "written\n"
        writer.kill()
    assert cache.get(key("x")) == {"text": "old"}
    cache.put(key("x"), {"text": "newer"})
    assert cache.get(key("x")) == {"text": "newer"}


def test_an_answer_is_complete_whenever_it_is_read(tmp_path: Path) -> None:
    """Two processes write it again and again while this one reads it."""
    cache, program = Cache(tmp_path), [sys.executable, "-c", WRITER, str(tmp_path)]
    with ExitStack() as stack:
        for _ in range(2):
            writer = stack.enter_context(subprocess.Popen(program, stdout=subprocess.PIPE, text=True))
            stack.callback(writer.kill)
            assert writer.stdout is not None
            assert writer.stdout.readline() == "put\n"
        assert all(cache.get(key("x")) == LONG for _ in range(200))
