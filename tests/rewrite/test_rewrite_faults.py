"""The openai writer against a server that misbehaves in every way that servers do."""

import asyncio
import email.utils
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from biomedjourney.errors import UserError
from biomedjourney.rewrite import checks, model_writer, pace, prompt
from biomedjourney.rewrite.ask import FIRST_WAIT, Asker
from biomedjourney.rewrite.cache import Cache
from biomedjourney.rewrite.model_writer import Draft
from biomedjourney.rewrite.study import Study
from tests.helpers.model_server import INVENTED_FRACTURE, NEW_EDEMA, Reply, Request, answer, running, writer_settings

GOOD = answer(NEW_EDEMA)


def pair(i: int) -> tuple[Study, Study]:
    """Two reports that say in their own words that an edema is new; the number makes the texts distinct."""
    return (
        Study({"edema": 0}, f"Case {i}. No pulmonary edema.", "No edema."),
        Study({"edema": 1}, f"Case {i}. There is new mild pulmonary edema.", "New mild edema."),
    )


def write(url: str, folder: Path, count: int = 6, **openai: Any) -> list[Draft]:
    return model_writer.write(
        [pair(i) for i in range(count)], writer_settings(url, folder, **openai), seed=0, credentialed=True
    )


def number(request: Request) -> int:
    """Which pair a request asks about."""
    return int(request.question.split("Case ")[1].split(".")[0])


def at_first(*faults: Reply) -> Callable[[Request], Reply]:
    """Answers the first request for each pair with the fault of its number, and every later one well."""
    requests: Counter[int] = Counter()

    def behave(request: Request) -> Reply:
        requests[number(request)] += 1
        return faults[number(request) % len(faults)] if requests[number(request)] == 1 else GOOD

    return behave


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("biomedjourney.rewrite.ask.FIRST_WAIT", 0.02)


WRONG_SCHEMA = {"changes": [{"finding": "edema", "direction": "new"}], "description": "new edema"}
UNLISTED = {"changes": [], "description": "new mild pulmonary edema"}
PASSING_FAULTS = {
    "429": Reply(429, {"error": {"message": "slow down"}}),
    "429 at once": Reply(429, {"error": {"message": "slow down"}}, {"Retry-After": "0"}),
    "500": Reply(500, b"oops"),
    "503": Reply(503, {"error": {"message": "busy"}}),
    "408": Reply(408),
    "dropped before a word": Reply(cut=0),
    "dropped in the head": Reply(body=GOOD.body, cut=30),
    "dropped in the body": Reply(body=GOOD.body, cut=200),
    "time-out": Reply(body=GOOD.body, delay=20.0),
    "no JSON in the protocol": Reply(body=b"<html>gateway</html>"),
    "nested too deep": Reply(body=b"[" * 100_000),
    "no choices": Reply(body={"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": []}),
    "truncated JSON": answer(json.dumps(NEW_EDEMA)[:40]),
    "no JSON": answer("The edema is new."),
    "empty": answer(""),
    "wrong schema": answer(WRONG_SCHEMA),
    "unlisted finding": answer(UNLISTED),
    "length": answer(json.dumps(NEW_EDEMA)[:60], finish_reason="length"),
    "invented finding": answer(INVENTED_FRACTURE),
    "echoed ___": answer(NEW_EDEMA | {"description": "new mild pulmonary edema since ___"}),
    "date": answer(NEW_EDEMA | {"description": "new mild pulmonary edema on 2/14/2115"}),
    "name": answer(NEW_EDEMA | {"description": "new mild pulmonary edema seen by Miller"}),
    "comparison": answer(NEW_EDEMA | {"description": "new mild pulmonary edema compared to before"}),
    "wrong side": answer(NEW_EDEMA | {"description": "new right pleural effusion and edema"}),
    "wrong direction": answer(NEW_EDEMA | {"description": "resolved pulmonary edema"}),
    "too long": answer(NEW_EDEMA | {"description": "new mild pulmonary edema " * 40}),
}


def test_a_fault_that_passes_leaves_a_good_row_for_every_pair(tmp_path: Path) -> None:
    count = 3 * len(PASSING_FAULTS)
    with running(at_first(*PASSING_FAULTS.values())) as server:
        drafts = write(server.url, tmp_path, count=count, timeout_seconds=1.0, in_flight=16)
        requests = Counter(number(request) for request in server.requests)
    good_draft = Draft("new mild pulmonary edema", "fake-2026-01-01")
    by_fault = {name: drafts[i :: len(PASSING_FAULTS)] for i, name in enumerate(PASSING_FAULTS)}
    assert by_fault == dict.fromkeys(PASSING_FAULTS, [good_draft] * 3)
    assert requests == dict.fromkeys(range(count), 2)


LASTING_FAULTS = {
    "refusal": (answer("", refusal="I cannot help with that"), "the model refused", 1),
    "content filter": (answer("", finish_reason="content_filter"), "the model refused", 1),
    "bad request": (Reply(400, {"error": {"message": "no"}}), "the server refused the request (400)", 1),
    "flagged": (
        Reply(403, {"error": {"message": "needs moderation, zebra was flagged", "code": 403, "metadata": {}}}),
        "the server's filter refused the text (403)",
        1,
    ),
    "length": (answer("{", finish_reason="length"), "cut off at max_tokens", 2),
    "truncated JSON": (answer("{"), "check_schema: it is not complete JSON", 2),
    "invented finding": (answer(INVENTED_FRACTURE), "check_findings", 2),
    "500": (Reply(500), "the server answered 500", 3),
    "dropped": (Reply(cut=0), "the connection failed", 3),
    "time-out": (Reply(delay=20.0), "no answer within the time limit", 3),
}


