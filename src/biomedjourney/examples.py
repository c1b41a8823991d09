"""What training learns from and what every system draws: the prior, text and target of each example.

Latents and token states stay float16 and are kept once, however many examples share them: with a folder, once for all
processes of a node (`biomedjourney.arrays`). They go there from the tables a few rows at a time.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd

from biomedjourney import arrays, tables
from biomedjourney.config import PATH
from biomedjourney.errors import UserError

MEANING = {
    "singles": "Input: singles table.",
    "triples": "Input: triples table of the run's writer; repeat it for every direction.",
    "latents": "Input: latents table of the images; repeat it for every shard.",
    "prior_latents": "Input: latents table of the registered priors; repeat it for every shard.",
    "texts": "Input: texts table; repeat it for every part.",
}


@dataclass(frozen=True)
class Inputs:
    """The files of each table by the option that gives them; empty where the option was not given."""

    singles: Sequence[Path] = ()
    triples: Sequence[Path] = ()
    latents: Sequence[Path] = ()
    prior_latents: Sequence[Path] = ()
    texts: Sequence[Path] = ()

    def need(self, name: str, reason: str) -> Sequence[Path]:
        """The files. Raises UserError with the option to add where there are none."""
        paths: Sequence[Path] = getattr(self, name)
        if not paths:
            raise UserError(f"--{name.replace('_', '-')} is missing: {reason} reads it ({MEANING[name].rstrip('.')})")
        return paths


def input_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds one option for each field of `Inputs`."""
    for name, meaning in reversed(MEANING.items()):
        command = click.option(f"--{name.replace('_', '-')}", type=PATH, multiple=True, help=meaning)(command)
    return command


def text_key(text: str) -> str:
    """The key of a text in the table `texts`: SHA-256 after white space is normalised."""
    return hashlib.sha256(" ".join(text.split()).encode()).hexdigest()


def training_examples(run: dict[str, Any], inputs: Inputs) -> pd.DataFrame:
    """What a run learns from, one row per example, sorted by id: the singles or accepted triples of the split train.

    ``run``: the run's settings. Columns: ``id``, ``target`` (the dicom_id whose latent is learned), ``prior`` (the id
    of the prior's latent, null for a run without priors) and ``text``. Raises UserError for an input that the run
    needs and that is not given, and where no example is left.
    """
    if run["data"] == "singles":
        return _single_examples(inputs, "train")
    triples = _triples(inputs, run["writer"])
    in_directions = triples["direction"].isin(run["directions"])
    accepted = triples[(triples["split"] == "train") & triples["accepted"] & in_directions]
    if accepted.empty:
        raise UserError(
            f"{inputs.triples[0]}: none of {(triples['split'] == 'train').sum()} training triples is accepted: "
            "a larger cohort or a lower register.threshold gives some"
        )
    return _examples(accepted, run, inputs)


def validation_examples(run: dict[str, Any], inputs: Inputs) -> pd.DataFrame:
    """What a run is watched on while it learns, one row per example: validation singles or compared validation triples.

    Empty where there are none. Columns and errors: `training_examples`.
    """
    if run["data"] == "singles":
        return _single_examples(inputs, "validation")
    triples = _triples(inputs, run["writer"])
    return _examples(triples[triples["compared"] & (triples["split"] == "validation")], run, inputs)


def _single_examples(inputs: Inputs, split: str) -> pd.DataFrame:
    singles = _read(inputs.need("singles", "a run on singles"), "singles")
    singles = singles[singles["split"] == split].sort_values("dicom_id", ignore_index=True)
    ids = singles["dicom_id"]
    return pd.DataFrame({"id": ids, "target": ids, "prior": None, "text": singles["text"]})


def compared_triples(inputs: Inputs, split: str, writer: str | None = None) -> pd.DataFrame:
    """The triples of a split that all systems draw, by pair_id, with one writer's descriptions.

    ``writer`` None: the writer of the given table. Raises UserError where there are none.
    """
    triples = _triples(inputs, writer)
    compared = triples[triples["compared"] & (triples["split"] == split)]
    if compared.empty:
        raise UserError(
            f"{inputs.triples[0]}: none of {(triples['split'] == split).sum()} {split} pairs has an accepted "
            "registration and a valid description: a larger cohort or a lower register.threshold gives some"
        )
    return compared.sort_values("pair_id", ignore_index=True)


