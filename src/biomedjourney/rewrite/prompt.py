"""What a language model is asked, and what its answer must look like."""

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from biomedjourney.pair.text import clean
from biomedjourney.rewrite.language import mentions
from biomedjourney.rewrite.lexicon import DEVICES, FINDINGS
from biomedjourney.rewrite.study import Study

FILE = Path(__file__).parent / "prompts" / "progression-1.yaml"
DIRECTIONS = ("new", "worse", "stable", "improved", "resolved")
Message = dict[str, str]


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
                    "direction": _one_of(*DIRECTIONS),
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
def load(path: Path = FILE) -> Prompt:
    """The prompt of a versioned file."""
    content = path.read_bytes()
    read = yaml.safe_load(content)
    before = [("system", read["system"])]
    for example in read["examples"]:
        before.append(("user", _question(example["prior"], example["current"])))
        before.append(("assistant", json.dumps(example["answer"])))
    return Prompt(tuple(before), read["again"], hashlib.sha256(content).hexdigest())


def _question(prior: str, current: str) -> str:
    return f"PRIOR REPORT\n{prior.strip()}\n\nCURRENT REPORT\n{current.strip()}"


def _report(study: Study) -> str:
    sections = (("FINDINGS", study.findings), ("IMPRESSION", study.impression))
    return "\n".join(f"{name}: {clean(text)}" for name, text in sections if text.strip())


def messages(prior: Study, current: Study) -> list[Message]:
    """The messages for a pair, without removed text (___)."""
    question = ("user", _question(_report(prior), _report(current)))
    return [{"role": role, "content": content} for role, content in (*load().before, question)]


def again(asked: list[Message], answer: str, reason: str) -> list[Message]:
    """The messages that ask again after an answer that was not good enough."""
    told = {"role": "user", "content": load().again.format(reason=reason)}
    return [*asked, {"role": "assistant", "content": answer}, told]


class NotAnAnswer(ValueError):
    """The model's text is not JSON of the schema; the message says why, without the text."""


@cache
def _validator() -> Any:
    import jsonschema

    return jsonschema.Draft202012Validator(SCHEMA)


def description(text: str) -> str:
    """The description in an answer. Raises NotAnAnswer where the answer is not what was asked for.

    Its list of changes must hold every finding that the description names.
    """
    try:
        answer = json.loads(text)
    except ValueError:
        raise NotAnAnswer("it is not complete JSON") from None
    error = next(_validator().iter_errors(answer), None)
    if error is not None:
        where = ".".join(str(part) for part in error.absolute_path) or "top level"
        raise NotAnAnswer(f"it breaks the rule {error.validator!r} of the schema at {where}")
    listed = {change["finding"].replace(" ", "_") for change in answer["changes"]}
    told = " ".join(answer["description"].split())
    for mention in mentions(told):
        kind = DEVICES if mention.finding in DEVICES else (mention.finding,)
        if not listed.intersection(kind):
            raise NotAnAnswer(
                f"the description names {mention.finding.replace('_', ' ')}, which is not among the changes"
            )
    return told
