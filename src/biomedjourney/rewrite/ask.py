"""Asking a language model: requests are paced and tried again, and every answer is kept."""

import asyncio
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from biomedjourney.errors import UserError
from biomedjourney.rewrite import context, pace, parameters, prompt
from biomedjourney.rewrite.cache import Cache, key

CHARACTERS_PER_TOKEN = 3.5  # English has about 4 in the usual tokenizers: the estimate must not be too low
FIRST_WAIT, LONGEST_WAIT = 2.2, 30.0  # seconds, doubled at each attempt; the default 6 outlast a quota of a minute
FATAL = (401, 402, 403, 404)
TEMPERATURE = 0.0


class Failed(Exception):
    """No attempt brought an answer. The message says why, and holds no text of a report."""


class _Busy(Exception):
    """An attempt brought no answer, and another may. ``asks_to_wait``: the server has said when."""

    def __init__(self, reason: str, *, asks_to_wait: bool = False, was_read: bool = False) -> None:
        super().__init__(reason)
        self.asks_to_wait, self.was_read = asks_to_wait, was_read


class _OtherForm(Exception):
    """A request is to be sent once more with other parameters."""


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
    answers: int = 0
    dollars: float = 0.0
    under_way: int = 0
    reserved: float = 0.0  # the most that those under way can cost


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
        self.pace, self.spent, self.context = pace.Pace(settings), Spent(), context.Context()
        self._under_way: dict[str, asyncio.Task[dict[str, Any]]] = {}
        self._request_ended = asyncio.Event()
        # One request goes ahead of all others: what it meets need not be met by each of them.
        self._door, self._is_open = asyncio.Lock(), False
        self._error: UserError | None = None

    @cached_property
    def forms(self) -> parameters.Forms:
        return parameters.Forms(self.parameters, needs_limit=self.settings["largest"]["dollars"] is not None)

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
        cached_answer = self.cache.get(message_key)
        if cached_answer is not None and cached_answer.keys() >= ANSWER:
            return cached_answer
        task = self._under_way[message_key] = asyncio.ensure_future(self._in_turn(message_key, messages))
        try:
            return await task
        finally:
            self._under_way.pop(message_key, None)

    async def _in_turn(self, message_key: str, messages: list[prompt.Message]) -> dict[str, Any]:
        """The answer, after the request that goes ahead of all others has ended."""
        if not self._is_open:
            async with self._door:
                if self._error is not None:
                    raise self._error
                if not self._is_open:
                    try:
                        return await self._attempts(message_key, messages)
                    except UserError as error:
                        self._error = error
                        raise
                    finally:
                        self._is_open = self._error is None and not self.forms.is_searching
        return await self._attempts(message_key, messages)

    async def _attempts(self, message_key: str, messages: list[prompt.Message]) -> dict[str, Any]:
        waits = (min(FIRST_WAIT * 2**i, LONGEST_WAIT) for i in range(self.settings["attempts"] - 1))
        was_read = False
        while True:
            answers_before = self.spent.answers
            try:
                answer = await self._attempt(messages, is_first=not was_read)
            except _OtherForm:
                continue
            except _Busy as busy:
                was_read = was_read or busy.was_read
                # where a quota is shared, the others' answers show that it comes back: this is no failed attempt
                is_shared = busy.asks_to_wait and self.spent.answers > answers_before
                wait = FIRST_WAIT if is_shared else next(waits, None)
                if wait is None:
                    raise Failed(str(busy)) from None
                await asyncio.sleep(wait)
            else:
                self.cache.put(message_key, answer)
                return answer

    async def _attempt(self, messages: list[prompt.Message], *, is_first: bool) -> dict[str, Any]:
        """The answer to one request. ``is_first``: the server cannot have read the prompt before.

        Raises _Busy, _OtherForm, Failed or UserError where there is none.
        """
        import openai
        from openai.types.chat import ChatCompletion

        size = tokens(messages)
        await self.pace.turn(size + self.settings["max_tokens"])
        highest_cost = dollars(self.settings, size, self.settings["max_tokens"])
        await self._reserve(highest_cost)
        cost, levels = 0.0, self.forms.levels
        try:
            # chat.completions.create would walk through every message by its declared type, for 8 ms of the processor
            body = self.forms.body(levels, messages) | self.extra
            reply = await self.client.post("/chat/completions", cast_to=ChatCompletion, body=body)
            cost = highest_cost
            read, written = context.tokens_read(reply.usage), context.counted(reply.usage, "completion_tokens")
            if read and written is not None:
                cost = dollars(self.settings, read, written)
            answer = _answer(reply, self.settings["model"])
        except openai.APITimeoutError:
            raise _Busy("no answer within the time limit", was_read=True) from None
        except openai.APIConnectionError:
            raise _Busy("the connection failed", was_read=True) from None
        except openai.APIStatusError as error:
            raise self._explained(error, levels, size) from None
        except (openai.APIError, ValueError, AttributeError, IndexError, TypeError, RecursionError):
            raise _Busy("the reply was not of the protocol", was_read=True) from None
        finally:
            self.spent.under_way -= 1
            self.spent.reserved -= highest_cost
            self.spent.dollars += cost
            self._request_ended.set()
        self.forms.accept(levels)
        if is_first:
            self._refuse_cut(messages, read)
        self.spent.answers += 1
        return answer

    def _refuse_cut(self, messages: list[prompt.Message], read: int) -> None:
        """Raises UserError where the server has cut the prompt, and Failed where it has not cut others."""
        whole, own = tokens(messages), tokens(messages[-1:])
        has_read_whole = self.context.reads_whole
        if not self.context.is_cut(read, whole, own):
            return
        if self.cache.get(self.key(messages[:-2])) is not None:
            return  # goes on from an answered prompt, which the server may have in a cache
        if has_read_whole:
            raise Failed("the server cut the prompt: its context length is too small")
        needed = 1024 * -(-(whole + self.settings["max_tokens"]) // 1024)
        raise UserError(
            f"rewrite: the server read {read} tokens of a prompt of about {whole}: it cuts prompts without a word; "
            f"raise its context length to at least {needed} (Ollama: OLLAMA_CONTEXT_LENGTH, or num_ctx of the model; "
            "llama.cpp: --ctx-size; vLLM: --max-model-len) and run the step again"
        )

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

    def _explained(self, error: Any, levels: parameters.Levels, size: int) -> Exception:
        """Why the server refused: _Busy or _OtherForm where another request may help, Failed where none would.

        UserError where every request would be refused.
        """
        status, headers = error.status_code, error.response.headers
        if status in parameters.STATUSES:
            return self._refused(status, error.response.content, levels)
        if status == 403:
            refusal = parameters.read_refusal(status, error.response.content, set())
            if refusal.cause == parameters.FILTERED:  # some servers say so of one text, and mean no other
                return Failed(f"{refusal.cause} ({refusal})")
        if status in FATAL or 300 <= status < 400 or "insufficient_quota" in (error.code, error.type):
            explanations = {
                401: parameters.WRONG_KEY,
                402: "the account has no money left",
                403: "the key has no right to this",
                404: "it does not know the model or the address",
                429: "insufficient_quota",
            }
            return _unusable(status, explanations.get(status, "it redirects to another address"))
        if status < 500 and status not in (408, 409, 429):
            return Failed(f"the server refused the request ({status})")
        seconds = pace.asked_wait(status, headers, size + self.settings["max_tokens"])
        if seconds:
            self.pace.close(seconds)
        return _Busy(f"the server answered {status}", asks_to_wait=seconds > 0)

    def _refused(self, status: int, content: bytes, levels: parameters.Levels) -> Exception:
        refusal = parameters.read_refusal(status, content, self.forms.sent(levels))
        if refusal.cause in (parameters.WRONG_KEY, parameters.WRONG_MODEL) and self.forms.accepted is None:
            return _unusable(refusal, refusal.cause)
        try:
            if self.forms.find_other(levels, refusal):
                return _OtherForm()
        except UserError as error:
            return error
        return Failed(f"{refusal.cause or 'the server refused the request'} ({refusal})")


def _unusable(status: object, explanation: str) -> UserError:
    return UserError(
        f"rewrite: the endpoint answered {status} ({explanation}): "
        "check rewrite.openai.base_url, rewrite.openai.model and the key"
    )


ANSWER = {"text", "finish_reason", "refusal", "model"}  # what is kept of a reply


def _answer(reply: Any, model: str) -> dict[str, Any]:
    """`ANSWER` of a reply. Raises what Python raises where the reply is not of the protocol."""
    choice = reply.choices[0]
    return {
        "text": _text(choice.message),
        "finish_reason": choice.finish_reason,
        "refusal": bool(choice.message.refusal),
        "model": reply.model or model,
    }


def _text(message: Any) -> str:
    """The text of a message, whole or in parts. Where there is none, a server has taken the answer for thoughts."""
    for name in ("content", "reasoning_content", "reasoning"):
        text = getattr(message, name, None)
        if isinstance(text, list):
            text = "".join(str(part["text"]) for part in text if part.get("type") in (None, "text", "output_text"))
        if isinstance(text, str) and text.strip():
            return text
    return ""


def _affordable(cap: float | None, spent: Spent, highest_cost: float) -> bool:
    return cap is None or spent.dollars + spent.reserved + highest_cost <= cap
