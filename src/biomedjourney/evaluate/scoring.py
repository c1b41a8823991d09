"""Runs the frozen classifiers over tables of pictures, in batches, and checks that scores can be compared."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from biomedjourney import pixels, progress, tables
from biomedjourney.errors import UserError
from biomedjourney.evaluate.diversity import likeness_of_seeds
from biomedjourney.evaluate.pictures import Comparison, RealPictures
from biomedjourney.systems import in_order

SEEDS = ["training_seed", "seed"]


def score_system(
    system: str,
    files: Sequence[Path],
    judges: Any,
    test_triples: pd.DataFrame,
    batch_size: int,
    real: RealPictures | None = None,
    comparisons: Sequence[Comparison] = (),
) -> pd.DataFrame:
    """The table `scores` of one system. ``files``: every shard of its table `generated`.

    ``real``: the pictures of the compared test triples, for the columns that the ``comparisons`` make; without them it
    is the table `second_scores`, which compares no pictures.
    Raises UserError where a seed does not cover exactly the compared test triples.
    """
    key = [*SEEDS, "pair_id"]
    pairs = pd.concat([tables.read(path, "generated", key) for path in files])
    if pairs.duplicated(key).any():
        raise UserError(f"system {system}: the same pair and seed is in two of the files: give each shard once")
    _require_every_seed(pairs, test_triples["pair_id"], f"system {system}")
    scored = [score_file(path, "generated", key, judges, batch_size, real, comparisons) for path in files]
    scores = pd.concat(scored, ignore_index=True)
    if real is not None:
        scores = scores.merge(pd.concat([likeness_of_seeds(path) for path in files]), on=key)
    return scores.assign(system=system).merge(test_triples[["pair_id", "subject_id"]], on="pair_id")


def join(
    files: Sequence[Path],
    systems: Collection[str],
    test_triples: pd.DataFrame,
    findings: list[str],
    name: str = "scores",
) -> pd.DataFrame:
    """The scores of all systems in one table. ``name``: that of the tables, scores or second_scores.

    Raises UserError for a system that is not configured or given twice, for a system that does not cover the
    compared test triples, for a finding that was not scored, and for a table without features.
    """
    by_system: dict[str, pd.DataFrame] = {}
    for path in files:
        scores = tables.read(path, name)
        if name == "scores" and scores["features"].isna().any():
            raise UserError(f"{path}: no features, as in the table of all systems: give each system's own table")
        for system in scores["system"].unique():
            rows = scores[scores["system"] == system]
            if system not in systems:
                raise UserError(f"{path}: no system {system!r} in the configuration: add it to `systems`")
            if system in by_system:
                raise UserError(f"{path}: the scores of {system} are in another file already: give each system once")
            by_system[system] = rows
            _require_every_seed(rows, test_triples["pair_id"], f"{path}: system {system}")
    joined = pd.concat([by_system[system] for system in in_order(by_system)], ignore_index=True)
    require_labels(joined, findings)
    return joined


def score_sweep(
    name: str, files: Sequence[Path], columns: list[str], judges: Any, rows: pd.DataFrame, settings: dict[str, Any]
) -> Iterator[pd.DataFrame]:
    """The scores of validation pairs for each setting that was tried, sorted by pair: one table per setting.

    ``name`` and ``files``: the table of pictures and every shard of it. ``columns``: what tells the settings apart.
    ``rows``: the compared validation pairs, made by `labels.attributes`.
    Raises UserError for a picture of another pair, and where not every setting covers the same pairs.
    """
    batch_size = settings["evaluate"]["batch_size"]
    key = [*columns, "pair_id"]
    scores = pd.concat([score_file(path, name, key, judges, batch_size) for path in files])
    if scores.duplicated(key).any():
        raise UserError(f"table {name}: the same pair is in two of the files: give each shard once")
    require_labels(scores, settings["labels"]["findings"])
    drawn_pairs = set(scores["pair_id"])
    require_pairs(drawn_pairs, drawn_pairs & set(rows.index), f"table {name}")
    for values, group in scores.groupby(columns):
        tried = ", ".join(f"{column} {value}" for column, value in zip(columns, values, strict=True))
        require_pairs(group["pair_id"], drawn_pairs, f"table {name}, {tried}")
        yield group.sort_values("pair_id", ignore_index=True)


def score_file(
    path: Path,
    name: str,
    columns: list[str],
    judges: Any,
    batch_size: int,
    real: RealPictures | None = None,
    comparisons: Sequence[Comparison] = (),
) -> pd.DataFrame:
    """One row per picture of the table ``name`` (generated or sweeps): ``columns`` as they are, and the scores.

    Scores are ``pathology_<label>`` and ``race_<group>`` in [0, 1] and ``age`` in years; with ``real`` pictures also
    the columns of the ``comparisons``. Memory holds one batch of pictures. Raises UserError for a row with no picture.
    """
    rows = tables.read_stream(path, name, [*columns, "png"], rows=batch_size)
    total = tables.row_count(path, name)
    frames = []
    with progress.bar(total, f"scoring {path.stem}", "picture") as bar:
        for batch in _batches(rows, batch_size):
            for row in batch:
                if row["png"] is None:
                    raise UserError(f"{path}: pair {row['pair_id']} has no picture: run the step that writes it again")
            pictures = np.stack([pixels.decode_png(row["png"]) for row in batch])
            keys = pd.DataFrame([{column: row[column] for column in columns} for row in batch])
            scored = [keys, _judge(judges, pictures)]
            if real is not None:
                beside = real.beside([row["pair_id"] for row in batch], pictures)
                scored += [compare(beside) for compare in comparisons]
            frames.append(pd.concat(scored, axis=1))
            bar.update(len(batch))
    if not frames:
        raise UserError(f"{path}: no pictures in it: run the step that writes it again")
    return pd.concat(frames, ignore_index=True)


def _judge(judges: Any, pictures: np.ndarray) -> pd.DataFrame:
    pathology = pd.DataFrame(judges.pathology(pictures), columns=[f"pathology_{label}" for label in judges.labels])
    race = pd.DataFrame(judges.race(pictures), columns=[f"race_{name}" for name in tables.RACES])
    return pd.concat([pathology, race], axis=1).assign(age=np.asarray(judges.age(pictures)).ravel())


def _batches(rows: Iterable[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    rows = iter(rows)
    while batch := list(islice(rows, size)):
        yield batch


def require_labels(scores: pd.DataFrame, findings: list[str]) -> None:
    """Raises UserError for a configured finding that the pathology classifier has not scored."""
    labels = [name.removeprefix("pathology_") for name in scores.columns if name.startswith("pathology_")]
    unknown = [finding for finding in findings if finding not in labels]
    if unknown:
        raise UserError(
            f"the pathology classifier does not know {unknown[0]!r} of labels.findings; "
            f"it knows {', '.join(labels)}: change labels.findings or run pretrain judges again"
        )


def _require_every_seed(scores: pd.DataFrame, expected: Iterable[str], name: str) -> None:
    """Raises UserError where a seed of drawing does not cover exactly the expected pairs with each training seed."""
    for (training_seed, seed), rows in scores.groupby(SEEDS):
        trained = f", training seed {training_seed}" if training_seed else ""
        require_pairs(rows["pair_id"], expected, f"{name} (seed {seed}{trained})")


def require_pairs(pair_ids: Iterable[str], expected: Iterable[str], name: str) -> None:
    """Raises UserError where the scored pairs of ``name`` are not exactly the expected ones."""
    scored, compared = set(pair_ids), set(expected)
    lost, extra = compared - scored, scored - compared
    if lost or extra:
        raise UserError(
            f"{name} covers {len(scored)} pairs, expected {len(compared)}: {len(lost)} missing, {len(extra)} extra "
            f"(as {min(lost | extra)}): all systems are scored on the same compared pairs of one split, generate again"
        )
