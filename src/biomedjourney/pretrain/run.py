"""Makes the frozen parts: copies of published ones, or small ones trained on the tables."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from biomedjourney import sampling, sums, tables
from biomedjourney.errors import UserError
from biomedjourney.measures import ORGANS, dice
from biomedjourney.pixels import decode_png
from biomedjourney.preprocess import mask_on_canonical
from biomedjourney.pretrain import pictures as pictures_of
from biomedjourney.pretrain.targets import binary_labels

Inputs = Mapping[str, Any]  # tables by the option of the command that names them; None or () where it is not given


def _needed(inputs: Inputs, part: str, *names: str) -> list[Any]:
    """The inputs with these names. Raises UserError for one that is not given."""
    for name in names:
        if not inputs[name]:
            raise UserError(
                f"--{name} is missing: without pretrain.{part}.weights the part is trained here: give the table"
            )
    return [inputs[name] for name in names]


def _of_split(singles: Path, split: str) -> pd.DataFrame:
    rows = tables.read(singles, "singles")
    return rows[rows["split"] == split].sort_values("dicom_id", ignore_index=True)


def first_stage(settings: dict[str, Any], out: Path, inputs: Inputs) -> str:
    """Writes the folder of the first stage; returns a line that says where it is from.

    With weights given no table is read. Raises UserError for an input that is needed and not given.
    """
    from biomedjourney.pretrain import first_stage as stage

    published = settings["pretrain"]["first_stage"]["weights"]
    if published is None:
        return train_first_stage(settings, out, inputs)
    stage.copy_published(Path(published), out)
    return f"first stage: {published}"


def text_tower(settings: dict[str, Any], out: Path, inputs: Inputs) -> str:
    """Writes the folder of the text tower; returns a line that says where it is from. Inputs: see `first_stage`."""
    from biomedjourney.pretrain import text_tower as tower

    published = settings["pretrain"]["text_tower"]["weights"]
    if published is None:
        return train_text_tower(settings, out, inputs)
    tower.copy_published(Path(published), out)
    return f"text tower: {published}"


def judges(settings: dict[str, Any], out: Path, inputs: Inputs) -> str:
    """Writes the folder of the judges; returns a line that says where they are from. Inputs: see `first_stage`."""
    return _judges("judges", settings, out, inputs)


def second_judges(settings: dict[str, Any], out: Path, inputs: Inputs) -> str:
    """Writes the folder of the second set of judges, as `judges`. Raises UserError where none is configured."""
    if settings["pretrain"]["second_judges"] is None:
        raise UserError(
            "configuration, pretrain.second_judges: null, so there is no second set of judges: "
            "set it to {weights: null}, or name the files of published ones"
        )
    return _judges("second_judges", settings, out, inputs)


def _judges(part: str, settings: dict[str, Any], out: Path, inputs: Inputs) -> str:
    from biomedjourney.pretrain import judges as judge

    published = settings["pretrain"][part]["weights"]
    if published is None:
        return train_judges(part, settings, out, inputs)
    judge.copy_published(published, out)
    return f"{part.replace('_', ' ')}: {', '.join(published.values())}"


def segmenter(settings: dict[str, Any], out: Path, inputs: Inputs) -> str:
    """Writes the folder of the segmenter; returns a line that says where it is from. Inputs: see `first_stage`."""
    from biomedjourney.pretrain import segmenter as organs

    published = settings["pretrain"]["segmenter"]["weights"]
    if published is None:
        return train_segmenter(settings, out, inputs)
    organs.copy_published(Path(published), out)
    return f"segmenter: {published}"


def train_first_stage(settings: dict[str, Any], out: Path, inputs: Inputs) -> str:
    """Trains the first stage in miniature; returns a line on how well it reconstructs validation pictures."""
    from biomedjourney.pretrain import first_stage as stage

    singles, pixels = _needed(inputs, "first_stage", "singles", "pixels")
    _, training_pictures = pictures_of.load(pixels, _of_split(singles, "train")["dicom_id"])
    model = stage.train(training_pictures, settings["pretrain"]["first_stage"], settings["seed"])
    with sums.model_folder(out) as folder:
        model.save_pretrained(folder)
    _, held_out = pictures_of.load(pixels, _of_split(singles, "validation")["dicom_id"])
    return f"first stage: {stage.psnr(model, held_out[:256]):.1f} dB on validation pictures"


def train_text_tower(settings: dict[str, Any], out: Path, inputs: Inputs) -> str:
    """Trains the text tower in miniature; returns a line on what it was trained on.

    It learns from training patients: a report has the labels of its study, a description those of both.
    """
    from biomedjourney.pretrain import text_tower as tower

    singles, pairs, progressions, studies = _needed(inputs, "text_tower", "singles", "pairs", "progressions", "studies")
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
    loss = tower.train(texts, both_labels, settings["pretrain"]["text_tower"], tokens, size, settings["seed"], out)
    return f"text tower: trained on {len(texts)} texts, loss {loss:.3f}"


def train_judges(part: str, settings: dict[str, Any], out: Path, inputs: Inputs) -> str:
    """Trains the judges in miniature; returns a line on their accuracy on real validation pictures.

    ``part``: judges, or second_judges, which begin from other weights of another network and draw other pictures.
    """
    from biomedjourney.pretrain import judges as judge

    judge_settings, labels = settings["pretrain"]["judges"], settings["labels"]
    architecture, seed = judge.ARCHITECTURE, settings["seed"]
    if part == "second_judges":
        architecture, seed = judge.SECOND_ARCHITECTURE, int(sampling.keyed(part, seed).integers(2**62))
    singles, studies, patients, pixels = _needed(inputs, part, "singles", "studies", "patients", "pixels")
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
    with sums.model_folder(out) as folder:
        for kind, target in targets.items():
            usable = np.ones(len(target), bool) if target.ndim > 1 else ~np.isnan(target)
            if not usable.any():
                raise UserError(
                    f"{patients}: no training patient has a known {kind}, so its judge cannot learn: "
                    f"correct data.demographics, or give published weights in pretrain.{part}"
                )
            model = judge.train(kind, pictures[usable], target[usable], judge_settings, seed, architecture)
            description = {"names": names[kind], "outputs": len(names[kind]), "size": settings["preprocess"]["size"]}
            judge.save(folder, kind, model, {"architecture": architecture, **description, "mean_age": mean_age})
    return f"{part.replace('_', ' ')}: " + _validate(
        judge.load(out), rows[rows["split"] == "validation"], pixels, labels
    )


def train_segmenter(settings: dict[str, Any], out: Path, inputs: Inputs) -> str:
    """Trains the segmenter in miniature; returns a line on its Dice on films of validation patients."""
    from biomedjourney.pretrain import segmenter as organs

    singles, pixels, masks = _needed(inputs, "segmenter", "singles", "pixels", "organs")
    size = settings["preprocess"]["size"]
    pictures, targets = _marked(masks, pixels, _of_split(singles, "train"), size)
    if not len(pictures):
        raise UserError(
            f"{masks}: no film of a training patient in it has a picture, so the segmenter cannot learn: "
            "give more patients masks (phantom.organ_masks), or published weights in pretrain.segmenter"
        )
    model = organs.train(pictures, targets, settings["pretrain"]["segmenter"], settings["seed"])
    held_out, expected = _marked(masks, pixels, _of_split(singles, "validation"), size)
    overlap = {}
    if len(held_out):
        found = organs.of_model(model, size).organs(held_out.astype(np.float32) / 255)
        for i, organ in enumerate(ORGANS):
            overlap[organ] = round(float(np.nanmean(dice(found[organ], expected[:, i] > 0.5))), 4)
    facts = {"size": size, "films": len(pictures), "dice": overlap, "validation_films": len(held_out)}
    with sums.model_folder(out) as folder:
        organs.save(folder, model, facts)
    said = ", ".join(f"{organ} {value:.3f}" for organ, value in overlap.items()) or "not known"
    return f"segmenter: trained on {len(pictures)} films, Dice {said} on {len(held_out)} validation pictures"


def _marked(masks: Path, pixels: Iterable[Path], singles: pd.DataFrame, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The pictures with masks among singles, uint8 (n, h, w), and how much each organ covers (n, organs, h, w), 0 to 1.

    The masks are of the film's files; each is brought to canonical form as its film was.
    """
    lookup = tables.Lookup([masks], "organs", "dicom_id", singles["dicom_id"])
    marked = [name for name in singles["dicom_id"] if name in lookup]
    if not marked:
        return np.empty((0, size, size), np.uint8), np.empty((0, len(ORGANS), size, size), np.float32)
    ids, pictures = pictures_of.load(pixels, marked)
    films = tables.find(pixels, "pixels", "dicom_id", ids)
    rows = lookup.rows(ids)
    covered = np.empty((len(ids), len(ORGANS), *pictures.shape[1:]), np.float32)
    for i, name in enumerate(ids):
        for j, organ in enumerate(ORGANS):
            mask = decode_png(rows[name][organ]) > 0.5
            covered[i, j] = mask_on_canonical(mask, films[name]["to_original"], pictures.shape[1])
    return pictures, covered


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
