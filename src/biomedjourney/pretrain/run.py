"""Makes the frozen parts from the tables."""

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
    """Writes the folder of the first stage; returns a line on how well it reconstructs validation pictures."""
    from biomedjourney.pretrain import first_stage as stage

    stage_settings = settings["pretrain"]["first_stage"]
    if stage_settings["weights"] is not None:
        stage.copy_published(Path(stage_settings["weights"]), out)
        return f"first stage: {stage_settings['weights']}"
    _, training_pictures = pictures_of.load(pixels, _of_split(singles, "train")["dicom_id"])
    model = stage.train(training_pictures, stage_settings, settings["seed"])
    with tables.atomic_folder(out) as folder:
        model.save_pretrained(folder)
    _, held_out = pictures_of.load(pixels, _of_split(singles, "validation")["dicom_id"])
    return f"first stage: {stage.psnr(model, held_out[:256]):.1f} dB on validation pictures"


def text_tower(
    settings: dict[str, Any], singles: Path, pairs: Path, progressions: Path, studies: Path, out: Path
) -> str:
    """Writes the folder of the text tower; returns a line on what it was trained on.

    In miniature it learns from training patients: a report has the labels of its study, a description those of both.
    """
    from biomedjourney.pretrain import text_tower as tower

    tower_settings = settings["pretrain"]["text_tower"]
    if tower_settings["weights"] is not None:
        tower.copy_published(Path(tower_settings["weights"]), out)
        return f"text tower: {tower_settings['weights']}"
    rows = tables.read(studies, "studies")
    all_labels = settings["labels"] | {"findings": list(tables.CHEXPERT_LABELS)}
    labels = pd.DataFrame(binary_labels(rows, all_labels), index=rows["study_id"])
    reports = _of_split(singles, "train")
    descriptions = tables.read(progressions, "progressions", ["pair_id", "description", "valid"])
    descriptions = descriptions[descriptions["valid"]]
    described_pairs = tables.read(pairs, "pairs").merge(descriptions, on="pair_id").sort_values("pair_id")
    training_pairs = described_pairs[described_pairs["split"] == "train"]
    current_labels = labels.loc[[*reports["study_id"], *training_pairs["study_id"]]].to_numpy()
    prior_labels = np.full_like(current_labels, np.nan)
    prior_labels[len(reports) :] = labels.loc[training_pairs["prior_study_id"]]
    texts = [*reports["text"], *training_pairs["description"]]
    size, tokens = settings["preprocess"]["size"], settings["text"]["max_tokens"]
    both_labels = np.hstack([prior_labels, current_labels])
    loss = tower.train(texts, both_labels, tower_settings, tokens, size, settings["seed"], out)
    return f"text tower: trained on {len(texts)} texts, loss {loss:.3f}"


def judges(
    settings: dict[str, Any], singles: Path, studies: Path, patients: Path, pixels: Iterable[Path], out: Path
) -> str:
    """Writes the folder of the judges; returns a line on their accuracy on real validation pictures."""
    from biomedjourney.pretrain import judges as judge

    judge_settings, labels = settings["pretrain"]["judges"], settings["labels"]
    if judge_settings["weights"] is not None:
        judge.copy_published(judge_settings["weights"], out)
        return f"judges: {', '.join(judge_settings['weights'].values())}"
    rows = tables.read(singles, "singles").merge(
        tables.read(studies, "studies").drop(columns="subject_id"), on="study_id"
    )
    rows = rows.merge(tables.read(patients, "patients"), on="subject_id").set_index("dicom_id").sort_index()
    ids, pictures = pictures_of.load(pixels, rows.index[rows["split"] == "train"])
    training_rows = rows.loc[ids]
    age = training_rows["age"].to_numpy(dtype=float, na_value=np.nan)
    mean_age = float(np.mean(age[~np.isnan(age)])) if (~np.isnan(age)).any() else np.nan
    race = training_rows["race"].map({name: i for i, name in enumerate(tables.RACES)}).to_numpy(dtype=float)
    pathology, standardised_age = binary_labels(training_rows, labels), (age - mean_age) / judge.AGE_SCALE
    targets = {"pathology": pathology, "race": race, "age": standardised_age}
    names = {"pathology": labels["findings"], "race": list(tables.RACES), "age": ["age"]}
    with tables.atomic_folder(out) as folder:
        for kind, target in targets.items():
            usable = np.ones(len(target), bool) if target.ndim > 1 else ~np.isnan(target)
            if not usable.any():
                raise UserError(
                    f"{patients}: no training patient has a known {kind}, so its judge cannot learn: "
                    "correct data.demographics, or give published weights in pretrain.judges"
                )
            model = judge.train(kind, pictures[usable], target[usable], judge_settings, settings["seed"])
            description = {"names": names[kind], "outputs": len(names[kind]), "size": settings["preprocess"]["size"]}
            judge.save(folder, kind, model, description | {"mean_age": mean_age})
    return "judges: " + _validate(judge.load(out), rows[rows["split"] == "validation"], pixels, labels)


def _validate(loaded_judges: Any, rows: pd.DataFrame, pixels: Iterable[Path], labels: dict[str, Any]) -> str:
    """The AUC of each label and race, and the correlation of age, on these rows, in one line."""
    from sklearn.metrics import roc_auc_score

    ids, pictures = pictures_of.load(pixels, rows.index)
    rows, float_pictures = rows.loc[ids], pictures.astype(np.float32) / 255
    results = []
    truth, scores = binary_labels(rows, labels), loaded_judges.pathology(float_pictures)
    for i, label in enumerate(loaded_judges.labels):
        is_known = ~np.isnan(truth[:, i])
        if len(np.unique(truth[is_known, i])) == 2:
            results.append(f"{label} {roc_auc_score(truth[is_known, i], scores[is_known, i]):.3f}")
    scores = loaded_judges.race(float_pictures)
    for i, race in enumerate(tables.RACES):
        is_known = rows["race"].notna().to_numpy()
        is_race = (rows["race"] == race).fillna(False).to_numpy()[is_known]
        if 0 < is_race.sum() < is_known.sum():
            results.append(f"{race} {roc_auc_score(is_race, scores[is_known, i]):.3f}")
    age = rows["age"].to_numpy(dtype=float, na_value=np.nan)
    is_known = ~np.isnan(age)
    results.append(f"age r {np.corrcoef(age[is_known], loaded_judges.age(float_pictures)[is_known])[0, 1]:.3f}")
    return ", ".join(results) + " on validation pictures"