def test_a_fault_that_stays_leaves_the_pair_to_the_rules_and_says_why(tmp_path: Path) -> None:
    faults = list(LASTING_FAULTS.values())

    def behave(request: Request) -> Reply:
        place, is_faulty = divmod(number(request), 2)
        return faults[place][0] if is_faulty else GOOD

    with running(behave) as server:
        drafts = write(server.url, tmp_path, count=2 * len(faults), attempts=3, timeout_seconds=0.5, in_flight=8)
        requests = Counter(number(request) for request in server.requests)
    assert [draft.fallback_reason for draft in drafts] == [r for _, reason, _ in faults for r in (None, reason)]
    assert [requests[i] for i in range(2 * len(faults))] == [n for _, _, count in faults for n in (1, count)]
    for i in range(1, 2 * len(faults), 2):
        assert drafts[i].model is None
        assert "edema" in drafts[i].description
        assert all(checks.run(drafts[i].description, *pair(i)).values())


def test_the_model_gets_the_reason_why_its_answer_cannot_be_used(tmp_path: Path) -> None:
    with running(at_first(answer(INVENTED_FRACTURE))) as server:
        write(server.url, tmp_path, count=1)
    before, again = (request.body["messages"] for request in server.requests)
    assert again[: len(before)] == before
    assert again[-2] == {"role": "assistant", "content": json.dumps(INVENTED_FRACTURE)}
    assert "tells a finding that the reports do not tell" in again[-1]["content"]


@pytest.mark.parametrize("form", ["seconds", "milliseconds", "date"])
def test_a_server_that_asks_to_wait_is_left_alone_by_every_request(form: str, tmp_path: Path) -> None:
    refusal_times: list[float] = []

    def behave(request: Request) -> Reply:
        if not refusal_times:
            refusal_times.append(time.monotonic())
            headers = {
                "seconds": {"Retry-After": "1"},
                "milliseconds": {"retry-after-ms": "1000"},
                "date": {"Retry-After": email.utils.formatdate(time.time() + 2, usegmt=True)},
            }
            return Reply(429, {"error": {}}, headers[form])
        return GOOD

    with running(behave) as server:
        drafts = write(server.url, tmp_path, count=12, in_flight=1)
        later = [request.time - refusal_times[0] for request in server.requests[1:]]
    assert [draft.fallback_reason for draft in drafts] == [None] * 12
    assert len(later) == 12
    assert min(later) >= 0.99


def test_while_one_waits_the_others_under_way_wait_too(tmp_path: Path) -> None:
    refusal_times: list[float] = []

    def behave(request: Request) -> Reply:
        if "Case 3." in request.question and not refusal_times:
            refusal_times.append(time.monotonic())
            return Reply(429, {"error": {}}, {"Retry-After": "1"})
        return Reply(body=GOOD.body, delay=0.05)

    with running(behave) as server:
        write(server.url, tmp_path, count=40, in_flight=4)
        meanwhile = [r for r in server.requests if 0 < r.time - refusal_times[0] < 0.95]
    assert len(server.requests) == 41
    # the three others may each send two more before the refusal is read; without waiting it would be more than thirty
    assert len(meanwhile) <= 6


def test_order_and_count_hold_when_answers_come_in_any_order(tmp_path: Path) -> None:
    wordings = ("new pulmonary edema", "pulmonary edema is new", "newly developed pulmonary edema")

    def behave(request: Request) -> Reply:
        reply = answer(NEW_EDEMA | {"description": wordings[number(request) % 3]})
        reply.delay = 0.001 * (number(request) * 37 % 50)
        return reply

    with running(behave) as server:
        drafts = write(server.url, tmp_path, count=60, in_flight=16)
        assert server.most_open <= 16
    assert [draft.description for draft in drafts] == [wordings[i % 3] for i in range(60)]


def test_what_was_answered_is_never_asked_again(tmp_path: Path) -> None:
    def behave(request: Request) -> Reply:
        if number(request) >= 4:
            return Reply(401, {"error": {}})
        return answer(INVENTED_FRACTURE) if number(request) == 1 else GOOD

    with running(behave) as server, pytest.raises(UserError, match="401"):
        write(server.url, tmp_path, count=8, in_flight=1)
    assert len(server.requests) == 6
    with running(at_first(GOOD)) as server:
        first = write(server.url, tmp_path, count=8)
        assert len(server.requests) == 4
        assert write(server.url, tmp_path, count=8) == first
        assert len(server.requests) == 4
        write(server.url, tmp_path, count=8, model="another")
        assert len(server.requests) == 12
    assert first[1].fallback_reason == "check_findings"


def test_equal_pairs_of_texts_are_asked_once(tmp_path: Path) -> None:
    with running(lambda request: Reply(body=GOOD.body, delay=0.1)) as server:
        drafts = model_writer.write(
            [pair(i % 2) for i in range(20)], writer_settings(server.url, tmp_path), seed=0, credentialed=True
        )
    assert len(drafts) == 20
    assert len(server.requests) == 2


@pytest.mark.parametrize("name", ["code", "type"])
def test_a_used_up_account_ends_the_step_at_once(name: str, tmp_path: Path) -> None:
    body = {"error": {"message": "zebra", "code": None, "type": "x"} | {name: "insufficient_quota"}}
    with (
        running(lambda request: Reply(429, body)) as server,
        pytest.raises(UserError, match=r"429 \(insufficient_quota"),
    ):
        write(server.url, tmp_path, count=20)
    assert len(server.requests) == 1


@pytest.mark.parametrize(("status", "says"), [(401, "key is wrong"), (404, "not know the model"), (307, "redirects")])
def test_what_no_other_attempt_can_fix_ends_the_step(status: int, says: str, tmp_path: Path) -> None:
    reply = Reply(status, {"error": {"message": "secret text"}}, {"Location": "http://192.0.2.1/v1/chat/completions"})
    with running(lambda request: reply) as server, pytest.raises(UserError, match=says) as caught:
        write(server.url, tmp_path, count=50)
    assert "secret" not in str(caught.value)
    assert len(server.requests) <= 4


