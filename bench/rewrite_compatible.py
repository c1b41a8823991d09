"""The openai writer against `transformers serve`, a server that others wrote, with tiny random weights.

python bench/rewrite_compatible.py [--pairs 4]

The server needs packages that nothing else here needs: pip install fastapi uvicorn accelerate. Random weights write no
JSON, so the rules write every description. The run shows that both sides understand requests and replies.
"""

import argparse
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections import Counter
from pathlib import Path

from biomedjourney import config
from biomedjourney.rewrite import model_writer
from biomedjourney.rewrite.study import Study
from tests.helpers import REPOSITORY

TEMPLATE = "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}assistant: "


def tiny_model(folder: Path) -> None:
    """A Llama of a few thousand random weights with a tokenizer of single bytes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: i for i, letter in enumerate([*letters, "<end>"])}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", pad_token="<end>")
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1}
    shape = LlamaConfig(vocab_size=len(vocabulary), max_position_embeddings=16384, eos_token_id=len(letters), **sizes)
    LlamaForCausalLM(shape).save_pretrained(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=4)
    count = parser.parse_args().pairs
    folder = Path(tempfile.mkdtemp())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    tiny_model(folder / "model")
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    command = ["transformers", "serve", "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    server = subprocess.Popen(command, env=environment)
    try:
        for _ in range(120):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).read()
                break
            except OSError:
                time.sleep(1)
        settings = config.load([str(REPOSITORY / "config.yaml")], "rewrite")["rewrite"]
        openai = {"base_url": f"http://127.0.0.1:{port}/v1", "model": str(folder / "model"), "max_tokens": 16,
                  "cache": str(folder / "cache"), "in_flight": 2, "attempts": 2}  # fmt: skip
        settings = config.merge(settings, {"largest_fallback_share": 1.0, "openai": openai})
        pairs = [(Study({}, f"Film {i}. No edema."), Study({}, f"Film {i}. New edema.")) for i in range(count)]
        drafts = model_writer.write(pairs, settings, seed=0, credentialed=True)
        print(f"{len(drafts)} pairs, {len(list(folder.glob('cache/*/*.json')))} answers understood and kept")
        print(Counter(draft.fallback_reason for draft in drafts))
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
