"""Progress of long work: a bar in a terminal, a line every few seconds in a log file."""

import sys
from collections.abc import Iterable, Iterator, Sized
from typing import Any, TypeVar

from tqdm import tqdm

T = TypeVar("T")

SECONDS_BETWEEN_LINES = 10.0


class _Lines:
    """A stream that writes each state of tqdm's bar on a line of its own."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def write(self, text: str) -> None:
        text = text.strip("\r\n ")
        if text:
            self.stream.write(text + "\n")

    def flush(self) -> None:
        self.stream.flush()


def bar(total: int | None, title: str, unit: str = "it", done: int = 0, shown: bool = True) -> tqdm:
    """A tqdm bar on standard error. ``update(n)`` advances it, ``close()`` prints the last line.

    ``done``: how much of the total was done before; speed and time left are those of the rest.
    """
    if not shown or sys.stderr.isatty():
        return tqdm(total=total, initial=done, desc=title, unit=unit, dynamic_ncols=True, disable=not shown)
    return tqdm(
        total=total,
        initial=done,
        desc=title,
        unit=unit,
        file=_Lines(sys.stderr),
        mininterval=SECONDS_BETWEEN_LINES,
        maxinterval=SECONDS_BETWEEN_LINES,
        bar_format="{desc}: {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}{postfix}]",
    )


def track(items: Iterable[T], title: str, total: int | None = None, unit: str = "it") -> Iterator[T]:
    """Yields the items and shows the progress."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    with bar(total, title, unit) as progress_bar:
        for item in items:
            yield item
            progress_bar.update()
