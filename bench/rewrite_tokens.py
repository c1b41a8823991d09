"""How far the estimate of a prompt's tokens is from what tokenizers count.

python bench/rewrite_tokens.py FILE …

Each FILE holds the merges of a tokenizer in tiktoken's format, such as `cl100k_base.tiktoken` (GPT-4) or the
`tokenizer.model` of Llama 3 and Llama 4. Nothing else here needs these files or `pip install tiktoken`.
"""

import argparse
import base64
from itertools import islice
from pathlib import Path

from biomedjourney.rewrite import ask, prompt
from tests.helpers import phantom_pairs

WORDS = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
FORMAT = 4  # tokens of the chat's format for each message


def main() -> None:
    import tiktoken

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    prompts = [prompt.messages(pair.prior, pair.current) for pair in islice(phantom_pairs.pairs(5, 60, "all"), 60)]
    for file in parser.parse_args().files:
        lines = (line.split() for line in file.read_bytes().splitlines())
        merges = {base64.b64decode(word): int(rank) for word, rank in lines}
        tokenizer = tiktoken.Encoding(file.name, pat_str=WORDS, mergeable_ranks=merges, special_tokens={})

        def share(messages: list[prompt.Message], tokenizer: tiktoken.Encoding = tokenizer) -> float:
            count = sum(len(tokenizer.encode_ordinary(message["content"])) + FORMAT for message in messages)
            return count / ask.tokens(messages)

        whole, own = sorted(map(share, prompts)), sorted(share(messages[-1:]) for messages in prompts)
        print(f"{file}: {whole[0]:.2f} to {whole[-1]:.2f} of the estimate, reports {own[0]:.2f} to {own[-1]:.2f}")


if __name__ == "__main__":
    main()