def drawn_examples(run: dict[str, Any], inputs: Inputs, split: str) -> pd.DataFrame:
    """What the model of a run draws for the compared triples of a split. Columns and errors: `training_examples`."""
    return _examples(compared_triples(inputs, split, run["writer"]), run, inputs)


def _examples(triples: pd.DataFrame, run: dict[str, Any], inputs: Inputs) -> pd.DataFrame:
    triples = triples.sort_values("pair_id", ignore_index=True)
    prior = {"none": None, "registered": triples["pair_id"], "unregistered": triples["prior_dicom_id"]}[run["prior"]]
    text = triples["description"] if run["text"] == "description" else _report_texts(triples, inputs)
    return pd.DataFrame({"id": triples["pair_id"], "target": triples["dicom_id"], "prior": prior, "text": text})


def _triples(inputs: Inputs, writer: str | None) -> pd.DataFrame:
    paths = inputs.need("triples", "the choice of triples")
    triples = _read(paths, "triples")
    if writer is not None:
        triples = triples[triples["writer"] == writer]
    if triples["writer"].nunique() != 1 or triples["pair_id"].duplicated().any():
        expected = f"those of the writer {writer}" if writer else "those of one writer"
        raise UserError(f"{', '.join(map(str, paths))}: expected the triples of one table, {expected}, each once")
    return triples


def _read(paths: Sequence[Path], name: str) -> pd.DataFrame:
    return pd.concat([tables.read(path, name) for path in paths], ignore_index=True)


def _report_texts(triples: pd.DataFrame, inputs: Inputs) -> pd.Series:
    """The report's text of each triple's current image."""
    paths = inputs.need("singles", "text: report")
    texts = triples["dicom_id"].map(_read(paths, "singles").set_index("dicom_id")["text"])
    if texts.isna().any():
        absent = triples.loc[texts.isna(), "dicom_id"].iloc[0]
        raise UserError(f"{paths[0]}: dicom_id {absent} of a pair is not in it: run pair again, it writes both tables")
    return texts