def test_too_many_fallbacks_end_the_step(tmp_path: Path) -> None:
    invented = answer(INVENTED_FRACTURE)
    late = Reply(body=invented.body, delay=0.3)  # the sixth fallback comes when the fifth has ended the step
    with running(lambda request: late if number(request) == 0 else invented) as server:
        settings = writer_settings(server.url, tmp_path) | {"largest_fallback_share": 0.1}
        message = r"more than 10\.0% of 40 descriptions by the model were refused \(5 x check_findings\)"
        with pytest.raises(UserError, match=message):
            model_writer.write([pair(i) for i in range(40)], settings, seed=0, credentialed=True)
    assert len(server.requests) < 2 * 12


def test_a_request_that_waits_for_money_goes_on_as_soon_as_another_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    price, largest = {"input": 0.0, "output": 1e6 / 400}, {"requests": None, "dollars": 1.5}  # a request: at most $1
    price_of_answer = 50 / 400
    settings = writer_settings("http://x", tmp_path, price=price, largest=largest, max_tokens=400)["openai"]
    let_others_run = asyncio.sleep

    async def no_sleep(seconds: float) -> None:
        raise AssertionError("nothing waits for a time here")

    class Client:
        """Holds every request until it is released."""

        def __init__(self) -> None:
            self.released: list[asyncio.Event] = []

        async def post(self, path: str, *, cast_to: type[BaseModel], body: Any) -> Any:
            event = asyncio.Event()
            self.released.append(event)
            await event.wait()
            return cast_to.model_validate(GOOD.body)

    async def scenario() -> None:
        client = Client()
        asker = Asker(settings, 0, client, Cache(tmp_path / "cache"), private=True)
        asker.pace.clock = lambda: 1e9  # no request is held back by the rate limits
        asker.pace.request = asker.pace.token = 0.0
        monkeypatch.setattr("asyncio.sleep", no_sleep)
        requests = [asyncio.ensure_future(asker.ask(prompt.messages(*pair(i)))) for i in range(3)]
        for under_way in (1, 2, 3):
            for _ in range(20):
                await let_others_run(0)
            assert len(client.released) == under_way  # one at a time: a second could exceed the cap
            client.released[-1].set()
        await asyncio.wait_for(asyncio.gather(*requests), timeout=10)
        assert asker.spent.dollars == pytest.approx(3 * price_of_answer)
        assert asker.spent.under_way == 0

    asyncio.run(asyncio.wait_for(scenario(), timeout=20))


def test_kept_answers_that_lack_something_are_asked_for_again(tmp_path: Path) -> None:
    with running(lambda request: GOOD) as server:
        first = write(server.url, tmp_path, count=3)
        for kept, content in zip(tmp_path.rglob("*.json"), ("{}", '{"text": "new edema"}', "half"), strict=True):
            kept.write_text(content)
        assert write(server.url, tmp_path, count=3) == first
        assert len(server.requests) == 6
        write(server.url, tmp_path, count=3)
        assert len(server.requests) == 6


def test_the_cap_on_requests_holds(tmp_path: Path) -> None:
    with running(lambda request: GOOD) as server:
        with pytest.raises(UserError, match="cap of 10 requests"):
            write(server.url, tmp_path, count=30, largest={"requests": 10, "dollars": None})
        assert len(server.requests) == 10
        write(server.url, tmp_path, count=10)  # what was under way when the cap was met is kept too
        assert len(server.requests) == 10


def test_the_cap_on_money_is_not_exceeded_by_requests_under_way(tmp_path: Path) -> None:
    price = {"input": 0.0, "output": 1000.0}  # an answer of the server costs 0.05, of max_tokens 0.4
    largest = {"requests": None, "dollars": 1.0}
    with (
        running(lambda request: Reply(body=GOOD.body, delay=0.05)) as server,
        pytest.raises(UserError, match=r"cap of \$1 "),
    ):
        write(server.url, tmp_path, count=40, in_flight=8, price=price, largest=largest)
    assert 10 <= len(server.requests) <= 20


def test_requests_keep_to_the_rate_limit(tmp_path: Path) -> None:
    with running(lambda request: GOOD) as server:
        write(server.url, tmp_path, count=20, requests_per_minute=1200)
        times = [request.time for request in server.requests]
    assert times[-1] - times[0] >= 0.6  # 19 gaps of 0.05 s, less what the first took to connect


def has(body: dict[str, Any], part: str) -> bool:
    """Whether a request has a part that a server may refuse."""
    if part == "json_schema":
        return bool(body.get("response_format", {}).get("type") == "json_schema")
    if part == "system":
        return bool(body["messages"][0]["role"] == "system")
    return part in body


def openai_refusal(part: str) -> Any:
    param = {"json_schema": "response_format", "system": "messages[0].role"}.get(part, part)
    message = f"Unsupported parameter: '{param}' is not supported with this model. Use 'another' instead."
    return {"error": {"message": message, "type": "x", "param": param, "code": "unsupported_parameter"}}


def fastapi_refusal(part: str) -> Any:
    place = ["body", "response_format", "type"] if part == "json_schema" else ["body", part]
    echo = {"temperature": 0, "seed": 1, "messages": "max_tokens response_format"}
    error = {"type": "extra_forbidden", "loc": place, "msg": "Extra inputs are not permitted", "input": echo}
    return {"detail": [error]}


