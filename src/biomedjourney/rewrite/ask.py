"""Asking a language model: paced, retried, paid for once."""

import asyncio
import email.utils
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from biomedjourney.errors import UserError
from biomedjourney.rewrite import prompt
from biomedjourney.rewrite.cache import Cache, key

CHARACTERS_PER_TOKEN = 3.5  # English has about 4 in the usual tokenizers: an estimate shall not be too cheap
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0  # seconds, doubled from one attempt to the next
FATAL = (401, 403, 404)
TEMPERATURE = 0.0


class Failed(Exception):
    """A request that no attempt brought to an answer; the message says why, without any text of a report."""


def tokens(messages: list[prompt.Message]) -> int:
    """An estimate of the tokens in messages."""
    return round(sum(len(message["content"]) + 16 for message in messages) / CHARACTERS_PER_TOKEN)


def dollars(settings: dict[str, Any], read: float, written: float) -> float:
    """The price of tokens read and written, at the configured rates."""
    return (read * settings["price"]["input"] + written * settings["price"]["output"]) / 1e6


@dataclass
class Spent:
    """What the requests of this run have cost so far."""

    requests: int = 0
    dollars: float = 0.0
    under_way: int = 0
    reserved: float = 0.0  # the most that those under way can cost


class Pace:
    """Spaces requests by the rate limits, and holds all of them back while the server asks for it."""

    def __init__(self, settings: dict[str, Any], clock: Callable[[], float] = time.monotonic) -> None:
        self.request = 60.0 / settings["requests_per_minute"]
        self.token = 60.0 / settings["tokens_per_minute"]
        self.clock = clock
        self.next = self.closed_until = 0.0

    async def turn(self, size: int) -> None:
        """Returns when a request of so many tokens may be sent."""
        mine = max(self.next, self.clock())
        self.next = mine + max(self.request, size * self.token)
        while (left := max(mine, self.closed_until) - self.clock()) > 0:
            await asyncio.sleep(left)

    def close(self, seconds: float) -> None:
        self.closed_until = max(self.closed_until, self.clock() + seconds)


