"""Asking a language model: requests are paced and tried again, and every answer is kept."""

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

CHARACTERS_PER_TOKEN = 3.5  # English has about 4 in the usual tokenizers: the estimate must not be too low
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0  # seconds, doubled from one attempt to the next
FATAL = (401, 403, 404)
TEMPERATURE = 0.0


class Failed(Exception):
    """No attempt brought an answer. The message says why, and holds no text of a report."""


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
    """Spaces requests by the rate limits, and holds all of them back when the server asks to wait."""

    def __init__(self, settings: dict[str, Any], clock: Callable[[], float] = time.monotonic) -> None:
        self.request = 60.0 / settings["requests_per_minute"]  # seconds
        self.token = 60.0 / settings["tokens_per_minute"]
        self.clock = clock
        self.next = self.closed_until = 0.0

    async def turn(self, size: int) -> None:
        """Returns when a request of ``size`` tokens may be sent."""
        earliest = max(self.next, self.clock())
        self.next = earliest + max(self.request, size * self.token)
        while (seconds := max(earliest, self.closed_until) - self.clock()) > 0:
            await asyncio.sleep(seconds)

    def close(self, seconds: float) -> None:
        self.closed_until = max(self.closed_until, self.clock() + seconds)


class Asker:
    """Takes an answer from the cache; where there is none, asks the endpoint and keeps the answer in the cache."""

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
        self._request_ended = asyncio.Event()

    def key(self, messages: list[prompt.Message]) -> str:
        """Of model, parameters, schema, prompt and texts; not of the address, which changes from job to job."""
        return key(self.parameters, messages)

    async def ask(self, messages: list[prompt.Message]) -> dict[str, Any]:
        """The answer: text, finish_reason, refusal and model. Equal messages are asked once.

        Raises Failed where the server gave no answer, and UserError where other requests would fail too.
        """
        message_key = self.key(messages)
        if message_key in self._under_way:
            return await asyncio.shield(self._under_way[message_key])
        if (cached_answer := self.cache.get(message_key)) is not None:
            return cached_answer
        task = self._under_way[message_key] = asyncio.ensure_future(self._attempts(message_key, messages))
        try:
            return await task
        finally:
            self._under_way.pop(message_key, None)

    async def _attempts(self, message_key: str, messages: list[prompt.Message]) -> dict[str, Any]:
        wait, reason = FIRST_WAIT, ""
        for attempt in range(self.settings["attempts"]):
            if attempt:
                await asyncio.sleep(wait)
                wait = min(2 * wait, LONGEST_WAIT)
            answer, reason = await self._attempt(messages)
            if answer is not None:
                self.cache.put(message_key, answer)
                return answer
        raise Failed(reason)

    async def _attempt(self, messages: list[prompt.Message]) -> tuple[dict[str, Any] | None, str]:
        """One request: an answer, or the reason why there is none yet."""
        import openai
        from openai.types.chat import ChatCompletion

        size = tokens(messages)
        await self.pace.turn(size + self.settings["max_tokens"])
        highest_cost = dollars(self.settings, size, self.settings["max_tokens"])
        await self._reserve(highest_cost)
        cost = 0.0
        try:
            # chat.completions.create would walk through every message by its declared type, for 8 ms of the processor
            body = self.parameters | self.extra | {"messages": messages}
            reply = await self.client.post("/chat/completions", cast_to=ChatCompletion, body=body)
            usage = reply.usage
            cost = dollars(self.settings, usage.prompt_tokens, usage.completion_tokens) if usage else highest_cost
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
            self.spent.reserved -= highest_cost
            self.spent.dollars += cost
            self._request_ended.set()

    async def _reserve(self, highest_cost: float) -> None:
        """Counts a request before it is sent. Raises UserError at a cap, which is never exceeded."""
        largest, spent = self.settings["largest"], self.spent
        while spent.under_way and not _affordable(largest["dollars"], spent, highest_cost):
            self._request_ended.clear()
            await self._request_ended.wait()  # a request that ends has cost less than was set aside for it
        if largest["requests"] is not None and spent.requests >= largest["requests"]:
            raise UserError(
                f"rewrite: the cap of {largest['requests']} requests is reached: the answers so far are kept in the "
                "cache; raise rewrite.openai.largest.requests and run the step again"
            )
        if not _affordable(largest["dollars"], spent, highest_cost):
            raise UserError(
                f"rewrite: the cap of ${largest['dollars']:g} is reached, ${spent.dollars:.2f} spent: the "
                "answers so far are kept in the cache; raise rewrite.openai.largest.dollars and run the step again"
            )
        spent.requests += 1
        spent.under_way += 1
        spent.reserved += highest_cost

    def _status(self, error: Any) -> str:
        """Why the server refused, where another attempt may help.

        Raises UserError where every request would be refused, and Failed where this one would be refused again.
        """
        status = error.status_code
        if status in FATAL or 300 <= status < 400 or error.code == "insufficient_quota":
            explanations = {
                401: "the key is wrong",
                403: "the key has no right to this",
                404: "it does not know the model or the address",
            }
            explanation = explanations.get(status, error.code or "it redirects to another address")
            raise UserError(
                f"rewrite: the endpoint answered {status} ({explanation}): "
                "check rewrite.openai.base_url, rewrite.openai.model and the key"
            ) from None
        if status < 500 and status not in (408, 409, 429):
            raise Failed(f"the server refused the request ({status})") from None
        if seconds := _retry_after(error.response.headers):
            self.pace.close(seconds)
        return f"the server answered {status}"


def _affordable(cap: float | None, spent: Spent, highest_cost: float) -> bool:
    return cap is None or spent.dollars + spent.reserved + highest_cost <= cap


def _retry_after(headers: Any) -> float:
    """How many seconds the server asks to wait, 0 where it does not ask."""
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        with suppress(ValueError):
            return max(0.0, float(value) * unit)
        with suppress(ValueError):
            return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    return 0.0
