"""Every table of the project, declared once: column names, types, units and meaning.

The declaration is an Arrow schema; descriptions and units travel inside the Parquet files. Writers validate and
write to a temporary file that is then renamed; readers refuse a file whose columns are not the declared ones.
"""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from biomedjourney import beyond, makers, measures, systems
from biomedjourney.errors import UserError, brief, full_disk, no_space, raise_unless_damage, umask
from biomedjourney.measures import RACES as RACES

CHEXPERT_LABELS = (
    "atelectasis",
    "cardiomegaly",
    "consolidation",
    "edema",
    "enlarged_cardiomediastinum",
    "fracture",
    "lung_lesion",
    "lung_opacity",
    "no_finding",
    "pleural_effusion",
    "pleural_other",
    "pneumonia",
    "pneumothorax",
    "support_devices",
)
SPLITS = ("train", "validation", "test")

BUFFER = 1 << 20  # bytes of a column chunk that are read at once
BATCH = 4 << 20  # bytes of rows that a reader of a bulky table holds at once, about
UNFINISHED = ".part"  # ends the name of what is being written, which begins with a dot; a kill leaves it behind
ROWS_PER_PAGE = 16  # of a bulky table: a reader cannot hold less than a page, and Arrow's default is 1024 rows


@dataclass(frozen=True)
class Column:
    """One column; a name that ends with ``*`` stands for any number of columns that begin so."""

    name: str
    type: pa.DataType
    description: str
    unit: str = ""
    nullable: bool = False

    @property
    def is_family(self) -> bool:
        return self.name.endswith("*")

    def field(self, name: str | None = None) -> pa.Field:
        metadata = {"description": self.description, "unit": self.unit}
        return pa.field(name or self.name, self.type, nullable=self.nullable, metadata=metadata)


@dataclass(frozen=True)
class Table:
    """A table: what a row is, its key, its columns."""

    name: str
    description: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    bulky: bool = False
    may_be_empty: bool = False  # bulky ones may be too: they are shards

    def column_for(self, name: str) -> Column | None:
        for column in self.columns:
            if column.name == name or (column.is_family and name.startswith(column.name[:-1])):
                return column
        return None

    def schema(self, names: Iterable[str]) -> pa.Schema:
        """The Arrow schema of a file with these columns, in the declared order; ValueError on a wrong set."""
        names = list(names)
        declared = {name: self.column_for(name) for name in names}
        unknown = [name for name, column in declared.items() if column is None]
        if unknown:
            raise ValueError(f"unknown column {unknown[0]!r}")
        missing = [c.name for c in self.columns if not c.is_family and c.name not in declared]
        if missing:
            raise ValueError(f"column {missing[0]!r} is missing")
        order = {column.name: i for i, column in enumerate(self.columns)}
        fields = [(order[column.name], column.field(name)) for name, column in declared.items() if column is not None]
        fields.sort(key=lambda pair: pair[0])
        metadata = {"table": self.name, "description": self.description, "key": ",".join(self.key)}
        return pa.schema([field for _, field in fields], metadata=metadata)


def _measured(declared: Iterable[measures.Measure]) -> tuple[Column, ...]:
    """A column for each measure."""
    return tuple(Column(m.name, pa.float64(), m.description, m.unit, nullable=True) for m in declared)


def _with_intervals(declared: Iterable[measures.Measure]) -> tuple[Column, ...]:
    """Three columns for each measure: the estimate and both ends of its interval."""
    columns: list[Column] = []
    for measure in declared:
        columns += _estimate(measure.name, measure.description, measure.unit)
    return tuple(columns)


def _estimate(name: str, meaning: str, unit: str) -> tuple[Column, ...]:
    """A column and both ends of its interval."""
    columns = [Column(name, pa.float64(), meaning, unit, nullable=True)]
    for end, place in (("low", "lower"), ("high", "upper")):
        text = f"{place} end of the 95 % interval of {name}"
        columns.append(Column(f"{name}_{end}", pa.float64(), text, unit, nullable=True))
    return tuple(columns)


def _with_differences(declared: Iterable[measures.Measure], reference: str) -> tuple[Column, ...]:
    """Three more columns for each measure: the difference to another system, and both ends of its interval."""
    columns: list[Column] = []
    for measure in declared:
        text = f"{measure.name} less that of {reference}"
        columns.append(Column(f"{measure.name}_difference", pa.float64(), text, measure.unit, nullable=True))
        for end, meaning in (("low", "lower"), ("high", "upper")):
            text = f"{meaning} end of the 95 % interval of {measure.name}_difference, paired over patients"
            name = f"{measure.name}_difference_{end}"
            columns.append(Column(name, pa.float64(), text, measure.unit, nullable=True))
    return tuple(columns)


def _with_training_seeds(declared: Iterable[measures.Measure]) -> tuple[Column, ...]:
    """Two more columns for each measure: the least and the greatest value over the training seeds."""
    columns: list[Column] = []
    for measure in declared:
        for end in ("least", "greatest"):
            text = f"{end} {measure.name} of one training seed; null where the run was trained once, or there is none"
            name = f"{measure.name}_seeds_{end}"
            columns.append(Column(name, pa.float64(), text, measure.unit, nullable=True))
    return tuple(columns)


