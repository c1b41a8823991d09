"""Edits whose result is known without a real picture: one that says "no change", and one that undoes another."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
import torch

from biomedjourney import examples, pixels, progress, sampling, tables
from biomedjourney.encode.latents import posterior
from biomedjourney.errors import UserError
from biomedjourney.generate import draw
from biomedjourney.generate import model as models
from biomedjourney.generate.systems import pngs, stored_pictures
from biomedjourney.pretrain import load_text_tower
from biomedjourney.rewrite.rules import NO_CHANGE, describe
from biomedjourney.rewrite.writers import studies_by_id
from biomedjourney.systems import STORED, Stored
from biomedjourney.train.run import run_facts

GENERATED = Stored("generated", "pair_id", "pair_id")  # of a pair with several seeds, the first one's picture
REPEATS = 3  # how often "no change" is said, one picture after the other


@dataclass(frozen=True)
class Editor:
    """A model, its text tower and how it draws: pictures and texts in, pictures out."""

    model: models.Model
    text_tower: Any
    max_tokens: int
    seed: int
    scales: draw.Scales
    steps: int

    def __call__(self, names: Sequence[str], pictures: np.ndarray, texts: Sequence[str]) -> np.ndarray:
        """Float32 (n, rows, columns) in [0, 1], as ``pictures``. The noise depends on the seed and the names alone."""
        states = examples.pad(self.text_tower.states(list(texts)), self.max_tokens)
        prior = posterior(self.model.first_stage, pictures).mean.cpu().numpy()
        return self.model.draw(list(names), self.seed, prior, states, *self.scales, self.steps)

    @torch.no_grad()
    def reconstructed(self, pictures: np.ndarray) -> np.ndarray:
        """The pictures through the first stage and back: no edit can be nearer to its prior than that."""
        mean = posterior(self.model.first_stage, pictures).mean
        return (
            sampling.decode(self.model.first_stage, mean * self.model.first_stage.config.scaling_factor).cpu().numpy()
        )


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
    run = run_facts(model)["settings"]["run"]
    if run["prior"] != "registered":
        raise UserError(f"{model}: its prior is {run['prior']}: soundness is asked of a model with a registered prior")
    max_tokens = run_facts(model)["settings"]["text"]["max_tokens"]
    editor = Editor(
        models.load(model, first_stage).with_solver(settings["generate"]["solver"]),
        load_text_tower(text_tower, max_tokens),
        max_tokens,
        settings["generate"]["seeds"][0],
        draw.chosen_scales(system, settings, guidance),
        settings["generate"]["steps"],
    )
    pairs = examples.compared_triples(examples.Inputs(triples=[triples]), "test")
    sample = draw.sweep_sample(list(pairs["pair_id"]), settings["generate"]["soundness"]["pairs"], settings["seed"])
    pairs = pairs.iloc[sample].reset_index(drop=True)
    priors = _decoded(stored_pictures(registered, STORED["prior"], pairs["pair_id"]))
    edited = _decoded(stored_pictures(generated, GENERATED, pairs["pair_id"]))
    texts = texts_back(pairs, studies)
    size = settings["generate"]["batch_size"]

    def batches() -> Iterator[draw.Rows]:
        with progress.bar(len(pairs), "draw trials", unit="pair") as bar:
            for first in range(0, len(pairs), size):
                names = list(pairs["pair_id"][first : first + size])
                before, after = (np.stack([found[name] for name in names]) for found in (priors, edited))
                for trial, drawn in trials(editor, names, before, after, texts[first : first + size]):
                    rows = zip(names, drawn, strict=True)
                    yield [{"trial": trial, "pair_id": name, "png": pixels.encode_png(each)} for name, each in rows]
                bar.update(len(names))

    click.echo(f"{out}: {tables.write_stream(out, 'trials', batches())} pictures", err=True)


def trials(
    editor: Editor, names: Sequence[str], priors: np.ndarray, edited: np.ndarray, texts_back: Sequence[str]
) -> Iterator[tuple[str, np.ndarray]]:
    """The name and the pictures (n, rows, columns) of each trial; ``edited``: the system's pictures of the pairs."""
    yield "reconstruction", editor.reconstructed(priors)
    drawn = priors
    for time in range(1, REPEATS + 1):
        drawn = editor([f"{name}, time {time}" for name in names], drawn, [NO_CHANGE[0]] * len(names))
        if time == 1:
            yield "no-change", drawn
    yield "no-change-repeated", drawn
    yield "reversal", editor([f"{name}, back" for name in names], edited, texts_back)


def texts_back(pairs: pd.DataFrame, studies: Path) -> list[str]:
    """For each pair the rules' description of the way back, from the current study to the prior one."""
    by_id = studies_by_id(studies, {*pairs["prior_study_id"], *pairs["study_id"]})
    ids = zip(pairs["study_id"], pairs["prior_study_id"], strict=True)
    return [describe(by_id[current], by_id[prior], direction="backward") for current, prior in ids]


def _decoded(lookup: tables.Lookup) -> dict[str, np.ndarray]:
    return {key: pixels.decode_png(png) for batch in pngs(lookup) for key, png in batch.items()}