class Asker:
    """Answers from the cache, or else from the endpoint, and then into the cache."""

    def __init__(self, settings: dict[str, Any], seed: int, client: Any, cache: Cache, *, private: bool) -> None:
        self.settings, self.client, self.cache = settings, client, cache
        self.parameters: dict[str, Any] = {
            "model": settings["model"],
            "temperature": TEMPERATURE,
            "seed": seed,
            "max_tokens": settings["max_tokens"],
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "progression", "strict": True, "schema": prompt.SCHEMA},
            },
        }
        # public endpoints are told to keep nothing; other servers may not know the parameter
        self.extra = {} if private else {"store": False}
        self.pace, self.spent = Pace(settings), Spent()
        self._under_way: dict[str, asyncio.Task[dict[str, Any]]] = {}

    def key(self, messages: list[prompt.Message]) -> str:
        """Of model, parameters, schema, prompt and texts; not of the address, which changes from job to job."""
        return key(self.parameters, messages)

    async def ask(self, messages: list[prompt.Message]) -> dict[str, Any]:
        """The answer: text, finish_reason, refusal and model. Equal messages are asked once.

        Raises Failed where the server gave none, and UserError where it is no use to go on.
        """
        name = self.key(messages)
        if name in self._under_way:
            return await asyncio.shield(self._under_way[name])
        if (known := self.cache.get(name)) is not None:
            return known
        task = self._under_way[name] = asyncio.ensure_future(self._attempts(name, messages))
        try:
            return await task
        finally:
            self._under_way.pop(name, None)

    async def _attempts(self, name: str, messages: list[prompt.Message]) -> dict[str, Any]:
        wait, reason = FIRST_WAIT, ""
        for attempt in range(self.settings["attempts"]):
            if attempt:
                await asyncio.sleep(wait)
                wait = min(2 * wait, LONGEST_WAIT)
            answer, reason = await self._attempt(messages)
            if answer is not None:
                self.cache.put(name, answer)
                return answer
        raise Failed(reason)

    async def _attempt(self, messages: list[prompt.Message]) -> tuple[dict[str, Any] | None, str]:
        """One request: an answer, or the reason why there is none yet."""
        import openai
        from openai.types.chat import ChatCompletion

        size = tokens(messages)
        await self.pace.turn(size + self.settings["max_tokens"])
        most = dollars(self.settings, size, self.settings["max_tokens"])
        await self._reserve(most)
        cost = 0.0
        try:
            # chat.completions.create would walk through every message by its declared type, for 8 ms of the processor
            body = self.parameters | self.extra | {"messages": messages}
            reply = await self.client.post("/chat/completions", cast_to=ChatCompletion, body=body)
            usage = reply.usage
            cost = dollars(self.settings, usage.prompt_tokens, usage.completion_tokens) if usage else most
            choice = reply.choices[0]
            return {
                "text": choice.message.content or "",
                "finish_reason": choice.finish_reason,
                "refusal": bool(choice.message.refusal),
                "model": reply.model or self.settings["model"],
            }, ""
        except openai.APITimeoutError:
            return None, "no answer within the time limit"
        except openai.APIConnectionError:
            return None, "the connection failed"
        except openai.APIStatusError as error:
            return None, self._status(error)
        except (openai.APIError, ValueError, AttributeError, IndexError, TypeError):
            return None, "the reply was not of the protocol"
        finally:
            self.spent.under_way -= 1
            self.spent.reserved -= most
            self.spent.dollars += cost

    async def _reserve(self, most: float) -> None:
        """Counts a request before it is sent. Raises UserError at a cap, which is never exceeded."""
        largest, spent = self.settings["largest"], self.spent
        while spent.under_way and not _affordable(largest["dollars"], spent, most):
            await asyncio.sleep(0.02)  # those under way will cost less than is set aside for them
        if largest["requests"] is not None and spent.requests >= largest["requests"]:
            raise UserError(
                f"rewrite: the cap of {largest['requests']} requests is reached: what was answered is kept in the "
                "cache; raise rewrite.openai.largest.requests and run the step again"
            )
        if not _affordable(largest["dollars"], spent, most):
            raise UserError(
                f"rewrite: the cap of ${largest['dollars']:g} is reached, ${spent.dollars:.2f} spent: what was "
                "answered is kept in the cache; raise rewrite.openai.largest.dollars and run the step again"
            )
        spent.requests += 1
        spent.under_way += 1
        spent.reserved += most

    def _status(self, error: Any) -> str:
        """Why the server refused. Raises UserError for what no repetition mends, Failed for this request alone."""
        status = error.status_code
        if status in FATAL or 300 <= status < 400 or error.code == "insufficient_quota":
            means = {
                401: "the key is wrong",
                403: "the key may not do this",
                404: "model or address are not known there",
            }
            raise UserError(
                f"rewrite: the endpoint answered {status} ({means.get(status, error.code or 'it points elsewhere')}): "
                "check rewrite.openai.base_url, rewrite.openai.model and the key"
            ) from None
        if status < 500 and status not in (408, 409, 429):
            raise Failed(f"the server refused the request ({status})") from None
        asked_to_wait = _retry_after(error.response.headers)
        if asked_to_wait:
            self.pace.close(asked_to_wait)
        return f"the server answered {status}"


def _affordable(cap: float | None, spent: Spent, most: float) -> bool:
    return cap is None or spent.dollars + spent.reserved + most <= cap


def _retry_after(headers: Any) -> float:
    """The seconds that a server asks to be left alone, 0 where it does not say."""
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        with suppress(ValueError):
            return max(0.0, float(value) * unit)
        with suppress(ValueError):
            return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    return 0.0