def _as_printed(declared: Iterable[measures.Measure]) -> tuple[Column, ...]:
    """A column for the paper's figure of each measure."""
    return tuple(
        Column(f"paper_{m.name}", pa.float64(), f"{m.name} as printed in arXiv 2310.10765", m.unit, nullable=True)
        for m in declared
    )


def _with_ranks(declared: Iterable[measures.Measure]) -> tuple[Column, ...]:
    """Two columns for each measure: the system's rank by it, and how far the ranks by both sets of judges agree."""
    columns: list[Column] = []
    for measure in declared:
        rank = f"rank among the systems by {measure.name}, 1 the highest; null where it is undefined"
        columns.append(Column(f"{measure.name}_rank", pa.int16(), rank, nullable=True))
        text = f"Kendall's tau between the ranks by {measure.name} of the two sets of judges; the same in every row"
        columns.append(Column(f"{measure.name}_agreement", pa.float64(), text, "correlation", nullable=True))
    return tuple(columns)


_SUBJECT = Column("subject_id", pa.int64(), "the patient")
_STUDY = Column("study_id", pa.int64(), "the study (one visit to the X-ray room)")
_DICOM = Column("dicom_id", pa.string(), "the image")
_PAIR = Column("pair_id", pa.string(), "the pair: prior study, a dash, current study")
_TWO_STUDIES = (
    Column("prior_study_id", pa.int64(), "the study of the prior image"),
    Column("study_id", pa.int64(), "the study of the current image"),
    Column("prior_dicom_id", pa.string(), "the prior image"),
    Column("dicom_id", pa.string(), "the current image"),
    Column("interval_days", pa.float64(), "time between the two studies", "days"),
)
_WRITER = Column("writer", pa.string(), "who wrote the description: rules, impression or openai")
_DESCRIPTION = Column("description", pa.string(), "the progression description")
_TRAINING_SEED = Column(
    "training_seed", pa.int64(), "seed of the training; 0 where a run is trained once or there is none"
)
_SEED = Column("seed", pa.int64(), "seed of the sampling noise")
_SYSTEM = Column("system", pa.string(), "what made the picture, by its name in the configuration")
_SPLIT = Column("split", pa.string(), "train, validation or test; a patient is on one side only")
_PAIRS_COUNTED = Column("n", pa.int64(), "test pairs")
_JUDGED = (
    _SYSTEM,
    _TRAINING_SEED,
    _SEED,
    _PAIR,
    _SUBJECT,
    Column("pathology_*", pa.float32(), "the pathology classifier's probability"),
    Column("race_*", pa.float32(), "the race classifier's probability"),
    Column("age", pa.float32(), "the age classifier's estimate", "years"),
)
_SAMPLER = (
    Column("solver", pa.string(), "what takes the steps: ddim or dpm-solver++"),
    Column("steps", pa.int64(), "sampling steps"),
    Column("evaluations", pa.int64(), "evaluations of the UNet for one picture, those of guidance among them"),
)
_PNG = Column("png", pa.binary(), "8-bit grey PNG", nullable=True)

