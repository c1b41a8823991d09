"""The openai writer: each pair asked, checked, asked again with the reason, and left to the rules at last."""

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import Any

from biomedjourney import progress
from biomedjourney.errors import UserError
from biomedjourney.rewrite import checks, endpoint, prompt
from biomedjourney.rewrite.ask import Asker, Failed, dollars, tokens
from biomedjourney.rewrite.cache import Cache
from biomedjourney.rewrite.rules import describe
from biomedjourney.rewrite.study import Study

Pair = tuple[Study, Study]
TYPICAL_ANSWER = 90  # tokens; the answers of the prompt's own examples have 50 to 110


@dataclass(frozen=True)
class Draft:
    """A description, who wrote it (None: no language model), why the rules had to, and whether the schema was kept."""

    description: str
    model: str | None = None
    fallback_reason: str | None = None
    has_schema: bool = True


async def compose(prior: Study, current: Study, asker: Asker) -> Draft:
    """The description of one pair. Raises UserError where it is no use to go on."""
    asked = prompt.messages(prior, current)
    reason, has_schema = "", False
    try:
        for _ in range(1 + asker.settings["ask_again"]):
            answer = await asker.ask(asked)
            if answer["refusal"] or answer["finish_reason"] == "content_filter":
                reason = "the model refused"
                break
            reason, told, description = _judge(answer, prior, current)
            has_schema = bool(description)
            if not reason:
                return Draft(description, answer["model"])
            asked = prompt.again(asked, answer["text"], told)
    except Failed as error:
        reason, has_schema = str(error), False
    return Draft(describe(prior, current), None, reason, has_schema)


def _judge(answer: dict[str, Any], prior: Study, current: Study) -> tuple[str, str, str]:
    """Why an answer cannot be used (empty if it can), the same in words for the model, and the description it has."""
    if answer["finish_reason"] == "length":
        return "cut off at max_tokens", "it was too long and was cut off", ""
    try:
        description = prompt.description(answer["text"])
    except prompt.NotAnAnswer as error:
        return f"check_schema: {error}", str(error), ""
    failing = [name for name, passed in checks.run(description, prior, current).items() if not passed]
    return ", ".join(failing), "; ".join(checks.CHECKS[name][1] for name in failing), description


class FallBacks:
    """Counts what the rules had to write, and stops the step when it is more than the configuration allows."""

    def __init__(self, total: int, largest_share: float) -> None:
        self.total, self.largest_share = total, largest_share
        self.reasons: Counter[str] = Counter()

    def add(self, draft: Draft) -> None:
        if draft.fallback_reason is None:
            return
        self.reasons[draft.fallback_reason] += 1
        if self.reasons.total() > self.largest_share * self.total:
            often = "; ".join(f"{count} × {reason}" for reason, count in self.reasons.most_common(3))
            raise UserError(
                f"rewrite: the rules had to write more than {self.largest_share:.0%} of {self.total} descriptions "
                f"({often}): mend the endpoint, or raise rewrite.largest_fallback_share"
            )


def write(pairs: list[Pair], settings: dict[str, Any], *, seed: int, credentialed: bool) -> list[Draft]:
    """A draft for each pair, in order. Raises UserError for a cap, too many fall-backs, or an endpoint of no use."""
    return asyncio.run(_write(pairs, settings, seed, credentialed))


async def _write(pairs: list[Pair], settings: dict[str, Any], seed: int, credentialed: bool) -> list[Draft]:
    asker = connect(settings, seed, credentialed=credentialed)
    drafts: list[Draft | None] = [None] * len(pairs)
    fall_backs = FallBacks(len(pairs), settings["largest_fallback_share"])
    waiting = (i for i in range(len(pairs)))
    errors: list[Exception] = []
    with progress.bar(len(pairs), "rewrite", "pair") as bar:

        async def work() -> None:
            for i in waiting:
                try:
                    drafts[i] = draft = await compose(*pairs[i], asker)
                    fall_backs.add(draft)
                except Exception as error:
                    errors.append(error)
                    waiting.close()  # the others finish what they have asked, since it is paid for, and ask no more
                    return
                bar.set_postfix_str(f"${asker.spent.dollars:.2f}", refresh=False)
                bar.update()

        await asyncio.gather(*(work() for _ in range(settings["openai"]["in_flight"])))
    await asker.client.close()
    if errors:
        raise errors[0]
    return [draft for draft in drafts if draft is not None]


def connect(settings: dict[str, Any], seed: int, *, credentialed: bool) -> Asker:
    """The asker of an endpoint that may have the texts. Raises UserError where it may not."""
    private = endpoint.check(settings["openai"], credentialed=credentialed)
    client = endpoint.client(settings["openai"], private=private)
    return Asker(settings["openai"], seed, client, Cache(settings["openai"]["cache"]), private=private)


def plan(pairs: list[Pair], settings: dict[str, Any], *, seed: int) -> str:
    """What a run would ask and cost, without sending anything: a few lines of text."""
    chosen = settings["openai"]
    asker = Asker(chosen, seed, None, Cache(chosen["cache"]), private=True)
    sizes: dict[str, int] = {}
    for prior, current in pairs:
        messages = prompt.messages(prior, current)
        sizes[asker.key(messages)] = tokens(messages)
    open_sizes = [size for name, size in sizes.items() if asker.cache.get(name) is None]
    read, written = sum(open_sizes), TYPICAL_ANSWER * len(open_sizes)
    most = dollars(chosen, read, chosen["max_tokens"] * len(open_sizes))
    reserved = read + chosen["max_tokens"] * len(open_sizes)
    minutes = max(len(open_sizes) / chosen["requests_per_minute"], reserved / chosen["tokens_per_minute"])
    return "\n".join(
        (
            f"{len(pairs)} pairs, {len(sizes)} distinct, {len(sizes) - len(open_sizes)} answered in the cache",
            f"{len(open_sizes)} requests to {endpoint.host(chosen['base_url'])}, model {chosen['model']}",
            f"about {read:,} tokens read and {written:,} written",
            f"about ${dollars(chosen, read, written):.2f}, at most ${most:.2f} before any is asked again",
            f"at least {minutes:.0f} minutes at the configured rate limits",
        )
    )