# how servers say that they refuse a part of a request
SHAPES: dict[str, tuple[int, Callable[[str], Any]]] = {
    "OpenAI": (400, openai_refusal),
    "code without param": (400, lambda p: {"error": openai_refusal(p)["error"] | {"param": None}}),
    "no param at all": (400, lambda p: {"error": {"message": openai_refusal(p)["error"]["message"], "code": "x"}}),
    "vLLM": (400, lambda p: {"object": "error", "message": f"{p} is not supported", "param": None, "code": 400}),
    "FastAPI": (422, fastapi_refusal),
    "Mistral": (422, lambda p: {"message": json.dumps(fastapi_refusal(p)), "param": None, "code": "1000"}),
    "Mistral, nested": (422, lambda p: {"message": fastapi_refusal(p), "type": "invalid_request_error", "code": None}),
    "Python's repr": (400, lambda p: {"message": str(fastapi_refusal(p)["detail"]), "code": 400}),
    "error is a text": (422, lambda p: {"error": f"Input validation error: `{p}` must be left out", "error_type": "x"}),
    "message alone": (400, lambda p: {"message": f"unknown variant `{p}`, expected one of `text`"}),
    "detail is a text": (400, lambda p: {"detail": f"{p}: not implemented"}),
    "list": (400, lambda p: [{"error": {"code": 400, "message": f"{p} is unknown", "status": "INVALID_ARGUMENT"}}]),
    "not implemented": (501, lambda p: {"error": {"message": f"{p} is not implemented", "code": 501}}),
    "no JSON": (400, lambda p: f"<p>{p} not allowed</p>".encode()),
    "nothing said": (400, lambda p: {"error": {"message": "Bad Request", "param": None, "code": None}}),
    "empty": (400, lambda p: b""),
}  # fmt: skip
SETS = [["max_tokens"], ["temperature"], ["json_schema"], ["response_format"], ["seed"], ["max_tokens", "temperature"],
        ["temperature", "response_format", "seed"], ["max_tokens", "max_completion_tokens"]]  # fmt: skip


def refusing(parts: list[str], shape: str, good: Counter[int]) -> Callable[[Request], Reply]:
    """Refuses each request that has one of the parts, and counts the answers by pair."""
    status, body = SHAPES[shape]

    def behave(request: Request) -> Reply:
        for part in parts:
            if has(request.body, part):
                return Reply(status, body(part))
        good[number(request)] += 1
        return Reply(body=GOOD.body, delay=0.01)

    return behave


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("parts", SETS, ids="+".join)
def test_a_refused_parameter_is_learned_once(parts: list[str], shape: str, tmp_path: Path) -> None:
    good: Counter[int] = Counter()
    with running(refusing(parts, shape, good)) as server:
        drafts = write(server.url, tmp_path, count=10, in_flight=5)
        refused = len(server.requests) - good.total()
        assert [draft.fallback_reason for draft in drafts] == [None] * 10
        assert good == dict.fromkeys(range(10), 1)
        if shape in ("nothing said", "empty"):
            assert refused <= 13
        else:
            assert refused == len(parts) + ("response_format" in parts)
        assert all(request.body.get("max_completion_tokens", 400) == 400 for request in server.requests)
    with running(lambda request: GOOD) as server:
        assert write(server.url, tmp_path, count=10) == drafts
        assert server.requests == []  # the keys are those of the parameters that were wanted


@pytest.mark.parametrize(
    "body",
    [openai_refusal("system"), {"object": "error", "message": "System role not supported", "param": None, "code": 400},
     {"error": {"message": "Conversation roles must alternate user/assistant/user/assistant/..."}}, b""],
)  # fmt: skip
def test_a_model_without_a_system_role_gets_its_text_with_the_first_question(body: Any, tmp_path: Path) -> None:
    with running(lambda request: Reply(400, body) if has(request.body, "system") else GOOD) as server:
        drafts = write(server.url, tmp_path, count=3)
        first, last = server.requests[0].body["messages"], server.requests[-1].body["messages"]
    assert [draft.fallback_reason for draft in drafts] == [None] * 3
    assert last[0] == {"role": "user", "content": f"{first[0]['content']}\n\n{first[1]['content']}"}
    assert [message["role"] for message in last] == [message["role"] for message in first[1:]]


def test_what_is_learned_while_many_requests_are_under_way_holds_for_all(tmp_path: Path) -> None:
    """The server is exchanged for another after ten answers."""
    answered: Counter[int] = Counter()

    def behave(request: Request) -> Reply:
        if answered.total() >= 10 and "temperature" in request.body:
            return Reply(400, openai_refusal("temperature"), delay=0.05)
        answered[number(request)] += 1
        return Reply(body=GOOD.body, delay=0.02)

    with running(behave) as server:
        drafts = write(server.url, tmp_path, count=60, in_flight=16)
        refused = len(server.requests) - answered.total()
    assert [draft.fallback_reason for draft in drafts] == [None] * 60
    assert answered == dict.fromkeys(range(60), 1)
    assert 1 <= refused <= 16


ECHO = "Case 1. The temperature, the json_schema and the seed of zebra max_tokens."
OWN_FAULTS = {
    "too long, OpenAI": (
        {"error": {"message": f"too long: {ECHO}", "param": "messages", "code": "context_length_exceeded"}},
        "prompt and max_tokens are too long for the server (400, code context_length_exceeded, parameter messages)",
    ),
    "too long, vLLM": (
        {"object": "error", "code": 400, "param": None,
         "message": f"The maximum context length is 2048 tokens. You requested 2500. Reduce max_tokens. {ECHO}"},
        "prompt and max_tokens are too long for the server (400)",
    ),
    "too long, named max_tokens": (
        {"error": {"message": "'max_tokens' or 'max_completion_tokens' is too large: 400.", "param": "max_tokens"}},
        "prompt and max_tokens are too long for the server (400, parameter max_tokens)",
    ),
    "content filter, Azure": (
        {"error": {"message": f"The response was filtered: {ECHO}", "param": "prompt", "code": "content_filter",
                   "innererror": {"code": "ResponsibleAIPolicyViolation"}}},
        "the server's filter refused the text (400, code content_filter, parameter prompt)",
    ),
    "another parameter": (
        {"error": {"message": ECHO, "param": "user", "code": "unknown_parameter"}},
        "the server refused the request (400, code unknown_parameter, parameter user)",
    ),
    "code with a sentence": (
        {"error": {"message": ECHO, "param": f"because {ECHO}", "code": f"bad {ECHO}"}},
        "the server refused the request (400)",
    ),
    "no reason": ({"error": {"message": ECHO}}, "the server refused the request (400)"),
}  # fmt: skip


