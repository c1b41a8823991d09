"""The parameters of a request in the form that a server takes, learned from what it refuses.

Servers refuse a request with 400, 422 or 501 for a parameter that they do not know, or not with this value. What was
learned holds for the rest of the run. The keys of cached answers are made of the parameters as they were wanted.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from biomedjourney.errors import UserError
from biomedjourney.rewrite.prompt import Message

Levels = dict[str, int]  # the form that each parameter has: its place among the parameter's forms

STATUSES = (400, 422, 501)
MOST_SEARCHES = 3  # if every form of three requests is refused, the form is not the reason

# How a refusal speaks of each parameter. "system" is the first message, where it has a role of its own.
_NAMES = {
    "max_tokens": r"max_?(?:completion_?|new_?|output_?)?tokens",
    "temperature": r"temperature",
    "seed": r"\bseed\b",
    "response_format": r"response_?format|json[_ ]?(?:schema|object|mode)|structured[_ ]outputs?|guided|grammar|"
    r"\bschema\b",
    "system": r"messages\W.*\brole|system (?:role|message|prompt|instruction)|developer instruction|"
    r"roles must alternate|\brole\W.{0,20}\bsystem\b",
}
# Why a request is refused whatever the form of its parameters, and how a refusal speaks of it.
WRONG_KEY, WRONG_MODEL = "the key is wrong", "it does not know the model"
FILTERED = "the server's filter refused the text"
_TOO_LONG = "prompt and max_tokens are too long for the server"
_CAUSES = {
    WRONG_KEY: r"api[_ -]?key",
    WRONG_MODEL: r"model_?not_?found|invalid_?model|\bmodel\b.{0,80}(?:does not exist|not found)",
    FILTERED: r"content[_ -]?(?:filter|policy|management)|content_blocked|safety|"
    r"responsible_?ai|usage policies|invalid_prompt|moderation|\bflagged\b",
    _TOO_LONG: r"context[_ ]?(?:length|window|size)|maximum context|too (?:long|large)|too many (?:input )?tokens|"
    r"reduce the length|exceed|above_max_length|must be at least 1\b",
}
_IDENTIFIER = re.compile(r"\w[\w.\[\]]{0,63}", re.ASCII)  # what may be shown: neither a sentence nor a key
_NAMING = ("code", "type", "status", "param", "loc")  # what the other parts of an error are not
_ECHOES = ("input", "ctx", "url")  # of FastAPI's errors: they repeat the request


@dataclass(frozen=True)
class Refusal:
    """What a server says of a request that it refuses. Its message is read and not kept: it may repeat the request.

    ``parameter``: the one of ours that it speaks of. ``is_named``: ``param`` says so, and not the message alone.
    ``cause``: why the request is refused whatever the form of its parameters.
    """

    status: int
    code: str | None = None
    param: str | None = None
    parameter: str | None = None
    is_named: bool = False
    cause: str | None = None

    def __str__(self) -> str:
        parts = {"code": self.code, "parameter": self.param}
        return ", ".join((str(self.status), *(f"{name} {part}" for name, part in parts.items() if part)))


def read_refusal(status: int, content: bytes, sent: set[str]) -> Refusal:
    """Reads the body of a refusal, whatever its shape; ``sent``: the parameters of ours that the request had."""
    leaves = list(_leaves(content.decode(errors="replace")))
    names_in = {key: [leaf for name, leaf in leaves if name == key and _IDENTIFIER.fullmatch(leaf)] for key in _NAMING}
    code = next((name for name in names_in["code"] if name != str(status)), None)
    param = next(iter(names_in["param"] + names_in["loc"]), None)
    kinds = " ".join(names_in["code"] + names_in["type"] + names_in["status"])
    message = "\n".join(leaf for key, leaf in leaves if key not in _NAMING)
    names = {name: pattern for name, pattern in _NAMES.items() if name in sent}
    named, mentioned = _first(names, param or ""), _first(names, message) if param is None else None
    _, parameter = named or mentioned or (0, None)
    cause: str | None = None
    if by_code := _first(_CAUSES, kinds) or (param == "model" and (0, WRONG_MODEL)):
        cause = by_code[1]
    elif by_message := _first(_CAUSES, message):
        is_before = mentioned is not None and by_message < mentioned
        if parameter is None or is_before or (parameter == "max_tokens" and by_message[1] == _TOO_LONG):
            cause = by_message[1]
    return Refusal(status, code, param, parameter, named is not None, cause)


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Each text and number in a body of JSON, with the name it stands under. JSON inside a text is opened too."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            yield key, value
            return
    if isinstance(value, dict):
        for name, part in value.items():
            if name not in _ECHOES:
                yield from _leaves(part, name)
    elif isinstance(value, list) and key == "loc":  # FastAPI's way to a parameter: ["body", "response_format", "type"]
        yield key, ".".join(str(part) for part in value if part != "body")
    elif isinstance(value, list):
        for part in value:
            yield from _leaves(part, key)
    elif isinstance(value, str | int):
        yield key, str(value)


def _first(patterns: dict[str, str], text: str) -> tuple[int, str] | None:
    """Where the first match of any of the patterns begins, and the pattern's name."""
    matches = ((re.search(pattern, text, re.IGNORECASE), name) for name, pattern in patterns.items())
    return min(((match.start(), name) for match, name in matches if match), default=None)