_DECLARED = (
    Table(
        "patients",
        "One row per patient.",
        ("subject_id",),
        (
            _SUBJECT,
            Column("sex", pa.string(), "F or M", nullable=True),
            Column("race", pa.string(), "Asian, Black, White, or null where unknown or contradictory", nullable=True),
            Column("anchor_age", pa.int16(), "age in anchor_year; 91 stands for all above 89", "years", True),
            Column("anchor_year", pa.int16(), "the shifted year in which anchor_age holds", "year", True),
        ),
    ),
    Table(
        "studies",
        "One row per study, with the sections of its report and its CheXpert labels.",
        ("study_id",),
        (
            _STUDY,
            _SUBJECT,
            Column("study_time", pa.timestamp("ms"), "date and time of the study, shifted by patient"),
            Column("age", pa.int16(), "anchor_age + (study year - anchor_year)", "years", True),
            Column("findings", pa.string(), "Findings section as found; empty when absent"),
            Column("impression", pa.string(), "Impression section as found; empty when absent"),
            *(
                Column(label, pa.int8(), "1 present, 0 absent, -1 uncertain, null not mentioned", nullable=True)
                for label in CHEXPERT_LABELS
            ),
        ),
    ),
    Table(
        "images",
        "One row per image file.",
        ("dicom_id",),
        (
            _DICOM,
            _STUDY,
            _SUBJECT,
            Column("view", pa.string(), "PA, AP, LATERAL, LL, ... as in ViewPosition", nullable=True),
            Column("rows", pa.int32(), "height of the original; null where not given", "pixels", True),
            Column("columns", pa.int32(), "width of the original; null where not given", "pixels", True),
            Column("path", pa.string(), "image file, relative to the data root"),
            Column(
                "official_split", pa.string(), "train, validation or test as published; null: none, or odd", "", True
            ),
        ),
    ),
    Table(
        "image_files",
        "The state of each image file, found before any is needed.",
        ("dicom_id",),
        (
            _DICOM,
            Column("bytes", pa.int64(), "size of the file", "bytes", True),
            Column(
                "problem", pa.string(), "missing, empty, truncated, checksum differs, ...; empty when the file is whole"
            ),
        ),
    ),
    Table(
        "singles",
        "Image and text of one study: what stage 1 learns from.",
        ("dicom_id",),
        (_DICOM, _STUDY, _SUBJECT, _SPLIT, Column("text", pa.string(), "the report's text for a model, ___ removed")),
    ),
    Table(
        "pairs",
        "Two studies of one patient, the prior and the current one.",
        ("pair_id",),
        (
            _PAIR,
            _SUBJECT,
            *_TWO_STUDIES,
            _SPLIT,
        ),
    ),
    Table(
        "cohort",
        "From the raw rows to the training examples: what each step kept and dropped.",
        ("step", "reason"),
        (
            Column("step", pa.string(), "what was done"),
            Column("kept", pa.int64(), "rows left after the step"),
            Column("dropped", pa.int64(), "rows dropped for this reason"),
            Column("reason", pa.string(), "why they were dropped"),
            Column("paper", pa.int64(), "the paper's count, where it gives one", nullable=True),
        ),
    ),
    Table(
        "exclusions",
        "One row for each study, image, single, pair or triple that a step left out.",
        ("kind", "id"),
        (
            Column("kind", pa.string(), "study, image, single, pair or triple"),
            Column("id", pa.string(), "its identifier"),
            Column("step", pa.string(), "the step that left it out"),
            Column("reason", pa.string(), "why"),
        ),
        may_be_empty=True,
    ),
    Table(
        "progressions",
        "A description of what changed between the two studies of a pair.",
        ("pair_id", "writer"),
        (
            _PAIR,
            _WRITER,
            _DESCRIPTION,
            Column(
                "model", pa.string(), "language model that wrote it, by the name that the server gave", nullable=True
            ),
            Column("prompt_sha256", pa.string(), "hash of its prompt", nullable=True),
            Column("valid", pa.bool_(), "all checks passed"),
            Column("fallback_reason", pa.string(), "why the rules wrote it after all", nullable=True),
            Column("check_*", pa.bool_(), "one check of the description"),
        ),
        may_be_empty=True,
    ),
    Table(
        "triples",
        "Prior image, progression description, new image: every pair and writer, accepted or with its reason.",
        ("pair_id", "writer"),
        (
            _PAIR,
            _WRITER,
            Column("direction", pa.string(), "forward, or backward: a training pair read from the later study back"),
            _SUBJECT,
            _SPLIT,
            *_TWO_STUDIES,
            _DESCRIPTION,
            Column("accepted", pa.bool_(), "a training example, if the split is train"),
            Column("reason", pa.string(), "why it is not accepted; empty where it is"),
            Column(
                "compared",
                pa.bool_(),
                "all systems are compared on this pair: a test or validation pair that is accepted with the"
                " description of the first configured writer",
            ),
        ),
        may_be_empty=True,
    ),
    Table(
        "registrations",
        "The transform that brings the prior image onto the current one, and how well it fits.",
        ("pair_id",),
        (
            _PAIR,
            Column(
                "matrix",
                pa.list_(pa.float64(), 6),
                "row-major 2x3, maps a pixel centre (x, y) of the current canonical image to the prior's; null for a"
                " B-spline",
                "pixels",
                True,
            ),
            Column(
                "displacement",
                pa.list_(pa.float64(), 98),
                "of a B-spline, row-major 7x7x2: how far each control point moves (x, y) from the current canonical"
                " image to the prior's; the points lie a quarter of the side apart, the second and the sixth of a row"
                " or column on the edges",
                "pixels",
                True,
            ),
            Column("score_before", pa.float64(), "correlation of the two images as they are, -1 to 1", nullable=True),
            Column("score_after", pa.float64(), "correlation after registration, -1 to 1", nullable=True),
            Column("accepted", pa.bool_(), "score_after reaches the threshold, for the identity too"),
            Column("reason", pa.string(), "what was done, or why the pair is not accepted"),
        ),
        may_be_empty=True,
    ),
    Table(
        "training",
        "The course of a training run.",
        ("run", "training_seed", "step"),
        (
            Column("run", pa.string(), "name of the training run in the configuration"),
            _TRAINING_SEED,
            Column("step", pa.int64(), "optimiser steps taken"),
            Column("stage", pa.int64(), "1: singles with a zero prior, 2: triples"),
            Column("images_seen", pa.int64(), "images drawn so far"),
            Column("loss", pa.float64(), "mean training loss since the row before", nullable=True),
            Column("learning_rate", pa.float64(), "learning rate at this step", nullable=True),
            Column("seconds", pa.float64(), "wall time since the run began", "s", True),
            Column(
                "validation_loss",
                pa.float64(),
                "loss of the averaged weights on fixed validation examples, all with text and prior; null: not taken",
                nullable=True,
            ),
            Column(
                "images_per_second",
                pa.float64(),
                "images learned from since the row before, without the time of saving and validation",
                "1/s",
                True,
            ),
            Column("memory_mb", pa.float64(), "largest memory so far, the GPU's where there is one", "MB", True),
        ),
        may_be_empty=True,
    ),
    Table(
        "guidance",
        "The measures on validation patients for each pair of guidance scales.",
        ("system", "text_scale", "image_scale"),
        (
            _SYSTEM,
            Column("text_scale", pa.float64(), "guidance scale of the text"),
            Column("image_scale", pa.float64(), "guidance scale of the prior image"),
            Column("n", pa.int64(), "validation pairs"),
            *_measured(measures.GUIDING),
            Column("chosen", pa.bool_(), "the scales used on the test pairs"),
        ),
    ),
    Table(
        "samplers",
        "The measures on validation patients for each sampler, and its differences to the one with most evaluations.",
        ("system", "solver", "steps"),
        (
            _SYSTEM,
            *_SAMPLER,
            Column("n", pa.int64(), "validation pairs"),
            *_with_intervals(measures.GUIDING),
            *_with_differences(measures.GUIDING, "the sampler with most evaluations"),
            Column(
                "within",
                pa.bool_(),
                "the intervals of all differences lie within -0.02 and 0.02; null: the sampler with most evaluations",
                nullable=True,
            ),
        ),
    ),
    Table(
        "scores",
        "What the classifiers say of each generated picture.",
        ("system", "training_seed", "seed", "pair_id"),
        (
            *_JUDGED,
            Column(
                "ssim_unchanged",
                pa.float32(),
                "SSIM with the registered prior where the true current picture does not differ from it",
                nullable=True,
            ),
            Column(
                "difference_to_prior",
                pa.float32(),
                "mean absolute difference to the registered prior over the pixels that it covers",
                "grey level, 0 to 1",
                nullable=True,
            ),
            *(
                Column(
                    f"{organ}_dice_{reference}",
                    pa.float32(),
                    f"Dice of the {organ} with that of the {picture}; null where the segmenter finds none there",
                    nullable=True,
                )
                for reference, picture in (("prior", "registered prior"), ("current", "true current picture"))
                for organ in measures.ORGANS
            ),
            Column("prior_pathology_*", pa.float32(), "the pathology classifier's probability of the prior"),
            Column("matched_race_*", pa.float32(), "the race classifier's probability once all histograms are equal"),
            Column("distance_to_training", pa.float32(), "from the features to those of the nearest training picture"),
            *(
                Column(
                    name,
                    pa.list_(pa.float16()),
                    f"what the pathology classifier's last layer sees{of}; null in the table of all systems",
                    nullable=True,
                )
                for name, of in (("features", ""), ("prior_features", " of the registered prior"))
            ),
            Column(
                "seeds_ms_ssim",
                pa.float32(),
                "mean multi-scale SSIM with the pictures of the pair's other seeds; null where there are none",
                nullable=True,
            ),
        ),
    ),
    Table(
        "second_scores",
        "What the second set of judges says of each generated picture.",
        ("system", "training_seed", "seed", "pair_id"),
        _JUDGED,
    ),
    Table(
        "real",
        "What the pathology classifier says of real pictures: of training, validation, and later ones of test.",
        ("dicom_id",),
        (
            _DICOM,
            _STUDY,
            _SPLIT,
            Column("pathology_*", pa.float32(), "the pathology classifier's probability"),
            Column(
                "distance_to_training",
                pa.float32(),
                "from the features to those of the nearest training picture; null for a training picture",
                nullable=True,
            ),
            Column("features", pa.list_(pa.float16()), "what the pathology classifier's last layer sees"),
        ),
    ),
    Table(
        "systems",
        "The main table: one row per system.",
        ("system",),
        (
            _SYSTEM,
            _PAIRS_COUNTED,
            *_with_intervals(measures.MEASURES),
            *_with_differences(measures.MEASURES, systems.MAIN),
            *_with_training_seeds(measures.MAIN),
            *_as_printed(measures.IN_PAPER),
        ),
    ),
    Table(
        "ablations",
        "The ablations: one row per variant, beside the systems that they are compared with.",
        ("system",),
        (
            _SYSTEM,
            Column(
                "ablation_of", pa.string(), "the system that it is compared with; null for such a one", nullable=True
            ),
            _PAIRS_COUNTED,
            *_with_intervals(measures.MEASURES),
            *_with_differences(measures.MEASURES, "the system in ablation_of"),
            *_with_training_seeds(measures.MAIN),
            *_as_printed(measures.IN_PAPER),
        ),
        may_be_empty=True,
    ),
    Table(
        "beyond",
        "The measures that the paper does not have: one row per system.",
        ("system",),
        (
            _SYSTEM,
            _PAIRS_COUNTED,
            *_with_intervals(beyond.BEYOND),
            *_with_differences(beyond.BEYOND, systems.MAIN),
            *_as_printed(beyond.IN_PAPER),
        ),
    ),
    Table(
        "soundness",
        "How far edits whose result is known without a real picture are from the prior.",
        ("system", "trial"),
        (
            _SYSTEM,
            Column(
                "trial",
                pa.string(),
                "edit: the system's own pictures; reconstruction: the prior through the first stage; no-change and "
                "no-change-repeated: told once, and three times one after the other, that nothing changed; reversal: "
                "the edit taken back by the opposite description",
            ),
            _PAIRS_COUNTED,
            *_estimate("difference", "mean absolute difference to the registered prior", "grey level, 0 to 1"),
            *_estimate("ssim", "mean SSIM with the registered prior", "fraction"),
            *_estimate(
                "score_difference", "mean absolute difference of the pathology scores to the prior's", "fraction"
            ),
        ),
    ),
    Table(
        "judges",
        "How the ranking hangs on the judges: the main measures by each set of them, two rows per system.",
        ("system", "judges"),
        (
            _SYSTEM,
            Column("judges", pa.string(), "first, which all other tables have, or second"),
            _PAIRS_COUNTED,
            *_with_intervals(measures.MAIN),
            *_with_ranks(measures.RANKING),
        ),
    ),
    Table(
        "findings",
        "The measures of each finding.",
        ("system", "finding"),
        (
            _SYSTEM,
            Column("finding", pa.string(), "the label"),
            _PAIRS_COUNTED,
            *_with_intervals(m for m in measures.MEASURES if m.by_finding),
        ),
        may_be_empty=True,
    ),
    Table(
        "subgroups",
        "The measures of each group of patients.",
        ("system", "group"),
        (
            _SYSTEM,
            Column("group", pa.string(), "attribute and value, as race=Asian"),
            _PAIRS_COUNTED,
            *_with_intervals(measures.MEASURES),
        ),
        may_be_empty=True,
    ),
    Table(
        "truth",
        "The phantom's truth, read by tests and by the evaluation of the evaluation alone.",
        ("study_id",),
        (
            _STUDY,
            _SUBJECT,
            Column("race", pa.string(), "the race that the pictures were drawn with"),
            Column("age", pa.float64(), "the age that the picture was drawn with", "years"),
            Column("dicom_id", pa.string(), "the first frontal film, whose positions these are"),
            Column("severity_*", pa.float64(), "true severity of a finding (and side), 0 absent to 1"),
            Column(
                "position_*",
                pa.float64(),
                "true positioning of that film: rotation in degrees counter-clockwise, shift_x and shift_y as fractions"
                " of the side to the right and down, scale as a factor",
            ),
        ),
    ),
    Table(
        "organs",
        "Where lungs and heart lie on films of training patients: what a segmenter learns from.",
        ("dicom_id",),
        (
            _DICOM,
            Column("lung", pa.binary(), "PNG mask of the size of the file: 255 inside either lung, whatever fills it"),
            Column("heart", pa.binary(), "PNG mask of the size of the file: 255 inside"),
        ),
        bulky=True,
    ),
    Table(
        "pixels",
        "Every image needed, in canonical form.",
        ("dicom_id",),
        (
            _DICOM,
            _PNG,
            Column("inverted", pa.bool_(), "the grey scale was inverted and has been undone"),
            Column(
                "to_original",
                pa.list_(pa.float64(), 6),
                "row-major 2x3, maps a pixel centre (x, y) of the canonical image to the file's, as a viewer shows it",
                "pixels",
                True,
            ),
            Column("reason", pa.string(), "why there is no picture; empty when there is one"),
        ),
        bulky=True,
    ),
    Table(
        "registered",
        "Each prior image brought onto the current one.",
        ("pair_id",),
        (
            _PAIR,
            _PNG,
            Column("coverage", pa.binary(), "PNG mask: 255 where the prior covers the current image", nullable=True),
        ),
        bulky=True,
    ),
    Table(
        "latents",
        "The first stage's posterior of a picture, float16 little-endian, shape (channels, height, width).",
        ("id",),
        (
            Column("id", pa.string(), "dicom_id of a picture, or pair_id of a registered prior"),
            Column("mean", pa.binary(), "float16 mean, unscaled"),
            Column("std", pa.binary(), "float16 standard deviation, unscaled"),
            Column("shape", pa.list_(pa.int32(), 3), "channels, height, width"),
            Column("scaling_factor", pa.float64(), "factor that brings latents to the scale of the diffusion model"),
        ),
        bulky=True,
    ),
    Table(
        "texts",
        "Token states of each distinct text, without padding.",
        ("text_sha256",),
        (
            Column("text_sha256", pa.string(), "hash of the text after white space is normalised"),
            Column("states", pa.binary(), "float16 little-endian token states, shape (tokens, width)"),
            Column("shape", pa.list_(pa.int32(), 2), "tokens, width"),
        ),
        bulky=True,
    ),
    Table(
        "generated",
        "One counterfactual picture per test pair, seed and training seed.",
        ("training_seed", "seed", "pair_id"),
        (_TRAINING_SEED, _SEED, _PAIR, _PNG),
        bulky=True,
    ),
    Table(
        "trials",
        "Edits of test pairs whose result is known without a real picture, from which the table soundness is made.",
        ("trial", "pair_id"),
        (Column("trial", pa.string(), "what was drawn, see the table soundness"), _PAIR, _PNG),
        bulky=True,
    ),
    Table(
        "sweeps",
        "Validation pairs drawn at each pair of guidance scales, from which the table guidance is made.",
        ("text_scale", "image_scale", "pair_id"),
        (
            Column("text_scale", pa.float64(), "guidance scale of the text"),
            Column("image_scale", pa.float64(), "guidance scale of the prior image"),
            _PAIR,
            _PNG,
        ),
        bulky=True,
    ),
    Table(
        "sampled",
        "Validation pairs drawn by each sampler, from which the table samplers is made.",
        ("solver", "steps", "pair_id"),
        (*_SAMPLER, _PAIR, _PNG),
        bulky=True,
    ),
)