@pytest.mark.parametrize("fault", OWN_FAULTS)
def test_a_request_that_is_refused_for_its_own_sake_changes_no_parameter(fault: str, tmp_path: Path) -> None:
    body, reason = OWN_FAULTS[fault]
    with running(lambda request: Reply(400, body) if number(request) == 3 else GOOD) as server:
        drafts = write(server.url, tmp_path, count=8)
        requests = Counter(number(request) for request in server.requests)
        assert all(request.body["temperature"] == 0 for request in server.requests)
    assert [draft.fallback_reason for draft in drafts] == [reason if i == 3 else None for i in range(8)]
    assert requests == dict.fromkeys(range(8), 1)
    kept = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    assert "zebra" not in kept


def test_the_first_pair_may_be_the_one_that_is_refused(tmp_path: Path) -> None:
    """Its message names a parameter, which is tried and given back."""
    body = {"error": {"message": "unsupported temperature"}}
    with running(lambda request: Reply(400, body) if number(request) == 0 else GOOD) as server:
        drafts = write(server.url, tmp_path, count=5)
        later = [request.body for request in server.requests if number(request)]
    assert [draft.fallback_reason for draft in drafts] == ["the server refused the request (400)", *[None] * 4]
    assert [body["temperature"] for body in later] == [0] * 4


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"error": {"message": "x", "param": "model", "code": "invalid_value"}},
         r"400, code invalid_value, parameter model \(it does not know the model"),
        ({"error": {"message": "The model `m` does not exist.", "param": None}}, "does not know the model"),
        ({"error": {"code": "model_not_found"}}, "400, code model_not_found"),
        ([{"error": {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT"}}], "the key is wrong"),
    ],
)  # fmt: skip
def test_a_refusal_that_meets_every_request_ends_the_step_at_once(body: Any, says: str, tmp_path: Path) -> None:
    with running(lambda request: Reply(400, body)) as server, pytest.raises(UserError, match=says):
        write(server.url, tmp_path, count=50)
    assert len(server.requests) == 1


def test_what_a_server_refuses_by_name_and_needs_is_said_with_code_and_parameter(tmp_path: Path) -> None:
    body = {"error": {"message": ECHO, "param": "messages[3].content", "code": "invalid_type"}}
    with running(lambda request: Reply(400, body)) as server:
        settings = writer_settings(server.url, tmp_path) | {"largest_fallback_share": 0.1}
        message = (
            r"\(\d x the server refused the request \(400, code invalid_type, parameter messages\[3\]\.content\)\)"
        )
        with pytest.raises(UserError, match=message) as caught:
            model_writer.write([pair(i) for i in range(10)], settings, seed=0, credentialed=True)
    assert "zebra" not in str(caught.value)


def test_a_cap_on_money_needs_a_limit_of_the_answers(tmp_path: Path) -> None:
    good: Counter[int] = Counter()
    largest = {"requests": None, "dollars": 5.0}
    message = r"code unsupported_parameter, parameter max_completion_tokens\): .*rewrite\.openai\.largest\.dollars"
    with (
        running(refusing(["max_tokens", "max_completion_tokens"], "OpenAI", good)) as server,
        pytest.raises(UserError, match=message),
    ):
        write(server.url, tmp_path, largest=largest)
    assert len(server.requests) == 2


def test_a_server_that_refuses_everything_is_not_tried_for_every_pair(tmp_path: Path) -> None:
    with running(lambda request: Reply(400, b"no")) as server:
        drafts = write(server.url, tmp_path, count=40)
    assert {draft.fallback_reason for draft in drafts} == {"the server refused the request (400)"}
    assert len(server.requests) < 40 + 3 * 14


def message(**parts: Any) -> Reply:
    """A good reply whose message has these parts."""
    reply = answer("")
    reply.body["choices"][0]["message"] |= parts
    return reply


TEXT = json.dumps(NEW_EDEMA, indent=1)
DRAFT = json.dumps(NEW_EDEMA | {"description": "new severe pulmonary edema"})
BRACES = NEW_EDEMA | {"description": "new mild pulmonary edema {sic} ``` }{"}
READABLE = {
    "fence": answer(f"```json\n{TEXT}\n```"),
    "fence without a name": answer(f"```\n{TEXT}\n```"),
    "fence, capitals, one line": answer(f"```JSON {json.dumps(NEW_EDEMA)}```"),
    "fence between words": answer(f"Here is the JSON:\n\n```json\n{TEXT}\n```\nLet me know {{if}} you need more."),
    "fence without an end": answer(f"```json\n{TEXT}\n"),
    "after words": answer(f"Here is the JSON: {TEXT}"),
    "after words with braces": answer(f"As {{asked}}, with the keys {{changes, description}}: {TEXT} {{}}"),
    "thought": answer(f"<think>\nThe edema {{is}} new. Maybe {DRAFT}?\n</think>\n\n{TEXT}"),
    "thought, then fence": answer(f"<think>{DRAFT}</think>Sure!\n```json\n{TEXT}\n```"),
    "end of a thought alone": answer(f"It is new: {DRAFT}. No, mild.\n</think>\n{TEXT}"),
    "thought without an end": answer(f"<think>\nThe edema is new, so the answer is\n{TEXT}"),
    "answer inside the thought": answer(f"<think>It is {TEXT}</think>"),
    "other tags": answer(f"[THINK]{DRAFT}[/THINK]{TEXT}"),
    "channels": answer(f"<|channel|>analysis<|message|>{DRAFT}<|end|><|channel|>final<|message|>{TEXT}"),
    "answer tags": answer(f"<answer>{TEXT}</answer>"),
    "list": answer(f"[{TEXT}]"),
    "wrapped": answer({"progression": NEW_EDEMA}),
    "wrapped, after words": answer(f'Here is the JSON: {{"response": {TEXT}}}'),
    "written as a text": answer(json.dumps(TEXT)),
    "after the schema": answer(f"{json.dumps(prompt.SCHEMA)}\n{TEXT}"),
    "before the schema": answer(f"{TEXT}\n{json.dumps(prompt.SCHEMA)}"),
    "draft, then answer": answer(f"First: {DRAFT}\nWith the right degree: {TEXT}"),
    "the rule repeated": answer(f'I answer {{"changes": [], "description": 1}}. {TEXT} {{"finding": "edema"}}'),
    "line break in the text": answer(TEXT.replace("pulmonary edema", "pulmonary\n edema")),
    "byte order mark": answer(f"\ufeff{TEXT}"),
    "parts": message(content=[{"type": "thinking", "text": DRAFT}, {"type": "text", "text": TEXT[:30]},
                                   {"type": "text", "text": TEXT[30:]}]),
    "thoughts beside it": answer(TEXT, reasoning_content=f"Perhaps {DRAFT}"),
    "among the thoughts, null": message(content=None, reasoning_content=TEXT),
    "among the thoughts, empty": answer("\n", reasoning=TEXT),
    "spaces up to the limit": answer(TEXT + "\n" * 999, finish_reason="length"),
    "words up to the limit": answer(f"<think>{DRAFT}</think>{TEXT}\nThe edema", finish_reason="length"),
}  # fmt: skip


def test_an_answer_among_other_words_is_read_and_paid_once(tmp_path: Path) -> None:
    replies = list(READABLE.values())
    with running(lambda request: replies[number(request)]) as server:
        drafts = write(server.url, tmp_path, count=len(replies))
        assert len(server.requests) == len(replies)
    good_draft = Draft("new mild pulmonary edema", "fake-2026-01-01")
    assert dict(zip(READABLE, drafts, strict=True)) == dict.fromkeys(READABLE, good_draft)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"<think>It may be {DRAFT}, or", "cut off at max_tokens"),
        (f"[THINK]It may be {DRAFT}", "cut off at max_tokens"),
        (f"```json\n{TEXT[:-9]}", "cut off at max_tokens"),
        (TEXT.replace('"changes"', '"changed"') * 2, "cut off at max_tokens"),
    ],
)
def test_of_a_text_that_was_cut_off_no_thought_is_the_answer(text: str, reason: str, tmp_path: Path) -> None:
    with running(lambda request: answer(text, finish_reason="length")) as server:
        (draft,) = write(server.url, tmp_path, count=1)
    assert draft.fallback_reason == reason


