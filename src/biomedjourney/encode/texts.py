"""Texts through the text tower."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from biomedjourney import progress, tables
from biomedjourney.encode import text_key
from biomedjourney.pretrain import load_text_tower


def distinct(singles: Path, progressions: Path) -> dict[str, str]:
    """Each text that training or generation reads, by its key, sorted by key."""
    texts = tables.read_arrow(singles, "singles", ["text"])["text"].to_pylist()
    texts += tables.read_arrow(progressions, "progressions", ["description"])["description"].to_pylist()
    return dict(sorted((text_key(text), " ".join(text.split())) for text in set(texts)))


def encode(singles: Path, progressions: Path, text_tower: Path, max_tokens: int, batch_size: int, out: Path) -> int:
    """Writes the table `texts`; returns how many distinct texts there are."""
    texts = distinct(singles, progressions)
    tower = load_text_tower(text_tower, max_tokens)
    by_length = sorted(texts, key=lambda key: (len(texts[key]), key))

    def batches() -> Iterator[list[dict[str, Any]]]:
        with progress.bar(len(by_length), "encode texts", "text") as shown:
            for start in range(0, len(by_length), batch_size):
                keys = by_length[start : start + batch_size]
                states = tower.states([texts[key] for key in keys])
                shown.update(len(keys))
                yield [
                    {"text_sha256": key, "states": state.tobytes(), "shape": list(state.shape)}
                    for key, state in zip(keys, states, strict=True)
                ]

    return tables.write_stream(out, "texts", batches())
