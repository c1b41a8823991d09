"""Small random tables of every kind, for tests of the verbs that read them, and judges that read their pictures.

A picture holds its content as brightness: five bands for five findings, three patches for the race, a row for the age.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from biomedjourney import config, pixels, tables
from biomedjourney.evaluate.real import judge_pictures
from biomedjourney.gather import cohort
from biomedjourney.gather.triples import NOT_REGISTERED
from biomedjourney.ingest.cohort import Account
from biomedjourney.measures import GUIDING, RACE_AUC
from biomedjourney.pair.pair import pair
from tests.helpers import REPOSITORY

FINDINGS = ["pleural_effusion", "cardiomegaly", "consolidation", "edema", "pneumothorax"]
SIDE = 32
PAIR_COLUMNS = "pair_id subject_id prior_study_id study_id prior_dicom_id dicom_id interval_days split"
SYSTEMS = ("biomedjourney", "text-only", "no-registration", "untrained", "copy-prior", "real-follow-up")
SPLITS_IN_TURN = ("test", "test", "validation", "train")  # of the patients, one after the other


def picture(found: np.ndarray, race: int, age: float, rng: np.random.Generator) -> np.ndarray:
    result = np.empty((SIDE, SIDE))
    result[:20] = np.repeat(0.3 + 0.4 * found, 4)[:, None]
    for i in range(3):
        result[20:31, 10 * i : 10 * i + 12] = 0.8 if i == race else 0.2
    result += rng.normal(0, 0.05, result.shape) + rng.normal(0, 0.12, (SIDE // 4, 1)).repeat(4, axis=0)
    result[31] = age / 100 + rng.normal(0, 0.05)
    return np.clip(result, 0, 1)


class Judges:
    labels = tuple(FINDINGS)

    def pathology(self, pictures: np.ndarray) -> np.ndarray:
        assert pictures.dtype == np.float32
        assert 0 <= pictures.min() <= pictures.max() <= 1
        return pictures[:, :20].reshape(len(pictures), 5, -1).mean(axis=2)

    def features(self, pictures: np.ndarray) -> np.ndarray:
        return pictures.reshape(len(pictures), SIDE, 4, -1).mean(axis=3)[:, ::2].reshape(len(pictures), -1)

    def race(self, pictures: np.ndarray) -> np.ndarray:
        patches = np.stack([pictures[:, 20:31, 10 * i : 10 * i + 10].mean(axis=(1, 2)) for i in range(3)], axis=1)
        return patches / patches.sum(axis=1, keepdims=True)

    def age(self, pictures: np.ndarray) -> np.ndarray:
        return 100 * pictures[:, 31].mean(axis=1)


def settings(verb: str, **overlay: Any) -> dict[str, Any]:
    return config.merge(config.load([str(REPOSITORY / "config.yaml")], verb), overlay)


def config_text(**overlay: Any) -> str:
    """The default configuration with an overlay, as the text that ``--config`` takes."""
    base = yaml.safe_load((REPOSITORY / "config.yaml").read_text())
    return yaml.safe_dump(config.merge(base, overlay), default_flow_style=True, sort_keys=False, width=10**9)


def write(folder: Path, patients: int = 60, seed: int = 0, systems: tuple[str, ...] = SYSTEMS) -> dict[str, Path]:
    """Writes the tables that come before `evaluate`; returns the path of each by its name.

    A triple is accepted where the registration is, about seven times in eight. Every picture of a system is of a
    compared test pair. The tables `cohort` and `exclusions` hold what `pair` and `gather` say of these tables.
    """
    rng = np.random.default_rng(seed)
    people, studies, pairs, films, truth = [], [], [], {}, []
    for i in range(patients):
        subject, race, age = 10000 + i, int(rng.integers(3)), int(rng.integers(25, 90))
        people.append((subject, "FM"[i % 2], tables.RACES[race] if i % 9 else None, age, 2150))
        split = SPLITS_IN_TURN[i % 4]
        for visit in range(3):
            study = 50000 + 3 * i + visit
            found = rng.integers(0, 2, 5)
            films[str(study)] = (picture(found, race, age, rng), found, race, age)
            labels = {name: (None if rng.random() < 0.1 else int(v)) for name, v in zip(FINDINGS, found, strict=True)}
            studies.append({"study_id": study, "subject_id": subject, "age": age, **labels})
            studies[-1]["study_time"] = pd.Timestamp("2150-01-01") + pd.Timedelta(days=100 * visit)
            truth.append({"study_id": study, "subject_id": subject, "race": tables.RACES[race], "age": float(age)})
            truth[-1]["dicom_id"] = str(study)
            truth[-1] |= {f"severity_{name}": float(v) for name, v in zip(FINDINGS, found, strict=True)}
            if visit:
                pairs.append(
                    (f"{study - 1}-{study}", subject, study - 1, study, str(study - 1), str(study), 100.0, split)
                )
    paths = {}

    def put(name: str, data: Any, file: str | None = None, columns: str = "") -> None:
        paths[file or name] = folder / f"{file or name}.parquet"
        rows = data if isinstance(data, pd.DataFrame) else pd.DataFrame(data, columns=columns.split())
        tables.write(paths[file or name], name, rows)

    put("patients", people, columns="subject_id sex race anchor_age anchor_year")
    frame = pd.DataFrame(studies)
    for label in tables.CHEXPERT_LABELS:
        frame[label] = frame.get(label, pd.Series([None] * len(frame), dtype="Int8")).astype("Int8")
    put("studies", frame.assign(findings="", impression=""))
    put("truth", pd.DataFrame(truth))
    put("pairs", pairs, columns=PAIR_COLUMNS)
    pair_rows = pd.DataFrame(pairs, columns=PAIR_COLUMNS.split())
    descriptions = [f"new pleural effusion, pair {pair_id}" for pair_id in pair_rows["pair_id"]]
    put(
        "progressions",
        [
            (p, "rules", text, None, None, True, None)
            for p, text in zip(pair_rows["pair_id"], descriptions, strict=True)
        ],
        columns="pair_id writer description model prompt_sha256 valid fallback_reason",
    )
    scores_before = rng.uniform(0.1, 0.9, len(pair_rows))
    accepted = scores_before + 0.2 >= 0.4
    put(
        "registrations",
        [
            (p, [1.0, 0, 0, 0, 1, 0], None, s, min(s + 0.2, 1.0), is_accepted, "")
            for p, s, is_accepted in zip(pair_rows["pair_id"], scores_before, accepted, strict=True)
        ],
        columns="pair_id matrix displacement score_before score_after accepted reason",
    )
    triples = pair_rows.assign(
        writer="rules",
        direction="forward",
        description=descriptions,
        accepted=accepted,
        reason=np.where(accepted, "", NOT_REGISTERED),
        compared=accepted & (pair_rows["split"] != "train"),
    )
    put("triples", triples)
    put(
        "training",
        [
            (run, 0, s, i + 1, 32 * s, 1.0 / (1 + s), 1e-3, 0.1 * s, None if s % 40 else 1.2 / (1 + s), 320.0, 500.0)
            for i, run in enumerate(("stage1", "stage2"))
            for s in range(0, 100, 20)
        ],
        columns="run training_seed step stage images_seen loss learning_rate seconds validation_loss images_per_second"
        " memory_mb",
    )
    put(
        "guidance",
        [("biomedjourney", 1.5 * (i + 1), 1.5, 20, 0.8, 0.9, 0.7, 0.8, 0.6 + 0.1 * i, i == 1) for i in range(2)],
        columns="system text_scale image_scale n pathology_auc race_auc age_r cmig change_auc chosen",
    )
    distances = [
        end for name in ("difference", "ssim", "score_difference") for end in (name, f"{name}_low", f"{name}_high")
    ]
    put(
        "soundness",
        [("biomedjourney", trial, 20, *(9 * [0.1 * (i + 1)])) for i, trial in enumerate(("edit", "reversal"))],
        columns=" ".join(["system", "trial", "n", *distances]),
    )
    put("samplers", _samplers())
    put(
        "pixels",
        [(d, pixels.encode_png(f[0]), False, None, "") for d, f in films.items()],
        columns="dicom_id png inverted to_original reason",
    )
    put(
        "registered",
        [(r.pair_id, pixels.encode_png(films[r.prior_dicom_id][0]), None) for r in pair_rows.itertuples()],
        columns="pair_id png coverage",
    )
    paired = _paired(frame)
    put("singles", paired["singles"])
    put("images", _images(frame).assign(path=""))
    compared = triples[triples["compared"] & (triples["split"] == "test")]
    put("real", judge_pictures(paired["singles"], compared, [paths["pixels"]], Judges(), 64))
    later = cohort.account(paths["singles"], [paths["pixels"]], [paths["triples"]])
    put("cohort", pd.concat([_ingested(len(studies), patients).cohort(), paired["cohort"], later.cohort()]))
    put("exclusions", pd.concat([paired["exclusions"], later.exclusions()]))
    for system in systems:
        rows = [
            (0, 0, r.pair_id, pixels.encode_png(draw(system, films[r.prior_dicom_id], films[r.dicom_id], rng)))
            for r in compared.itertuples()
        ]
        put("generated", rows, f"generated/{system}", columns="training_seed seed pair_id png")
    return paths


def _samplers() -> pd.DataFrame:
    """Two samplers on the same pairs; the second one changes race AUC alone, and that by too much."""
    rows = []
    for solver, steps, within in (("ddim", 100, None), ("dpm-solver++", 20, False)):
        row = {"system": "biomedjourney", "solver": solver, "steps": steps, "evaluations": 3 * steps, "n": 20}
        for measure in GUIDING:
            shift = 0.0 if within is None or measure is not RACE_AUC else -0.0321
            row |= {measure.name: 0.8 + shift, f"{measure.name}_low": 0.7, f"{measure.name}_high": 0.9}
            ends = (None,) * 3 if within is None else (shift, shift - 0.004, shift + 0.004)
            row |= {f"{measure.name}_difference{end}": v for end, v in zip(("", "_low", "_high"), ends, strict=True)}
        rows.append(row | {"within": within})
    return pd.DataFrame(rows)


def _ingested(studies: int, laterals: int) -> Account:
    """The steps of `ingest`, which drop two studies with their images."""
    account = Account()
    images = ("images", studies + laterals, "the study has no report")
    for unit, kept, reason in (("studies", studies, "no report"), images):
        account.step(f"{unit}: in the metadata", kept + 2)
        account.step(f"{unit}: with a report", kept, {reason: 2})
    return account


def _paired(studies: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """What `pair` makes of these studies: each has a PA image with a text, each patient a lateral one too."""
    images = _images(studies)
    files = images[["dicom_id"]].assign(problem="")
    texts = "A film of study " + studies["study_id"].astype(str) + "."
    with_text = studies.assign(findings="", impression=texts)
    pair_settings = settings("pair tables")
    return pair(with_text, images, files, pair_settings | {"pair": pair_settings["pair"] | {"split": "official"}})


def _images(studies: pd.DataFrame) -> pd.DataFrame:
    """A PA image of each study, and a lateral one of each patient's first."""
    first = ~studies["subject_id"].duplicated()
    frontal = studies[["study_id", "subject_id"]].assign(view="PA", dicom_id=studies["study_id"].astype(str))
    lateral = frontal[first].assign(view="LATERAL", dicom_id=frontal["dicom_id"] + "-lateral")
    images = pd.concat([frontal, lateral], ignore_index=True).assign(rows=SIDE, columns=SIDE)
    places = pd.factorize(images["subject_id"])[0]
    return images.assign(official_split=[SPLITS_IN_TURN[place % 4] for place in places])


def draw(system: str, prior: tuple, current: tuple, rng: np.random.Generator) -> np.ndarray:
    if system in ("copy-prior", "real-follow-up"):
        return (prior if system == "copy-prior" else current)[0]
    if system == "untrained":
        return rng.random((SIDE, SIDE))
    keeps = system == "biomedjourney"
    return picture(
        current[1], current[2] if keeps else int(rng.integers(3)), current[3] if keeps else rng.uniform(25, 90), rng
    )