@pytest.mark.parametrize(
    "text",
    ["{", "{" * 5000, '{"a":' * 5000, "[]" * 5, "no {braces} here", f"```json\n{TEXT[:-5]}\n```", f"{TEXT[:-5]} }} ]"],
)
def test_what_holds_no_answer_is_asked_again(text: str, tmp_path: Path) -> None:
    with running(at_first(answer(text))) as server:
        (draft,) = write(server.url, tmp_path, count=1)
        assert "it is not complete JSON" in server.requests[1].body["messages"][-1]["content"]
    assert draft.fallback_reason is None


def test_a_fault_inside_a_fence_is_told_and_the_thoughts_are_not_sent_back(tmp_path: Path) -> None:
    fenced = f"```json\n{json.dumps(WRONG_SCHEMA)}\n```"
    with running(at_first(answer(f"<think>zebra</think>{fenced}"))) as server:
        write(server.url, tmp_path, count=1)
        *_, sent_back, request = server.requests[1].body["messages"]
    assert sent_back["content"] == fenced
    assert "it breaks the rule 'required' of the schema at changes.0" in request["content"]


@pytest.mark.parametrize("piece", ["{", '{"', '{"a":', '{"a":"x{', '{"a":1}', "<think>"])
def test_a_long_text_without_an_answer_is_soon_read(piece: str) -> None:
    start = time.process_time()
    with pytest.raises(prompt.NotAnAnswer):
        prompt.description(piece * 50_000)
    assert time.process_time() - start < 0.5


def test_braces_inside_a_text_belong_to_it() -> None:
    assert prompt.description(f"So: {json.dumps(BRACES)} {{") == BRACES["description"]


def counted(request: Request) -> list[str]:
    """The tokens of a request: words of up to four letters."""
    text = "".join(f"<{message['role']}>{message['content']}" for message in request.body["messages"])
    return [text[i : i + 4] for i in range(0, len(text), 4)]


class Caching:
    """Counts the tokens that are not in a cache of the last prompts, as Ollama does."""

    def __init__(self, prompts: int = 1) -> None:
        self.prompts, self.kept = prompts, list[list[str]]()

    def __call__(self, request: Request) -> Reply:
        tokens = counted(request)
        beginnings = (takewhile(lambda both: both[0] == both[1], zip(tokens, kept, strict=False)) for kept in self.kept)
        known = max((len(list(beginning)) for beginning in beginnings), default=0)
        self.kept = [*self.kept, tokens][-self.prompts :]
        return answer(NEW_EDEMA, tokens_read=max(1, len(tokens) - known))


@pytest.mark.parametrize("limit", [100, 256, 450])
def test_a_server_that_cuts_prompts_ends_the_step_and_no_answer_is_kept(limit: int, tmp_path: Path) -> None:
    def behave(request: Request) -> Reply:
        return answer(NEW_EDEMA, tokens_read=min(limit, len(counted(request))))

    with running(behave) as server, pytest.raises(UserError, match="OLLAMA_CONTEXT_LENGTH, or num_ctx") as caught:
        write(server.url, tmp_path, count=20, in_flight=8)
    assert f"read {limit} tokens of a prompt of about 11" in str(caught.value)
    assert "to at least 2048" in str(caught.value)  # 1126 of the prompt and 400 of the answer
    assert len(server.requests) == 1
    with running(lambda request: GOOD) as server:
        assert write(server.url, tmp_path, count=20)[0].fallback_reason is None
        assert len(server.requests) == 20


