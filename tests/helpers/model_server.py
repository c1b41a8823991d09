"""A small HTTP server on loopback that speaks OpenAI's chat protocol, and misbehaves on purpose."""

import asyncio
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from biomedjourney import config
from biomedjourney.rewrite.language import mentions
from biomedjourney.rewrite.lexicon import DEVICES
from biomedjourney.rewrite.rules import describe
from biomedjourney.rewrite.study import Study
from tests.helpers import REPOSITORY

# two answers: right for a pair in which an edema is new; wrong for every pair of reports that name no fracture
NEW_EDEMA = {
    "changes": [{"finding": "edema", "side": "none", "direction": "new", "severity": "mild"}],
    "description": "new mild pulmonary edema",
}
INVENTED_FRACTURE = {
    "changes": [{"finding": "fracture", "side": "none", "direction": "new", "severity": "unstated"}],
    "description": "new fracture",
}


@dataclass
class Request:
    """What came in: the body, the headers by their names in lower case, the path, and the time of a clock."""

    body: dict[str, Any]
    headers: dict[str, str]
    path: str
    time: float = field(default_factory=time.monotonic)

    @property
    def question(self) -> str:
        """The two reports: the last message that holds reports."""
        return [m["content"] for m in self.body["messages"] if m["content"].startswith("PRIOR REPORT")][-1]


@dataclass
class Reply:
    """``cut``: how many bytes of the response are sent before the connection is dropped; None: all."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut: int | None = None


def answer(content: Any, finish_reason: str = "stop", tokens_read: int = 1000, **message: Any) -> Reply:
    """A good reply with this text (or JSON of it)."""
    text = content if isinstance(content, str) else json.dumps(content)
    choice = {"index": 0, "finish_reason": finish_reason, "message": {"role": "assistant", "content": text} | message}
    usage = {"prompt_tokens": tokens_read, "completion_tokens": 50, "total_tokens": tokens_read + 50}
    body = {"id": "x", "object": "chat.completion", "created": 0, "model": "fake-2026-01-01"}
    return Reply(body=body | {"choices": [choice], "usage": usage})


def with_changes(description: str) -> dict[str, Any]:
    """The content of an answer with this description: its list of changes names each finding of it."""
    named = {m.finding for m in mentions(description)}
    changes = [
        {"finding": name.replace("_", " "), "side": "none", "direction": "new", "severity": "unstated"}
        for name in (set(DEVICES) if named & set(DEVICES) else set()) | named
    ]
    return {"changes": changes, "description": description}


def read_well(request: Request) -> Reply:
    """The answer of a model that describes the two reports of the question as the rules do."""
    reports = re.split(r"(?:PRIOR|CURRENT) REPORT\n", request.question)[1:]
    sections = (re.findall(r"^(FINDINGS|IMPRESSION): (.*)$", report, re.MULTILINE) for report in reports)
    prior, current = (Study(**{name.lower(): text for name, text in found}) for found in sections)
    return answer(with_changes(describe(prior, current)))


class Server:
    """Answers every request by ``behave``; keeps the requests that came."""

    def __init__(self, behave: Callable[[Request], Reply]) -> None:
        self.behave = behave
        self.requests: list[Request] = []
        self.url = ""
        self.open = self.most_open = 0

    async def serve(self, started: Callable[[], None] = lambda: None) -> None:
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        started()
        async with server:
            await server.serve_forever()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                first, *lines = head.decode().strip().split("\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
                content = await reader.readexactly(int(headers.get("content-length", 0)))
                request = Request(json.loads(content or b"{}"), headers, first.split()[1])
                self.requests.append(request)
                self.open += 1
                self.most_open = max(self.most_open, self.open)
                reply = self.behave(request)
                await asyncio.sleep(reply.delay)
                self.open -= 1
                whole = _encode(reply)
                writer.write(whole if reply.cut is None else whole[: reply.cut])
                await writer.drain()
                if reply.cut is not None:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def _encode(reply: Reply) -> bytes:
    body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body or {}).encode()
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body))} | reply.headers
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {reply.status} x\r\n{head}\r\n".encode() + body


@contextmanager
def running(behave: Callable[[Request], Reply]) -> Iterator[Server]:
    """Runs a server in another thread."""
    server, started = Server(behave), threading.Event()
    loop = asyncio.new_event_loop()
    task = loop.create_task(server.serve(started.set))

    def run() -> None:
        with suppress(asyncio.CancelledError):
            loop.run_until_complete(task)
        for left in asyncio.all_tasks(loop):
            left.cancel()
            with suppress(asyncio.CancelledError):
                loop.run_until_complete(left)
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    started.wait(10)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(10)


def writer_settings(url: str, folder: Path, **openai: Any) -> dict[str, Any]:
    """Settings of `rewrite` for a writer that asks this server: no rate limit, a cache in the folder."""
    base = config.load([str(REPOSITORY / "config.yaml")], "rewrite")["rewrite"]
    quick = {"base_url": url, "model": "fake", "cache": str(folder / "cache"), "requests_per_minute": 1e6,
             "tokens_per_minute": 1e9, "timeout_seconds": 5, "in_flight": 4}  # fmt: skip
    return config.merge(base, {"writer": "openai", "largest_fallback_share": 1.0, "openai": quick | openai})
