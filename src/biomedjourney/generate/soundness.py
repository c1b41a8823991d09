"""Edits whose result is known without a real picture: one that says "no change", and one that undoes another."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd

from biomedjourney import examples, pixels, progress, tables
from biomedjourney.errors import UserError
from biomedjourney.generate import draw
from biomedjourney.generate import editor as editors
from biomedjourney.generate.systems import pngs, stored_pictures
from biomedjourney.rewrite.rules import NO_CHANGE, describe
from biomedjourney.rewrite.writers import studies_by_id
from biomedjourney.systems import STORED, Stored
from biomedjourney.train.run import run_facts

GENERATED = Stored("generated", "pair_id", "pair_id")  # of a pair with several seeds, the first one's picture
REPEATS = 3  # how often "no change" is said, one picture after the other
Draw = Callable[[Sequence[str], np.ndarray, Sequence[str]], np.ndarray]  # names, pictures and texts to pictures


def pictures(
    system: str,
    settings: dict[str, Any],
    model: Path,
    first_stage: Path,
    text_tower: Path,
    guidance: Path | None,
    triples: Path,
    studies: Path,
    registered: Sequence[Path],
    generated: Sequence[Path],
    out: Path,
) -> None:
    """Writes the table `trials` of a system whose model takes a registered prior.

    ``registered``, ``generated``: every shard of the table, the latter of the system. Of the compared test pairs at
    most ``generate.soundness.pairs`` are drawn, chosen by the seed. Raises UserError for a model without such a prior.
    """
    facts = run_facts(model)["settings"]
    if (prior := facts["run"]["prior"]) != "registered":
        raise UserError(f"{model}: its prior is {prior}: soundness is asked of a model with a registered prior")
    drawing = settings["generate"]
    editor = editors.load(model, first_stage, text_tower, facts["text"]["max_tokens"])
    editor = replace(editor, model=editor.model.with_solver(drawing["solver"]))
    scales = draw.chosen_scales(system, settings, guidance)

    def drawn(names: Sequence[str], pictures: np.ndarray, texts: Sequence[str]) -> np.ndarray:
        return editor.draw(names, drawing["seeds"][0], pictures, texts, *scales, drawing["steps"])

    pairs = examples.compared_triples(examples.Inputs(triples=[triples]), "test")
    sample = draw.sweep_sample(list(pairs["pair_id"]), drawing["soundness"]["pairs"], settings["seed"])
    pairs = pairs.iloc[sample].reset_index(drop=True)
    priors = _decoded(stored_pictures(registered, STORED["prior"], pairs["pair_id"]))
    edited = _decoded(stored_pictures(generated, GENERATED, pairs["pair_id"]))
    texts = texts_back(pairs, studies)
    size = drawing["batch_size"]

    def batches() -> Iterator[draw.Rows]:
        with progress.bar(len(pairs), "draw trials", unit="pair") as bar:
            for first in range(0, len(pairs), size):
                names = list(pairs["pair_id"][first : first + size])
                before, after = (np.stack([found[name] for name in names]) for found in (priors, edited))
                yield _rows("edit", names, after)
                yield _rows("reconstruction", names, editor.reconstructed(before))
                for trial, made in trials(drawn, names, before, after, texts[first : first + size]):
                    yield _rows(trial, names, made)
                bar.update(len(names))

    click.echo(f"{out}: {tables.write_stream(out, 'trials', batches())} pictures", err=True)


def trials(
    drawer: Draw, names: Sequence[str], priors: np.ndarray, edited: np.ndarray, texts_back: Sequence[str]
) -> Iterator[tuple[str, np.ndarray]]:
    """The name and the pictures (n, rows, columns) of each trial; ``edited``: the system's pictures of the pairs."""
    drawn = priors
    for time in range(1, REPEATS + 1):
        drawn = drawer([f"{name}, time {time}" for name in names], drawn, [NO_CHANGE[0]] * len(names))
        if time == 1:
            yield "no-change", drawn
    yield "no-change-repeated", drawn
    yield "reversal", drawer([f"{name}, back" for name in names], edited, texts_back)


def texts_back(pairs: pd.DataFrame, studies: Path) -> list[str]:
    """For each pair the rules' description of the way back, from the current study to the prior one."""
    by_id = studies_by_id(studies, {*pairs["prior_study_id"], *pairs["study_id"]})
    ids = zip(pairs["study_id"], pairs["prior_study_id"], strict=True)
    return [describe(by_id[current], by_id[prior], direction="backward") for current, prior in ids]


def _decoded(lookup: tables.Lookup) -> dict[str, np.ndarray]:
    return {key: pixels.decode_png(png) for batch in pngs(lookup) for key, png in batch.items()}


def _rows(trial: str, names: Sequence[str], pictures: np.ndarray) -> draw.Rows:
    rows = zip(names, pictures, strict=True)
    return [{"trial": trial, "pair_id": name, "png": pixels.encode_png(picture)} for name, picture in rows]
