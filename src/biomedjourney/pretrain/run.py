"""From the tables to the frozen parts."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from biomedjourney import tables
from biomedjourney.errors import UserError
from biomedjourney.pretrain import pictures as pictures_of
from biomedjourney.pretrain.targets import binary_labels


def _of_split(singles: Path, split: str) -> pd.DataFrame:
    rows = tables.read(singles, "singles")
    return rows[rows["split"] == split].sort_values("dicom_id", ignore_index=True)


def first_stage(settings: dict[str, Any], singles: Path, pixels: Iterable[Path], out: Path) -> str:
    """Writes the folder of the first stage; returns a line on how well it keeps validation pictures."""
    from biomedjourney.pretrain import first_stage as stage

    chosen = settings["pretrain"]["first_stage"]
    if chosen["weights"] is not None:
        stage.copy_published(Path(chosen["weights"]), out)
        return f"first stage: {chosen['weights']}"
    _, train = pictures_of.load(pixels, _of_split(singles, "train")["dicom_id"])
    model = stage.train(train, chosen, settings["seed"])
    with tables.atomic_folder(out) as folder:
        model.save_pretrained(folder)
    _, held_out = pictures_of.load(pixels, _of_split(singles, "validation")["dicom_id"])
    return f"first stage: {stage.psnr(model, held_out[:256]):.1f} dB on validation pictures"


def text_tower(
    settings: dict[str, Any], singles: Path, pairs: Path, progressions: Path, studies: Path, out: Path
) -> str:
    """Writes the folder of the text tower; returns a line on what it has learned from.

    In miniature a report tells the labels of its study, a description those of both studies, of training patients.
    """
    from biomedjourney.pretrain import text_tower as tower

    chosen = settings["pretrain"]["text_tower"]
    if chosen["weights"] is not None:
        tower.copy_published(Path(chosen["weights"]), out)
        return f"text tower: {chosen['weights']}"
    rows = tables.read(studies, "studies")
    all_labels = settings["labels"] | {"findings": list(tables.CHEXPERT_LABELS)}
    labels = pd.DataFrame(binary_labels(rows, all_labels), index=rows["study_id"])
    reports = _of_split(singles, "train")
    told = tables.read(progressions, "progressions", ["pair_id", "description", "valid"])
    both = tables.read(pairs, "pairs").merge(told[told["valid"]], on="pair_id").sort_values("pair_id")
    both = both[both["split"] == "train"]
    now = labels.loc[[*reports["study_id"], *both["study_id"]]].to_numpy()
    before = np.full_like(now, np.nan)
    before[len(reports) :] = labels.loc[both["prior_study_id"]]
    texts = [*reports["text"], *both["description"]]
    size, tokens = settings["preprocess"]["size"], settings["text"]["max_tokens"]
    loss = tower.train(texts, np.hstack([before, now]), chosen, tokens, size, settings["seed"], out)
    return f"text tower: trained on {len(texts)} texts, loss {loss:.3f}"


def judges(
    settings: dict[str, Any], singles: Path, studies: Path, patients: Path, pixels: Iterable[Path], out: Path
) -> str:
    """Writes the folder of the judges; returns a line on how well they judge real validation pictures."""
    from biomedjourney.pretrain import judges as judge

    chosen, labels = settings["pretrain"]["judges"], settings["labels"]
    if chosen["weights"] is not None:
        judge.copy_published(chosen["weights"], out)
        return f"judges: {', '.join(chosen['weights'].values())}"
    rows = tables.read(singles, "singles").merge(
        tables.read(studies, "studies").drop(columns="subject_id"), on="study_id"
    )
    rows = rows.merge(tables.read(patients, "patients"), on="subject_id").set_index("dicom_id").sort_index()
    ids, pictures = pictures_of.load(pixels, rows.index[rows["split"] == "train"])
    known = rows.loc[ids]
    age = known["age"].to_numpy(dtype=float, na_value=np.nan)
    mean_age = float(np.mean(age[~np.isnan(age)])) if (~np.isnan(age)).any() else np.nan
    race = known["race"].map({name: i for i, name in enumerate(tables.RACES)}).to_numpy(dtype=float)
    targets = {"pathology": binary_labels(known, labels), "race": race, "age": (age - mean_age) / judge.AGE_SCALE}
    names = {"pathology": labels["findings"], "race": list(tables.RACES), "age": ["age"]}
    with tables.atomic_folder(out) as folder:
        for kind, target in targets.items():
            usable = np.ones(len(target), bool) if target.ndim > 1 else ~np.isnan(target)
            if not usable.any():
                raise UserError(f"{patients}: the {kind} of no training patient is known: a judge of it cannot learn")
            model = judge.train(kind, pictures[usable], target[usable], chosen, settings["seed"])
            facts = {"names": names[kind], "outputs": len(names[kind]), "size": settings["preprocess"]["size"]}
            judge.save(folder, kind, model, facts | {"mean_age": mean_age})
    return "judges: " + _validate(judge.load(out), rows[rows["split"] == "validation"], pixels, labels)


def _validate(loaded: Any, rows: pd.DataFrame, pixels: Iterable[Path], labels: dict[str, Any]) -> str:
    from sklearn.metrics import roc_auc_score

    ids, pictures = pictures_of.load(pixels, rows.index)
    rows, shown = rows.loc[ids], pictures.astype(np.float32) / 255
    said = []
    truth, scores = binary_labels(rows, labels), loaded.pathology(shown)
    for i, label in enumerate(loaded.labels):
        known = ~np.isnan(truth[:, i])
        if len(np.unique(truth[known, i])) == 2:
            said.append(f"{label} {roc_auc_score(truth[known, i], scores[known, i]):.3f}")
    scores = loaded.race(shown)
    for i, race in enumerate(tables.RACES):
        known = rows["race"].notna().to_numpy()
        own = (rows["race"] == race).fillna(False).to_numpy()[known]
        if 0 < own.sum() < known.sum():
            said.append(f"{race} {roc_auc_score(own, scores[known, i]):.3f}")
    age = rows["age"].to_numpy(dtype=float, na_value=np.nan)
    known = ~np.isnan(age)
    said.append(f"age r {np.corrcoef(age[known], loaded.age(shown)[known])[0, 1]:.3f}")
    return ", ".join(said) + " on validation pictures"