class Forms:
    """The form in which each parameter is sent. ``wanted`` are the parameters in the form that serves best.

    Where ``needs_limit``, the length of an answer is never left without a limit.
    """

    def __init__(self, wanted: dict[str, Any], *, needs_limit: bool) -> None:
        left_out: dict[str, Any] = {}
        own = {name: {name: wanted[name]} for name in ("max_tokens", "temperature", "response_format", "seed")}
        limits = [own["max_tokens"], {"max_completion_tokens": wanted["max_tokens"]}]
        self.forms: dict[str, list[dict[str, Any]]] = {
            "max_tokens": limits if needs_limit else [*limits, left_out],
            "temperature": [own["temperature"], left_out],
            "response_format": [own["response_format"], {"response_format": {"type": "json_object"}}, left_out],
            "seed": [own["seed"], left_out],
            "system": [{}, {}],  # a message of its own, or a part of the question that follows
        }
        self.other = {name: value for name, value in wanted.items() if name not in own}
        self.levels: Levels = dict.fromkeys(self.forms, 0)  # of the next request
        self.known = self.levels  # without what is only tried
        self.accepted: Levels | None = None
        self.searches = 0
        self._ladder: Iterator[Levels] | None = None

    @property
    def is_searching(self) -> bool:
        """Whether other requests had better wait for one that finds the form."""
        return self.accepted is None and 0 < self.searches < MOST_SEARCHES

    def body(self, levels: Levels, messages: list[Message]) -> dict[str, Any]:
        body = dict(self.other)
        for name, level in levels.items():
            body |= self.forms[name][level]
        if levels["system"] and len(messages) > 1 and messages[0]["role"] == "system":
            first = messages[1] | {"content": f"{messages[0]['content']}\n\n{messages[1]['content']}"}
            messages = [first, *messages[2:]]
        return body | {"messages": messages}

    def sent(self, levels: Levels) -> set[str]:
        """The parameters that a request with these forms has, by the names of this module."""
        return {name for name, level in levels.items() if (level == 0 if name == "system" else self.forms[name][level])}

    def accept(self, levels: Levels) -> None:
        """A request with these forms was answered."""
        if self.accepted is None:
            self.levels = self.known = self.accepted = levels

    def find_other(self, levels: Levels, refusal: Refusal) -> bool:
        """Whether a request that was refused with these forms is to be sent once more, in other ones.

        A parameter that is named is given its next form. Until a request has been answered, one that the message
        speaks of is too; where nothing is said, one ladder of forms is tried.
        """
        if levels != self.levels:
            return True  # learned meanwhile from another request
        name = refusal.parameter
        if refusal.cause is None and name is not None and (refusal.is_named or self.accepted is None):
            if levels[name] + 1 < len(self.forms[name]):
                self.levels = levels | {name: levels[name] + 1}
                if refusal.is_named:
                    self.known = self.known | {name: self.levels[name]}
                return True
            raise UserError(
                f"rewrite: the endpoint takes neither max_tokens nor max_completion_tokens ({refusal}): take another "
                "model, or set rewrite.openai.largest.dollars to null, which needs a limit of the answers"
            )
        is_open = refusal.cause is None and refusal.param is None and self.accepted is None
        if is_open and self.searches < MOST_SEARCHES:
            self._ladder = self._ladder or self._rungs(levels)
            for rung in self._ladder:
                self.levels = {name: max(level, self.known[name]) for name, level in rung.items()}
                return True
            self.searches += 1
        self._ladder, self.levels = None, self.known
        return False

    def _rungs(self, base: Levels) -> Iterator[Levels]:
        """One parameter after the other in each of its later forms, then all of these changes one on top of another."""
        changes = [(name, level) for name, forms in self.forms.items() for level in range(base[name] + 1, len(forms))]
        changes.sort(key=lambda change: change == ("max_tokens", 2))  # no limit at all: as the last
        for name, level in changes:
            yield base | {name: level}
        for count in range(2, len(changes) + 1):
            yield base | dict(changes[:count])
