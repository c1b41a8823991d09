"""The openai writer: a model describes each pair, and the description is checked.

Where a check fails, the model is asked again and given the reason; where that fails too, the rules write instead.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

from biomedjourney import progress
from biomedjourney.refusals import Refusals
from biomedjourney.rewrite import checks, endpoint, prompt
from biomedjourney.rewrite.ask import Asker, Failed, dollars, tokens
from biomedjourney.rewrite.cache import Cache
from biomedjourney.rewrite.rules import describe
from biomedjourney.rewrite.study import Study

Pair = tuple[Study, Study]
TYPICAL_ANSWER = 90  # tokens; the answers of the prompt's own examples have 50 to 110


@dataclass(frozen=True)
class Draft:
    """A description and how it came about.

    ``model``: None where no language model wrote it. ``fallback_reason``: why the rules wrote it instead of a model.
    ``has_schema``: whether the model's last answer followed the schema.
    """

    description: str
    model: str | None = None
    fallback_reason: str | None = None
    has_schema: bool = True


async def compose(prior: Study, current: Study, asker: Asker, direction: str = "forward") -> Draft:
    """The description of one pair. Raises UserError where other pairs would fail too."""
    messages = prompt.messages(prior, current, direction)
    reason, has_schema = "", False
    try:
        for _ in range(1 + asker.settings["ask_again"]):
            answer = await asker.ask(messages)
            if answer["refusal"] or answer["finish_reason"] == "content_filter":
                reason = "the model refused"
                break
            reason, explanation, description = _judge(answer, prior, current, direction)
            has_schema = bool(description)
            if not reason:
                return Draft(description, answer["model"])
            messages = prompt.again(messages, prompt.without_thoughts(answer["text"]), explanation, direction)
    except Failed as error:
        reason, has_schema = str(error), False
    return Draft(describe(prior, current, direction=direction), None, reason, has_schema)


def _judge(answer: dict[str, Any], prior: Study, current: Study, direction: str) -> tuple[str, str, str]:
    """Why an answer cannot be used (empty if it can), the same in words for the model, and the answer's description."""
    is_cut = answer["finish_reason"] == "length"
    try:
        description = prompt.description(answer["text"], is_cut=is_cut)
    except prompt.NotAnAnswer as error:
        if is_cut:
            return "cut off at max_tokens", "it was too long and was cut off", ""
        return f"check_schema: {error}", str(error), ""
    failing = [name for name, passed in checks.run(description, prior, current, direction).items() if not passed]
    return ", ".join(failing), "; ".join(checks.CHECKS[name][1] for name in failing), description


def write(
    pairs: list[Pair], settings: dict[str, Any], *, seed: int, credentialed: bool, direction: str = "forward"
) -> list[Draft]:
    """A draft for each pair, in order; ``settings`` is the section ``rewrite``.

    Raises UserError at a cap, where the rules had to write too many, and where the endpoint cannot be used.
    """
    return asyncio.run(_write(pairs, settings, seed, credentialed, direction))


async def _write(
    pairs: list[Pair], settings: dict[str, Any], seed: int, credentialed: bool, direction: str
) -> list[Draft]:
    asker = connect(settings, seed, credentialed=credentialed)
    drafts: list[Draft | None] = [None] * len(pairs)
    refusals = Refusals(
        "rewrite",
        "descriptions by the model",
        len(pairs),
        settings["largest_fallback_share"],
        "rewrite.largest_fallback_share",
        allowed=0,
    )
    waiting = (i for i in range(len(pairs)))
    errors: list[Exception] = []
    with progress.bar(len(pairs), "rewrite", "pair") as bar:

        async def work() -> None:
            for i in waiting:
                try:
                    drafts[i] = draft = await compose(*pairs[i], asker, direction)
                    if draft.fallback_reason is not None:
                        refusals.add(draft.fallback_reason)
                except Exception as error:
                    errors.append(error)
                    waiting.close()  # the others finish what is under way, since it is paid for, and start nothing new
                    return
                bar.set_postfix_str(f"${asker.spent.dollars:.2f}", refresh=False)
                bar.update()

        await asyncio.gather(*(work() for _ in range(settings["openai"]["in_flight"])))
    await asker.client.close()
    if errors:
        raise errors[0]
    return [draft for draft in drafts if draft is not None]


def connect(settings: dict[str, Any], seed: int, *, credentialed: bool) -> Asker:
    """The asker of the configured endpoint. Raises UserError where the texts must not be sent there."""
    private = endpoint.check(settings["openai"], credentialed=credentialed)
    client = endpoint.client(settings["openai"], private=private)
    return Asker(settings["openai"], seed, client, Cache(settings["openai"]["cache"]), private=private)


@dataclass(frozen=True)
class Requests:
    """What a run would ask for so many pairs: ``count`` of ``distinct`` requests; the cache has the other answers."""

    pairs: int
    distinct: int
    count: int
    tokens_read: int

    @property
    def tokens_written(self) -> int:
        return TYPICAL_ANSWER * self.count

    def dollars(self, openai: dict[str, Any]) -> tuple[float, float]:
        """The price at the configured rates, and the most that it can be, not counting requests that ask again."""
        written = (self.tokens_written, openai["max_tokens"] * self.count)
        typical, highest = (dollars(openai, self.tokens_read, tokens) for tokens in written)
        return typical, highest

    def minutes(self, openai: dict[str, Any]) -> float:
        """The least time at the configured rate limits."""
        by_tokens = (self.tokens_read + openai["max_tokens"] * self.count) / openai["tokens_per_minute"]
        return float(max(self.count / openai["requests_per_minute"], by_tokens))


def requests(pairs: list[Pair], settings: dict[str, Any], *, seed: int, direction: str = "forward") -> Requests:
    """What a run would ask, without sending anything."""
    openai = settings["openai"]
    asker = Asker(openai, seed, None, Cache(openai["cache"]), private=True)
    sizes: dict[str, int] = {}
    for prior, current in pairs:
        messages = prompt.messages(prior, current, direction)
        sizes[asker.key(messages)] = tokens(messages)
    open_sizes = [size for key, size in sizes.items() if asker.cache.get(key) is None]
    return Requests(len(pairs), len(sizes), len(open_sizes), sum(open_sizes))


def plan(pairs: list[Pair], settings: dict[str, Any], *, seed: int, direction: str = "forward") -> str:
    """What a run would ask and cost, without sending anything: a few lines of text."""
    openai, asked = settings["openai"], requests(pairs, settings, seed=seed, direction=direction)
    typical_cost, highest_cost = asked.dollars(openai)
    return "\n".join(
        (
            f"{len(pairs)} pairs, {asked.distinct} distinct, {asked.distinct - asked.count} answered in the cache",
            f"{asked.count} requests to {endpoint.host(openai['base_url'])}, model {openai['model']}",
            f"about {asked.tokens_read:,} tokens read and {asked.tokens_written:,} written",
            f"about ${typical_cost:.2f}, at most ${highest_cost:.2f}, not counting requests that ask again",
            f"at least {asked.minutes(openai):.0f} minutes at the configured rate limits",
        )
    )