@pytest.mark.parametrize(("limit", "sentences"), [(256, 12), (512, 24), (1024, 110)])
def test_a_cut_that_leaves_as_much_as_a_cache_would_is_found_by_its_count(
    limit: int, sentences: int, tmp_path: Path
) -> None:
    """The count is near the size of the pair's own reports, but the same for all pairs."""
    pairs = [
        (
            replace(
                prior, findings=f"{prior.findings} {'The lungs are clear. ' * (sentences + sentences * (i % 4) // 6)}"
            ),
            current,
        )
        for i, (prior, current) in enumerate(map(pair, range(20)))
    ]
    pairs = [(replace(p, impression=f"{p.impression} {'No effusion. ' * sentences}"), c) for p, c in pairs]

    def behave(request: Request) -> Reply:
        return answer(NEW_EDEMA, tokens_read=min(limit, len(counted(request))))

    message = f"read {limit} tokens of a prompt of about"
    with running(behave) as server, pytest.raises(UserError, match=message):
        model_writer.write(pairs, writer_settings(server.url, tmp_path), seed=0, credentialed=True)
    assert len(server.requests) <= 8


def usage(**counts: Any) -> Reply:
    reply = answer(NEW_EDEMA)
    return Reply(body=reply.body | {"usage": counts or None})