@dataclass(frozen=True)
class Targets:
    """The pictures to learn: posterior means and stds, float16 (pictures, c, h, w), unscaled; ``places`` by example."""

    means: np.ndarray
    stds: np.ndarray
    places: np.ndarray
    scaling_factor: float

    def __len__(self) -> int:
        return len(self.places)

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        channels, height, width = self.means.shape[1:]
        return channels, height, width

    def posterior(self, examples: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation, float32 (n, c, h, w)."""
        rows = self.places[examples]
        return self.means[rows].astype(np.float32), self.stds[rows].astype(np.float32)


@dataclass(frozen=True)
class TokenStates:
    """Token states of texts, each float16 (tokens, width), without padding.

    ``flat``: those of all distinct texts, one after another, (all tokens, width). ``starts`` and ``ends``: where those
    of each text lie in it.
    """

    flat: np.ndarray
    starts: np.ndarray
    ends: np.ndarray

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, place: int) -> np.ndarray:
        return self.flat[self.starts[place] : self.ends[place]]


@dataclass(frozen=True)
class Conditions:
    """What a picture is drawn from: the prior's latent (``prior_means`` None: the run knows no prior) and the text.

    ``prior_means``: float16 (priors, c, h, w), unscaled. ``token_states``: one float16 (tokens, width) per distinct
    text. ``prior_places`` and ``text_places`` say which of them belongs to which example.
    """

    prior_means: np.ndarray | None
    prior_places: np.ndarray
    token_states: TokenStates | Sequence[np.ndarray]
    text_places: np.ndarray
    max_tokens: int

    @property
    def text_width(self) -> int:
        return int(self.token_states[0].shape[1])

    def priors(self, examples: Sequence[int]) -> np.ndarray | None:
        """The priors' latents, float32 (n, c, h, w), unscaled, or None for a run without priors."""
        if self.prior_means is None:
            return None
        return self.prior_means[self.prior_places[examples]].astype(np.float32)

    def states(self, examples: Sequence[int], dtype: type[np.floating] = np.float32) -> np.ndarray:
        """Token states (n, max_tokens, width), padded with zero rows.

        As float16, as they are stored, they come about ten times as fast: the device is quicker to widen them.
        """
        return pad([self.token_states[place] for place in self.text_places[examples]], self.max_tokens, dtype)


def pad(states: Sequence[np.ndarray], max_tokens: int, dtype: type[np.floating] = np.float32) -> np.ndarray:
    """Token states of n texts, each (tokens, width), as (n, max_tokens, width) with zero rows after the end."""
    padded = np.zeros((len(states), max_tokens, states[0].shape[1]), dtype)
    for row, text_states in zip(padded, states, strict=True):
        row[: len(text_states)] = text_states
    return padded


def prior_files(run: dict[str, Any], inputs: Inputs) -> Sequence[Path]:
    """Where the latents of the run's priors lie: in tables of their own once registered, else among the images'."""
    if run["prior"] == "none":
        return ()
    registered = run["prior"] == "registered"
    return inputs.need("prior_latents" if registered else "latents", f"prior: {run['prior']}")


def with_latents(examples: pd.DataFrame, run: dict[str, Any], inputs: Inputs) -> pd.DataFrame:
    """The examples whose target and prior have a latent: a picture that could not be read has none.

    Raises UserError where no example is left.
    """
    latents, priors = inputs.need("latents", "train"), prior_files(run, inputs)
    usable = examples[examples["target"].isin(_ids(latents))]
    if priors:
        usable = usable[usable["prior"].isin(_ids(priors))]
    if usable.empty:
        raise UserError(f"{latents[0]}: none of {len(examples)} examples has a latent: run encode on these tables")
    return usable.reset_index(drop=True)


def load_targets(examples: pd.DataFrame, inputs: Inputs, folder: Path | None = None) -> Targets:
    """The latents of the examples' pictures. Raises UserError for one that is missing.

    ``folder``: where the processes of a node share them, see `arrays.load`; None: in the memory of this process.
    """
    places, ids = pd.factorize(examples["target"])
    means, stds, scaling_factor = load_latents(inputs.need("latents", "train"), ids, folder)
    return Targets(means, stds, places, scaling_factor)


def load_conditions(
    examples: pd.DataFrame, run: dict[str, Any], inputs: Inputs, max_tokens: int, folder: Path | None = None
) -> Conditions:
    """The priors' latents and the texts' states of the examples. ``folder`` as in `load_targets`.

    Raises UserError for one that is missing, and for texts of more than ``max_tokens`` tokens.
    """
    prior_places, prior_ids = pd.factorize(examples["prior"])
    text_places, texts = pd.factorize(examples["text"])
    paths = prior_files(run, inputs)
    priors = load_means(paths, prior_ids, folder) if paths else None
    paths = inputs.need("texts", "every run")
    states = load_states(paths, list(texts), folder)
    longest = (states.ends - states.starts).max()
    if longest > max_tokens:
        raise UserError(
            f"{paths[0]}: a text of {longest} tokens, but text.max_tokens is {max_tokens}: run encode texts"
        )
    return Conditions(priors, prior_places, states, text_places, max_tokens)


def _ids(paths: Sequence[Path]) -> set[str]:
    return {name for path in paths for name in tables.read_arrow(path, "latents", ["id"])["id"].to_pylist()}


def load_latents(
    paths: Sequence[Path], ids: Iterable[str], folder: Path | None = None
) -> tuple[np.ndarray, np.ndarray, float]:
    """Means and stds, float16 (n, c, h, w), of the ids in their order, and the latents' scaling factor.

    Raises UserError for an id that is missing, and where the latents are of more than one first stage.
    """
    latents = _Latents(paths, ids)
    return latents.numbers("mean", folder), latents.numbers("std", folder), latents.scaling_factor


def load_means(paths: Sequence[Path], ids: Iterable[str], folder: Path | None = None) -> np.ndarray:
    """The means alone. Errors as in `load_latents`."""
    return _Latents(paths, ids).numbers("mean", folder)


class _Latents:
    """Where the latents of some pictures lie, and their common form."""

    def __init__(self, paths: Sequence[Path], ids: Iterable[str]) -> None:
        self.paths, self.ids = paths, list(ids)
        self.lookup = tables.Lookup(paths, "latents", "id", self.ids)
        absent = [i for i in self.ids if i not in self.lookup]
        if absent:
            raise UserError(
                f"{paths[0]}: no latent of {absent[0]} ({len(absent)} are missing): run encode on these tables"
            )
        small = self.lookup.batches(columns=["id", "shape", "scaling_factor"])
        forms = {(tuple(row["shape"]), row["scaling_factor"]) for batch in small for row in batch.to_pylist()}
        shapes, factors = {shape for shape, _ in forms}, {factor for _, factor in forms}
        if len(factors) > 1:
            raise UserError(
                f"{paths[0]}: latents of more than one first stage (scaling factors {sorted(factors)}): encode"
            )
        if len(shapes) > 1:
            raise UserError(
                f"{paths[0]}: latents of more than one shape ({sorted(shapes)}): run encode on these tables"
            )
        self.shape, self.scaling_factor = shapes.pop(), factors.pop()

    def numbers(self, column: str, folder: Path | None) -> np.ndarray:
        """``column``: mean or std. Returns float16 (n, c, h, w) in the order of the ids."""
        place_of = {name: place for place, name in enumerate(self.ids)}

        def pieces() -> Iterator[tuple[int, np.ndarray]]:
            for name, numbers in _numbers(self.lookup, column, dict.fromkeys(self.ids, self.shape)):
                yield place_of[name], numbers[None]

        name = f"{column}-{_digest(self.paths, self.ids)}"
        return arrays.load(pieces(), (len(self.ids), *self.shape), folder, name)


def load_states(paths: Sequence[Path], texts: list[str], folder: Path | None = None) -> TokenStates:
    """Token states of each text; an empty text has no tokens and is the null text.

    Raises UserError for a text that was not encoded, and where the states are of more than one text tower.
    """
    keys = {text: text_key(text) for text in texts if text.strip()}
    lookup = tables.Lookup(paths, "texts", "text_sha256", keys.values())
    absent = [text for text, key in keys.items() if key not in lookup]
    if absent:
        first = f"the first has the text_sha256 {keys[absent[0]]}"  # the text itself would stand in the log
        raise UserError(f"{paths[0]}: {len(absent)} texts were not encoded ({first}): run encode texts")
    if not keys:
        raise UserError(f"{paths[0]}: all {len(texts)} texts are empty: check the writer of these triples")
    small = lookup.batches(columns=["text_sha256", "shape"])
    shapes = {row["text_sha256"]: tuple(row["shape"]) for batch in small for row in batch.to_pylist()}
    widths = sorted({width for _, width in shapes.values()})
    if len(widths) > 1:
        raise UserError(f"{paths[0]}: token states of more than one text tower (widths {widths}): run encode texts")
    distinct = list(dict.fromkeys(keys.values()))
    ends = np.cumsum([shapes[key][0] for key in distinct]).tolist()
    span_of = {key: (end - shapes[key][0], end) for key, end in zip(distinct, ends, strict=True)}

    def pieces() -> Iterator[tuple[int, np.ndarray]]:
        for key, numbers in _numbers(lookup, "states", shapes):
            yield span_of[key][0], numbers

    flat = arrays.load(pieces(), (ends[-1], widths[0]), folder, f"states-{_digest(paths, distinct)}")
    spans = np.array([span_of[keys[text]] if text in keys else (0, 0) for text in texts])
    return TokenStates(flat, spans[:, 0], spans[:, 1])


def _numbers(
    lookup: tables.Lookup, column: str, shapes: dict[str, tuple[int, ...]]
) -> Iterator[tuple[str, np.ndarray]]:
    """Key and numbers, float16 in their shape, of each row. Raises UserError where these are too few or too many."""
    for batch in lookup.batches(columns=[lookup.column, column]):
        for key, value in zip(batch[lookup.column].to_pylist(), batch[column], strict=True):
            if len(value.as_buffer()) != arrays.DTYPE.itemsize * math.prod(shapes[key]):
                raise UserError(
                    f"{lookup.path_of(key)}: {lookup.column} {key}: column {column!r} does not have the "
                    f"{math.prod(shapes[key])} numbers that its shape says: run encode on these tables"
                )
            yield key, np.frombuffer(value.as_buffer(), arrays.DTYPE).reshape(shapes[key])


def _digest(paths: Sequence[Path], keys: list[str]) -> str:
    """A hash of what an array holds: which rows, in which order, of which files as they are now."""
    files = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    return hashlib.sha256(json.dumps([files, keys]).encode()).hexdigest()[:16]