TABLES = {table.name: table for table in _DECLARED}


def table(name: str) -> Table:
    if name not in TABLES:
        raise UserError(f"there is no table {name!r}: the tables are {', '.join(TABLES)}")
    return TABLES[name]


def conform(name: str, data: pd.DataFrame | pa.Table) -> pa.Table:
    """The data as an Arrow table with exactly the declared schema.

    Raises ValueError (a mistake in the code that writes) for a missing or unknown column, a value that does not
    fit its type, a null where none is allowed, or a key that occurs twice.
    """
    declared = table(name)
    names = list(data.columns) if isinstance(data, pd.DataFrame) else data.column_names
    try:
        schema = declared.schema(names)
        if isinstance(data, pd.DataFrame):
            nullable = pa.schema([field.with_nullable(True) for field in schema])
            data = pa.Table.from_pandas(data[schema.names], schema=nullable, preserve_index=False)
        result = pa.table([_cast(data, field) for field in schema], schema=schema)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, ValueError) as error:
        raise ValueError(f"table {name}: {error}") from error
    for field in schema:
        if not field.nullable and result[field.name].null_count:
            raise ValueError(f"table {name}: column {field.name!r} has {result[field.name].null_count} null(s)")
    _refuse_duplicates(declared, result)
    return result


def _cast(data: pa.Table, field: pa.Field) -> pa.ChunkedArray:
    try:
        return data[field.name].cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ValueError(f"column {field.name!r}: {error}") from error