INNOCENT: dict[str, Callable[[], Callable[[Request], Reply]]] = {
    "whole prompts": lambda: lambda request: answer(NEW_EDEMA, tokens_read=len(counted(request))),
    "few, long tokens": lambda: lambda request: answer(NEW_EDEMA, tokens_read=len(counted(request)) * 3 // 4),
    "cache of one": lambda: Caching(),
    "cache of many": lambda: Caching(prompts=99),
    "no usage": lambda: lambda request: usage(),
    "zeros": lambda: lambda request: usage(prompt_tokens=0, completion_tokens=0, total_tokens=0),
    "nulls": lambda: lambda request: usage(prompt_tokens=None, completion_tokens=None),
    "cached tokens beside": lambda: (
        lambda request: usage(prompt_tokens=90, completion_tokens=5, prompt_tokens_details={"cached_tokens": 900})
    ),
}


@pytest.mark.parametrize("name", INNOCENT)
def test_a_server_that_reads_whole_prompts_is_not_accused(name: str, tmp_path: Path) -> None:
    """Also not in a run that goes on from another one, and not for a prompt that asks again."""
    innocent = INNOCENT[name]()
    asked: Counter[int] = Counter()

    def behave(request: Request) -> Reply:
        asked[number(request)] += 1
        reply = innocent(request)
        if number(request) % 4 == 1 and asked[number(request)] == 1:  # is asked again
            return Reply(body=reply.body | {"choices": answer("no").body["choices"]})
        return Reply(reply.status, reply.body, delay=0.01 * (number(request) % 3))

    with running(behave) as server:
        for count in (6, 12, 30):
            drafts = write(server.url, tmp_path, count=count, in_flight=6)
            assert [draft.fallback_reason for draft in drafts] == [None] * count
    assert asked == {i: 1 + (i % 4 == 1) for i in range(30)}


def test_a_run_that_was_killed_while_the_server_read_is_not_accused(tmp_path: Path) -> None:
    """The prompts under way are asked once more, and are whole in the server's cache."""
    server_cache = Caching(prompts=99)
    with running(server_cache) as server:
        write(server.url, tmp_path / "lost", count=6)
        drafts = write(server.url, tmp_path / "again", count=12)
    assert [draft.fallback_reason for draft in drafts] == [None] * 12


def test_one_long_prompt_that_is_cut_leaves_its_pair_to_the_rules(tmp_path: Path) -> None:
    pairs = [pair(i) for i in range(8)]
    pairs[5] = (replace(pairs[5][0], findings=pairs[5][0].findings + " The lungs are clear." * 600), pairs[5][1])
    with running(lambda request: answer(NEW_EDEMA, tokens_read=min(len(counted(request)), 1100))) as server:
        drafts = model_writer.write(pairs, writer_settings(server.url, tmp_path), seed=0, credentialed=True)
        assert len(server.requests) == 8
        with pytest.raises(UserError, match="read 1100 tokens"):  # its answer was not kept, and now it is the first
            model_writer.write(pairs, writer_settings(server.url, tmp_path), seed=0, credentialed=True)
        assert len(server.requests) == 9
    reason = "the server cut the prompt: its context length is too small"
    assert [draft.fallback_reason for draft in drafts] == [reason if i == 5 else None for i in range(8)]


def test_a_reply_without_usage_costs_as_much_as_it_can(tmp_path: Path) -> None:
    price, largest = {"input": 0.0, "output": 1000.0}, {"requests": None, "dollars": 1.0}
    with running(lambda request: usage()) as server, pytest.raises(UserError, match=r"\$0\.80 spent"):
        write(server.url, tmp_path, price=price, largest=largest)
    assert len(server.requests) == 2


IN_HEADERS: list[tuple[dict[str, str], float]] = [
    ({"retry-after": "20"}, 20), ({"retry-after": "0.25"}, 0.25), ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
    ({"retry-after": "7s"}, 7), ({"retry-after": "soon", "x-ratelimit-reset-tokens": "3s"}, 3),
    *[({"x-ratelimit-reset-requests": text}, seconds) for text, seconds in {
        "20s": 20, "6m0s": 360, "120ms": 0.12, "1h2m3.5s": 3723.5, "2m59.56s": 179.56, "1.5": 1.5, "59": 59,
        "500us": 5e-4, "PT1M30S": 90, " 8s ": 8, "1d": 86400, "20S": 20,
        "": 0, "soon": 0, "-1": 0, "nan": 0, "inf": 0, "900h": 0,
    }.items()],
    ({"x-ratelimit-reset-tokens": "2s", "x-ratelimit-reset-requests": "120ms"}, 2),
    ({"x-ratelimit-reset-tokens": "2s", "x-ratelimit-remaining-tokens": "12",
      "x-ratelimit-reset-requests": "7m12s", "x-ratelimit-remaining-requests": "199"}, 2),
    ({"x-ratelimit-reset-tokens": "9m", "x-ratelimit-remaining-tokens": "90000",
      "x-ratelimit-reset-requests": "3s", "x-ratelimit-remaining-requests": "0"}, 3),
    ({"x-ratelimit-reset-requests-day": "8h", "x-ratelimit-remaining-requests-day": "4",
      "x-ratelimit-reset-tokens-minute": "31.5", "x-ratelimit-remaining-tokens-minute": "0"}, 31.5),
    ({"x-ratelimit-reset-requests": "0", "x-ratelimit-remaining-requests": "-1"}, 0),
    ({"ratelimit-reset": "12"}, 12), ({"x-rate-limit-reset": "12"}, 12), ({"x-ratelimit-limit-requests": "60"}, 0),
]  # fmt: skip


@pytest.mark.parametrize(("headers", "seconds"), IN_HEADERS)
def test_what_the_headers_of_a_429_ask_for(headers: dict[str, str], seconds: float) -> None:
    assert pace.asked_wait(429, headers, 1500) == pytest.approx(seconds)


@pytest.mark.parametrize("name", ["retry-after", "anthropic-ratelimit-requests-reset", "x-ratelimit-reset"])
@pytest.mark.parametrize(
    "form",
    [
        lambda t: datetime.fromtimestamp(t, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        lambda t: datetime.fromtimestamp(t, timezone(timedelta(hours=-5))).isoformat(),
        lambda t: datetime.fromtimestamp(t, UTC).strftime("%Y-%m-%d %H:%M:%S"),
        lambda t: email.utils.formatdate(t, usegmt=True),
        lambda t: f"{t:.0f}",
        lambda t: f"{1000 * t:.0f}",
    ],
)
def test_a_time_of_day_in_the_headers(name: str, form: Callable[[float], str]) -> None:
    assert pace.asked_wait(429, {name: form(time.time() + 40)}, 1500) == pytest.approx(40, abs=1.5)
    assert pace.asked_wait(429, {name: form(time.time() - 40)}, 1500) == 0


def test_the_rest_of_a_quota_is_no_reason_to_wait_for_a_broken_server() -> None:
    assert pace.asked_wait(503, {"x-ratelimit-reset-requests": "6m0s"}, 1500) == 0
    assert pace.asked_wait(503, {"retry-after": "6"}, 1500) == 6


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that the writer has waited, in one number: they take no time. The waits are as long as in use."""
    seconds, sleep = [0.0], asyncio.sleep

    async def count_and_go_on(duration: float) -> None:
        if threading.current_thread() is threading.main_thread():
            seconds[0] += duration
        await sleep(0)

    monkeypatch.setattr("asyncio.sleep", count_and_go_on)
    monkeypatch.setattr(pace.Pace.__init__, "__defaults__", (lambda: seconds[0],))
    monkeypatch.setattr("biomedjourney.rewrite.ask.FIRST_WAIT", FIRST_WAIT)
    return seconds


@pytest.mark.parametrize(
    ("headers", "window", "requests"),
    [({}, 62.0, None), ({"Retry-After": "1"}, 60.0, None), ({"x-ratelimit-reset-requests": "6m0s"}, 360.0, 2),
     ({"x-ratelimit-reset-tokens": "1h2m3.5s"}, 3723.5, 2), ({"x-ratelimit-reset-tokens": "90"}, 90.0, 2)],
)  # fmt: skip
def test_the_attempts_outlast_the_window_of_a_quota(
    headers: dict[str, str], window: float, requests: int | None, slept: list[float], tmp_path: Path
) -> None:
    full = Reply(429, {"error": {"code": "rate_limit_exceeded"}}, headers)
    with running(lambda request: full if slept[0] < window else GOOD) as server:
        (draft,) = write(server.url, tmp_path, count=1, in_flight=1)
        assert requests is None or len(server.requests) == requests
    assert draft.fallback_reason is None
    assert window <= slept[0] < 1.2 * window + 10


def test_a_long_wait_is_told(slept: list[float], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    full = Reply(429, {"error": {}}, {"x-ratelimit-reset-requests": "6m0s"})
    with running(lambda request: full if slept[0] < 360 else GOOD) as server:
        write(server.url, tmp_path, count=4, in_flight=4)
    assert capsys.readouterr().err.count("the server asks to wait 360 s") == 1


def test_a_quota_that_many_requests_share_loses_no_pair(tmp_path: Path) -> None:
    """Five requests in each third of a second; 16 at a time ask for more, and every one of them has two attempts."""
    answered: Counter[int] = Counter()
    window = [0.0, 0.0]  # its end, and how many requests it has had

    def behave(request: Request) -> Reply:
        now = time.monotonic()
        if now > window[0]:
            window[:] = [now + 0.33, 0.0]
        window[1] += 1
        if window[1] > 5:
            return Reply(429, {"error": {}}, {"x-ratelimit-reset-requests": f"{1000 * (window[0] - now):.0f}ms"})
        answered[number(request)] += 1
        return GOOD

    with running(behave) as server:
        drafts = write(server.url, tmp_path, count=40, in_flight=16, attempts=2)
    assert [draft.fallback_reason for draft in drafts] == [None] * 40
    assert answered == dict.fromkeys(range(40), 1)


def test_what_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setenv("HTTP_PROXY", "http://192.0.2.1:3128")
    monkeypatch.setenv("ALL_PROXY", "http://192.0.2.1:3128")
    with running(lambda request: GOOD) as server:
        model_writer.write(
            [(Study({}, "On ___ no edema.", ""), Study({}, "Dr. ___ saw new mild edema.", ""))],
            writer_settings(server.url, tmp_path), seed=7, credentialed=True,
        )  # fmt: skip
    (request,) = server.requests
    assert request.path == "/v1/chat/completions"
    assert request.headers["authorization"] == "Bearer sk-test"
    assert {k: request.body[k] for k in ("model", "temperature", "seed")} == {
        "model": "fake",
        "temperature": 0,
        "seed": 7,
    }
    assert request.body["response_format"]["json_schema"]["strict"] is True
    assert "___" not in request.question
    assert "store" not in request.body
