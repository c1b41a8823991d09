"""The openai writer against a server that takes 100 ms per answer: seconds, memory, and the usual loop beside it.

python bench/rewrite_throughput.py [--requests 10000] [--in-flight 64] [--latency 0.1]

The server runs in another process. Its answers are descriptions of distinct phantom reports that pass the checks.
The usual way is one request after the other with the openai package, without cache and checks, timed on 100 requests.
"""

import argparse
import asyncio
import multiprocessing
import resource
import tempfile
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from biomedjourney import config
from biomedjourney.rewrite import model_writer, prompt
from biomedjourney.rewrite.ask import Asker
from biomedjourney.rewrite.language import mentions
from biomedjourney.rewrite.rules import describe
from tests.helpers import REPOSITORY
from tests.helpers.model_server import Reply, Request, Server, answer, with_changes
from tests.helpers.phantom_pairs import pairs


def serve(answers: dict[str, dict[str, Any]], latency: float, pipe: Connection) -> None:
    count = 0

    def behave(request: Request) -> Reply:
        nonlocal count
        count += 1
        server.requests.clear()
        reply = answer(answers[request.question])
        reply.delay = latency
        return reply

    server = Server(behave)
    threading.Thread(target=lambda: (pipe.recv(), pipe.send((count, server.most_open))), daemon=True).start()
    asyncio.run(server.serve(lambda: pipe.send(server.url)))


def memory() -> float:
    """MiB of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def usual(url: str, questions: list[list[prompt.Message]], parameters: dict[str, object]) -> float:
    """Seconds per request when one follows the other."""
    import openai

    client = openai.OpenAI(base_url=url, api_key="none")
    started = time.perf_counter()
    for messages in questions:
        client.chat.completions.create(messages=messages, **parameters)  # type: ignore[call-overload]
    return (time.perf_counter() - started) / len(questions)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--latency", type=float, default=0.1)
    options = parser.parse_args()
    texts, answers = [], {}
    for pair in pairs(1, options.requests, "all"):
        question = prompt.messages(pair.prior, pair.current)[-1]["content"]
        if question not in answers:
            answers[question] = with_changes(describe(pair.prior, pair.current))
            texts.append((pair.prior, pair.current))
        if len(texts) == options.requests:
            break
    mentions.cache_clear()
    here, there = multiprocessing.Pipe()
    process = multiprocessing.Process(target=serve, args=(answers, options.latency, there), daemon=True)
    process.start()
    url = here.recv()
    answers.clear()
    with tempfile.TemporaryDirectory() as folder:
        settings = config.load([str(REPOSITORY / "config.yaml")], "rewrite")["rewrite"]
        openai = {"base_url": url, "model": "fake", "cache": folder, "in_flight": options.in_flight,
                  "requests_per_minute": 1e6, "tokens_per_minute": 1e9}  # fmt: skip
        settings = config.merge(settings, {"openai": openai, "largest_fallback_share": 1.0})
        parameters = Asker(settings["openai"], 0, None, None, private=True).parameters  # type: ignore[arg-type]
        usual_seconds_per_request = usual(url, [prompt.messages(*text) for text in texts[:100]], parameters)
        memory_samples: list[float] = []
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(0.5):
                memory_samples.append(memory())

        watcher = threading.Thread(target=watch)
        for run in ("first run", "second run"):
            if run == "first run":
                watcher.start()
            started, cpu = time.perf_counter(), time.process_time()
            drafts = model_writer.write(texts, settings, seed=0, credentialed=True)
            seconds, busy = time.perf_counter() - started, time.process_time() - cpu
            ended.set()
            fallbacks = sum(draft.fallback_reason is not None for draft in drafts)
            print(f"{run}: {len(drafts)} pairs in {seconds:.1f} s ({busy:.1f} CPU s), {fallbacks} written by the rules")
            if run == "first run":
                ratio = usual_seconds_per_request * len(drafts) / seconds
                print(f"usual loop: {usual_seconds_per_request:.3f} s per request, {ratio:.1f} times as long")
    quarter = max(len(memory_samples) // 4, 1)
    first, last = max(memory_samples[:quarter]), max(memory_samples[-quarter:])
    print(f"memory: {first:.0f} MiB in the first quarter, {last:.0f} in the last")
    here.send(None)
    count, most_open = here.recv()
    print(f"server: {count} requests, at most {most_open} at a time")


if __name__ == "__main__":
    main()
