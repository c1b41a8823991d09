"""When the next request may be sent: rate limits, and what a server that is busy says of them."""

import asyncio
import email.utils
import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import click
import pandas as pd

NOTED_WAIT = 30.0  # seconds
LONGEST_ASKED = 86_400.0  # seconds; no quota takes longer than a day to come back
FIRST_EPOCH = 1e9  # a larger number is a time since 1970 (of 2001 or later), in seconds or milliseconds


class Pace:
    """Spaces requests by the rate limits, and holds all of them back when the server asks to wait."""

    def __init__(self, settings: dict[str, Any], clock: Callable[[], float] = time.monotonic) -> None:
        self.request = 60.0 / settings["requests_per_minute"]  # seconds
        self.token = 60.0 / settings["tokens_per_minute"]
        self.clock = clock
        self.next = self.closed_until = 0.0

    async def turn(self, size: int) -> None:
        """Returns when a request of ``size`` tokens may be sent."""
        while True:
            start = max(self.next, self.closed_until, self.clock())
            self.next = start + max(self.request, size * self.token)
            while (seconds := start - self.clock()) > 0:
                await asyncio.sleep(seconds)
            if start >= self.closed_until:  # else the server has asked to wait meanwhile: all take their turns anew
                return

    def close(self, seconds: float) -> None:
        """Sends nothing for so long. Says so where a user would wonder."""
        until = self.clock() + seconds
        if seconds >= NOTED_WAIT and until > self.closed_until + 1.0:
            click.echo(f"rewrite: the server asks to wait {seconds:.0f} s", err=True)
        self.closed_until = max(self.closed_until, until)


def asked_wait(status: int, headers: Mapping[str, str], size: int) -> float:
    """How many seconds a server that refused a request of ``size`` tokens asks to wait, 0 where it does not ask.

    The names of ``headers`` are in lower case. ``Retry-After`` counts first. Without it a 429 is explained by the times
    at which quotas are full again (``x-ratelimit-reset-requests``, ``x-ratelimit-reset-tokens`` and their like under
    other names): the longest of those whose rest is too small for the request, or, where no rest is told or each would
    do, the longest of all.
    """
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        if name in headers and (seconds := _seconds(headers[name], unit)) is not None:
            return seconds
    if status != 429:
        return 0.0
    resets: list[tuple[bool, float]] = []
    for name, value in headers.items():
        if "ratelimit" in name.replace("-", "") and "reset" in name and (seconds := _seconds(value)) is not None:
            needed, is_short = (size if "token" in name else 1), False
            with suppress(KeyError, ValueError):
                is_short = float(headers[name.replace("reset", "remaining")]) < needed
            resets.append((is_short, seconds))
    return max(resets, default=(False, 0.0))[1]


def _seconds(text: str, unit: float = 1.0) -> float | None:
    """The seconds from now in a header, None where it says no time that can be waited for.

    It may be a number of ``unit`` seconds, a number of seconds or milliseconds since 1970, a duration ("6m0s", "120ms",
    "PT20S"), a date of HTTP or one of ISO 8601.
    """
    text = text.strip()
    seconds = math.nan
    with suppress(ValueError):
        seconds = float(text) * unit
        for since_1970 in (seconds, seconds / 1000):
            if FIRST_EPOCH < since_1970 < FIRST_EPOCH * 10:
                seconds = since_1970 - time.time()
    if math.isnan(seconds):
        with suppress(ValueError):
            seconds = pd.Timedelta(text if text[:1] == "P" else text.lower().replace("d", "D")).total_seconds()
    for read_date in (datetime.fromisoformat, email.utils.parsedate_to_datetime):
        if math.isnan(seconds):
            with suppress(ValueError):
                date = read_date(text)
                seconds = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - time.time()
    return max(0.0, seconds) if seconds <= LONGEST_ASKED else None
