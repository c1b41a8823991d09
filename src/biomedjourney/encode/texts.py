"""Texts through the text tower."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from biomedjourney import progress, tables
from biomedjourney.examples import text_key
from biomedjourney.pretrain import load_text_tower


def read_texts(singles: Path | None, progressions: Path | None) -> list[str]:
    """The texts of one of the two tables; empty ones are left out, since they have no tokens."""
    if singles is not None:
        texts = tables.read_arrow(singles, "singles", ["text"])["text"].to_pylist()
    else:
        assert progressions is not None
        texts = tables.read_arrow(progressions, "progressions", ["description"])["description"].to_pylist()
    return [text for text in texts if text.strip()]


def distinct(texts: Iterable[str]) -> dict[str, str]:
    """Each distinct text, white space normalised, by its key, sorted by key."""
    return dict(sorted((text_key(text), " ".join(text.split())) for text in set(texts)))


def encode(texts: Iterable[str], text_tower: Path, max_tokens: int, batch_size: int, out: Path) -> int:
    """Writes the table `texts`; returns how many distinct texts there are."""
    text_by_key = distinct(texts)
    tower = load_text_tower(text_tower, max_tokens)
    by_length = sorted(text_by_key, key=lambda key: (len(text_by_key[key]), key))

    def batches() -> Iterator[list[dict[str, Any]]]:
        with progress.bar(len(by_length), "encode texts", "text") as bar:
            for start in range(0, len(by_length), batch_size):
                keys = by_length[start : start + batch_size]
                states = tower.states([text_by_key[key] for key in keys])
                bar.update(len(keys))
                yield [
                    {"text_sha256": key, "states": state.tobytes(), "shape": list(state.shape)}
                    for key, state in zip(keys, states, strict=True)
                ]

    return tables.write_stream(out, "texts", batches())