def _refuse_duplicates(declared: Table, data: pa.Table) -> None:
    key = list(declared.key)
    counts = data.select(key).group_by(key).aggregate([([], "count_all")])
    if counts.num_rows < data.num_rows:
        row = counts.filter(pc.greater(counts["count_all"], 1)).slice(0, 1).to_pylist()[0]
        raise ValueError(f"table {declared.name}: key {', '.join(f'{k}={row[k]}' for k in key)} occurs twice")


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place if the block ends well, and is removed if not.

    Raises UserError, with the path and the space that is left, where the disk is full, and where the place does not
    let itself be written.
    """
    target = Path(path)
    with errors_of_writing(target):
        with _errors_of_the_place(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=UNFINISHED, dir=target.parent)
            os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            with _errors_of_the_place(target):
                temporary.chmod(0o666 & ~umask())
                temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A new folder beside ``path`` that takes its place if the block ends well, and is removed if not.

    Raises UserError as `atomic_path` does.
    """
    target = Path(path)
    with errors_of_writing(target):
        with _errors_of_the_place(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=UNFINISHED, dir=target.parent))
        try:
            yield temporary
            with _errors_of_the_place(target):
                temporary.chmod(0o777 & ~umask())
                before = temporary.with_suffix(".old")
                try:
                    if target.exists():
                        target.replace(before)
                    temporary.replace(target)
                except OSError as error:
                    if before.exists() and not target.exists():
                        before.replace(target)
                    shutil.rmtree(before, ignore_errors=True)
                    if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                        raise UserError(f"{target}: another command wrote it at the same time: keep that one") from None
                    raise
            shutil.rmtree(before, ignore_errors=True)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def errors_of_writing(target: Path) -> Iterator[None]:
    """Turns a full disk, met while ``target`` is written, into a UserError that names it and the space that is left."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if reason := full_disk(error):
            raise no_space(target, reason) from error
        raise


@contextmanager
def _errors_of_the_place(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if full_disk(error):
            raise
        raise UserError(
            f"{target}: cannot be written ({error.strerror}): choose another place, or allow writing there"
        ) from error


def write(path: str | os.PathLike[str], name: str, data: pd.DataFrame | pa.Table) -> None:
    """Validates the data against the declaration of table ``name`` and writes it atomically as Parquet."""
    result = conform(name, data)
    with atomic_path(path) as temporary:
        pq.write_table(result, temporary, compression="zstd", **pages(name))


def pages(name: str) -> dict[str, Any]:
    """How the writer of a Parquet file makes its pages, as arguments for pyarrow: each has a checksum."""
    return {"write_page_checksum": True} | ({"write_batch_size": ROWS_PER_PAGE} if table(name).bulky else {})


def write_stream(path: str | os.PathLike[str], name: str, batches: Iterable[list[dict[str, Any]]]) -> int:
    """Writes lists of rows as they come, one row group per list, with bounded memory; returns the row count.

    For bulky tables: keys are not checked for duplicates across batches. Raises ValueError as `conform` does.
    """
    rows = 0
    with atomic_path(path) as temporary:
        schema = table(name).schema([c.name for c in table(name).columns if not c.is_family])
        with pq.ParquetWriter(temporary, schema, compression="none", **pages(name)) as writer:
            for batch in batches:
                if batch:
                    writer.write_table(conform(name, _from_rows(name, batch, schema)))
                    rows += len(batch)
    return rows


def _from_rows(name: str, rows: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    unknown = sorted({key for row in rows for key in row} - set(schema.names))
    if unknown:
        raise ValueError(f"table {name}: unknown column {unknown[0]!r}")
    columns = []
    for field in schema:
        try:
            columns.append(pa.array([row.get(field.name) for row in rows], field.type))
        except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError, OverflowError) as error:
            raise ValueError(f"table {name}: column {field.name!r}: {error}") from error
    return pa.Table.from_arrays(columns, schema=schema)


def open_file(path: str | os.PathLike[str]) -> pq.ParquetFile:
    """A Parquet file of which readers hold no more than they ask for.

    With pyarrow's defaults the first rows cost the whole file: it reads all row groups ahead (``pre_buffer``), and
    column chunks whole (no ``buffer_size``). Pages that have a checksum are compared with it: wrap what reads rows in
    `errors_of_reading`. Raises FileNotFoundError, and UserError for a file that cannot be opened as Parquet.
    """
    try:
        file = pq.ParquetFile(path, pre_buffer=False, buffer_size=BUFFER, page_checksum_verification=True)
        _ = file.schema_arrow.names  # fails where the bits of a name are damaged
        return file
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise_unless_damage(error, path)
        raise UserError(f"{path}: not a readable Parquet file ({brief(error)}): {makers.again(path)}") from None


def metadata(described: pa.Schema | pa.Field) -> dict[str, str]:
    """What a table's file says of itself (``table``, ``description``, ``key``), or of a column."""
    return {
        key.decode(errors="replace"): value.decode(errors="replace")
        for key, value in (described.metadata or {}).items()
    }


