"""What a language model is asked, and what its answer must look like."""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from biomedjourney.pair.text import clean
from biomedjourney.rewrite.language import mentions
from biomedjourney.rewrite.lexicon import DEVICES, FINDINGS, STANDS_FOR
from biomedjourney.rewrite.study import Study, in_order_of_time

FOLDER = Path(__file__).parent / "prompts"
FILES = {"forward": FOLDER / "progression-1.yaml", "backward": FOLDER / "progression-backward-1.yaml"}
TITLES = {"forward": ("prior", "current"), "backward": ("earlier", "later")}  # of the reports, in the order of time
Message = dict[str, str]
# how models that think begin and end their thoughts
_THOUGHT_BEGINS = re.compile(r"<(?:think|thinking|thought|reasoning)>|\[THINK\]|◁think▷", re.IGNORECASE)
_ANSWER_BEGINS = re.compile(r'\{\s*"(?:changes|description)"\s*:')
_THOUGHT_ENDS = re.compile(
    r"</(?:think|thinking|thought|reasoning)>|\[/THINK\]|◁/think▷|<\|channel\|>final<\|message\|>", re.IGNORECASE
)


def _one_of(*names: str) -> dict[str, Any]:
    return {"type": "string", "enum": list(names)}


SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["changes", "description"],
    "properties": {
        "changes": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["finding", "side", "direction", "severity"],
                "properties": {
                    "finding": _one_of(*(name.replace("_", " ") for name in FINDINGS)),
                    "side": _one_of("left", "right", "bilateral", "none"),
                    "direction": _one_of("new", "worse", "stable", "improved", "resolved"),
                    "severity": _one_of("mild", "moderate", "severe", "unstated"),
                },
            },
        },
        "description": {"type": "string"},
    },
}


@dataclass(frozen=True)
class Prompt:
    """The messages before the two reports, the sentence that asks again, and the hash of the file they come from."""

    before: tuple[tuple[str, str], ...]
    again: str
    sha256: str


@cache
def load(direction: str = "forward") -> Prompt:
    """The prompt for pairs read in a direction, from its versioned file."""
    content = FILES[direction].read_bytes()
    parts = yaml.safe_load(content)
    earlier_title, later_title = TITLES[direction]
    before = [("system", parts["system"])]
    for example in parts["examples"]:
        before.append(("user", _question(example[earlier_title], example[later_title], direction)))
        before.append(("assistant", json.dumps(example["answer"])))
    return Prompt(tuple(before), parts["again"], hashlib.sha256(content).hexdigest())


def _question(earlier: str, later: str, direction: str) -> str:
    titles = [f"{title.upper()} REPORT" for title in TITLES[direction]]
    return f"{titles[0]}\n{earlier.strip()}\n\n{titles[1]}\n{later.strip()}"


def _report(study: Study) -> str:
    sections = (("FINDINGS", study.findings), ("IMPRESSION", study.impression))
    return "\n".join(f"{name}: {clean(text)}" for name, text in sections if text.strip())


def messages(prior: Study, current: Study, direction: str = "forward") -> list[Message]:
    """The messages for a pair, without removed text (___). Both reports stand in the order of time.

    Read backward, ``prior`` is the later study.
    """
    earlier, later = in_order_of_time(prior, current, direction)
    question = ("user", _question(_report(earlier), _report(later), direction))
    return [{"role": role, "content": content} for role, content in (*load(direction).before, question)]


def again(previous: list[Message], answer: str, reason: str, direction: str = "forward") -> list[Message]:
    """The messages that ask again after an answer that cannot be used."""
    request = {"role": "user", "content": load(direction).again.format(reason=reason)}
    return [*previous, {"role": "assistant", "content": answer}, request]


class NotAnAnswer(ValueError):
    """The model's text does not follow the schema. The message says why, without the text; the model may get it."""


@cache
def _validator() -> Any:
    import jsonschema

    return jsonschema.Draft202012Validator(SCHEMA)


def without_thoughts(text: str) -> str:
    """What follows the last thought that has an end: all of the text where none has one."""
    return _THOUGHT_ENDS.split(text)[-1]


def _object(text: str, *, is_cut: bool) -> Any:
    """The last object in a text that follows the schema, else the last that tries to."""
    with suppress(ValueError, RecursionError):
        whole = json.loads(text)
        if isinstance(whole, str):  # an object written as a text
            text = whole
        elif isinstance(whole, dict) and SCHEMA["properties"].keys() & whole.keys():
            return whole
    rest = without_thoughts(text)
    is_thinking = is_cut and _THOUGHT_BEGINS.search(rest)
    attempts: list[dict[str, Any]] = []
    for part in () if is_thinking else (rest,) if is_cut else (rest, text):  # some answer inside a thought
        if attempts := list(_objects(part)):
            break
    if not attempts:
        raise NotAnAnswer("it is not complete JSON")
    return next((found for found in reversed(attempts) if _validator().is_valid(found)), attempts[-1])


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """The JSON objects in a text that begin like an answer, one after the other; also those inside another object."""
    decoder, end = json.JSONDecoder(strict=False), 0  # models break lines inside a string
    for beginning in _ANSWER_BEGINS.finditer(text):
        if beginning.start() >= end:
            with suppress(ValueError, RecursionError):
                found, end = decoder.raw_decode(text, beginning.start())
                yield found


def description(text: str, *, is_cut: bool = False) -> str:
    """The description in an answer. Raises NotAnAnswer where the answer does not follow the schema.

    Thoughts before the answer, a fence of code and words around it are passed over. Of a text that was cut off, what
    is inside a thought is none. The answer's list of changes must hold every finding that the description names.
    """
    answer = _object(text, is_cut=is_cut)
    error = next(_validator().iter_errors(answer), None)
    if error is not None:
        where = ".".join(str(part) for part in error.absolute_path) or "top level"
        raise NotAnAnswer(f"it breaks the rule {error.validator!r} of the schema at {where}")
    listed = {change["finding"].replace(" ", "_") for change in answer["changes"]}
    text_of_description = " ".join(answer["description"].split())
    for mention in mentions(text_of_description):
        kind = DEVICES if mention.finding in DEVICES else STANDS_FOR.get(mention.finding, (mention.finding,))
        if not listed.intersection(kind):
            raise NotAnAnswer(
                f"the description names {mention.finding.replace('_', ' ')}, which is not among the changes"
            )
    return text_of_description