@contextmanager
def errors_of_reading(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turns what Arrow says of a damaged file, met while its rows are read, into a UserError that names the file."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise_unless_damage(error, path)
        raise UserError(f"{path}: damaged ({brief(error)}): {makers.again(path)}") from None


def _check_file(path: str | os.PathLike[str], name: str, columns: Iterable[str] | None = None) -> pq.ParquetFile:
    declared = table(name)
    try:
        file = open_file(path)
    except FileNotFoundError:
        raise UserError(f"{path}: the table {name!r} is not there: run the step that writes it") from None
    file_schema = file.schema_arrow
    try:
        expected = declared.schema(file_schema.names)
    except ValueError as error:
        raise UserError(f"{path}: not a table {name!r}: {error}: {makers.again(path)}") from None
    for field in expected:
        if not _same_type(file_schema.field(field.name).type, field.type):
            raise UserError(
                f"{path}: column {field.name!r} of table {name!r} is {file_schema.field(field.name).type}, "
                f"expected {field.type}: {makers.again(path)}"
            )
    groups = (file.metadata.row_group(group).num_rows for group in range(file.num_row_groups))
    _check_count(path, sum(groups), file.metadata.num_rows)
    if not (file.metadata.num_rows or declared.may_be_empty or declared.bulky):
        raise UserError(f"{path}: table {name!r} has no rows: {makers.again(path)}")
    absent = [column for column in columns or () if column not in file_schema.names]
    if absent:
        raise ValueError(f"{path}: column {absent[0]!r} is not in table {name!r}")
    return file


def _check_count(path: str | os.PathLike[str], count: int, declared: int) -> None:
    """Raises UserError where rows are lost: Arrow ends early, without a word, where a page's header is damaged."""
    if count != declared:
        raise UserError(f"{path}: damaged (of {declared:,} rows only {count:,} can be read): {makers.again(path)}")


def _check_values(path: str | os.PathLike[str], name: str, data: pa.Table | pa.RecordBatch) -> None:
    """Raises UserError for a null where none is allowed, and ArrowInvalid for text that is not UTF-8."""
    data.validate(full=True)
    for column_name in data.schema.names:
        nulls = data[column_name].null_count
        column = table(name).column_for(column_name) if nulls else None
        if column is not None and not column.nullable:
            raise UserError(
                f"{path}: column {column_name!r} of table {name!r} lacks {nulls:,} value(s) where none may be missing: "
                f"{makers.again(path)}"
            )


def _same_type(file_type: pa.DataType, expected: pa.DataType) -> bool:
    if pa.types.is_large_string(file_type):
        file_type = pa.string()
    return file_type == expected


def read_arrow(path: str | os.PathLike[str], name: str, columns: list[str] | None = None) -> pa.Table:
    """The table as Arrow. Raises UserError where the file is missing, damaged or of another schema."""
    with _check_file(path, name, columns) as file, errors_of_reading(path):
        data = file.read(columns=columns)
        _check_count(path, data.num_rows, file.metadata.num_rows)
        _check_values(path, name, data)
    return data


def row_count(path: str | os.PathLike[str], name: str) -> int:
    """The number of rows, from the file's footer alone. Errors as in `read`."""
    with _check_file(path, name) as file:
        return file.metadata.num_rows


class Lookup:
    """Rows of bulky tables by key; the keys are read once, and of the rest only the row groups that hold a wanted row.

    Where a key occurs more than once, its first row counts.
    """

    def __init__(self, paths: Iterable[str | os.PathLike[str]], name: str, column: str, keys: Iterable[str]) -> None:
        """``column``: that of the ``keys``. Errors as in `read`."""
        self.name, self.column, self.paths = name, column, list(dict.fromkeys(map(Path, paths)))
        self._groups: dict[str, tuple[Path, int]] = {}  # the file of each key, and the row group in it
        self._rowless: list[Path] = []
        keys_array = pa.array(set(keys), pa.string())
        for path in self.paths:
            with _check_file(path, name, [column]) as file, errors_of_reading(path):
                if not file.metadata.num_rows:
                    self._rowless.append(path)
                for group in range(file.num_row_groups):
                    values = file.read_row_group(group, [column])[column]
                    _check_count(path, len(values), file.metadata.row_group(group).num_rows)
                    for key in values.filter(pc.is_in(values, keys_array)).to_pylist():
                        self._groups.setdefault(key, (path, group))

    def __contains__(self, key: str) -> bool:
        return key in self._groups

    def require_pictures(self, keys: Iterable[str]) -> None:
        """Raises UserError where the picture of one of the keys is in none of the files."""
        keys = list(keys)
        if absent := [key for key in keys if key not in self]:
            first = self._rowless[0] if self._rowless else None
            rowless = f"; {first} has no rows: {makers.again(first)}" if first else ""
            raise UserError(
                f"{', '.join(map(str, self.paths))}: {len(absent)} of {len(keys)} pictures are missing: "
                f"give every shard of the table {self.name}{rowless}"
            )

    def path_of(self, key: str) -> Path:
        """The file of a key that is there."""
        return self._groups[key][0]

    def batches(
        self, keys: Iterable[str] | None = None, columns: list[str] | None = None, rows: int = 256
    ) -> Iterator[pa.RecordBatch]:
        """The rows of these keys (None: of all that are there) in the order of the files; pieces as in `batches`."""
        remaining = set(self._groups) if keys is None else self._groups.keys() & set(keys)
        hits: dict[Path, set[int]] = {}
        for key in remaining:
            path, group = self._groups[key]
            hits.setdefault(path, set()).add(group)
        for path in filter(hits.get, self.paths):
            with _check_file(path, self.name, columns) as file:
                for batch in _batches(path, self.name, file, columns, sorted(hits[path]), rows):
                    is_wanted = []
                    for key in batch[self.column].to_pylist():
                        is_wanted.append(key in remaining)
                        remaining.discard(key)  # of a key that occurs again the first row counts
                    yield batch.filter(pa.array(is_wanted, pa.bool_()))
        pa.default_memory_pool().release_unused()  # Arrow would keep what it needed for the largest pages

    def rows(self, keys: Iterable[str] | None = None, rows: int = 256) -> dict[str, dict[str, Any]]:
        """The rows of these keys (None: of all that are there) by key."""
        return {row[self.column]: row for batch in self.batches(keys, rows=rows) for row in batch.to_pylist()}


def find(
    paths: Iterable[str | os.PathLike[str]], name: str, column: str, keys: Iterable[str], rows: int = 256
) -> dict[str, dict[str, Any]]:
    """The rows, of all files, whose ``column`` is one of the keys, by key. Errors and reading as in `Lookup`."""
    return Lookup(paths, name, column, keys).rows(rows=rows)


def batches(
    path: str | os.PathLike[str], name: str, columns: list[str] | None = None, rows: int = 1024
) -> Iterator[pa.RecordBatch]:
    """The table in pieces of at most ``rows`` rows and about 4 MiB (``BATCH``). Errors as in `read`."""
    with _check_file(path, name, columns) as file:
        yield from _batches(path, name, file, columns, list(range(file.num_row_groups)), rows)


def _batches(
    path: str | os.PathLike[str],
    name: str,
    file: pq.ParquetFile,
    columns: list[str] | None,
    groups: list[int],
    rows: int,
) -> Iterator[pa.RecordBatch]:
    """Some row groups in pieces of at most ``rows`` rows, fewer where rows are large."""
    with errors_of_reading(path):
        for group in groups:
            # of all columns: pyarrow ends the process where it is asked for one whose description is damaged
            declared, count = file.metadata.row_group(group), 0
            row_size = declared.total_byte_size / max(declared.num_rows, 1)
            size = max(1, min(rows, int(BATCH / max(row_size, 1))))
            for batch in file.iter_batches(batch_size=size, columns=columns, row_groups=[group]):
                _check_values(path, name, batch)
                count += batch.num_rows
                yield batch
            _check_count(path, count, declared.num_rows)


def read(path: str | os.PathLike[str], name: str, columns: list[str] | None = None) -> pd.DataFrame:
    """The table as a data frame; small integers keep their nulls as pandas' nullable integers.

    Raises UserError where the file is missing, damaged or of another schema, naming the file and the column.
    """
    nullable = {pa.int8(): pd.Int8Dtype(), pa.int16(): pd.Int16Dtype()}
    return read_arrow(path, name, columns).to_pandas(types_mapper=nullable.get)


def read_stream(
    path: str | os.PathLike[str], name: str, columns: list[str] | None = None, rows: int = 1024
) -> Iterator[dict[str, Any]]:
    """Rows of a bulky table, one dict at a time; memory as in `batches`. Errors as in `read`."""
    for batch in batches(path, name, columns, rows):
        yield from batch.to_pylist()
