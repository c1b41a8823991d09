"""Random cohorts for property tests of `gather`: patients, their pairs, and what each step says of each pair."""

from dataclasses import dataclass
from pathlib import Path
from random import Random

import pandas as pd
from hypothesis import Phase, reject
from hypothesis import strategies as st

from biomedjourney import tables
from biomedjourney.errors import UserError
from biomedjourney.pair.directions import DIRECTIONS
from biomedjourney.pair.pair import pair

# An example writes twenty files, so that a search for the smallest failing one would take minutes.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
WRITERS = ("rules", "impression")  # the first one decides which pairs are compared
PAIR_SETTINGS = {
    "views": ["PA"],
    "same_view": True,
    "priors": "last",
    "largest_gap_days": None,
    "split": "official",
    "validation_share": 0.1,
    "text": ["impression"],
}
PICTURES = ("stored", "stored", "stored", "refused", "not in the table")


@dataclass(frozen=True)
class Patient:
    """The split, and for each study the days since the one before and the state of its picture."""

    split: str
    studies: list[tuple[float, str]]


patients = st.lists(
    st.builds(
        Patient,
        st.sampled_from(tables.SPLITS),
        st.lists(st.tuples(st.sampled_from([0.0, 1.0, 50.0]), st.sampled_from(PICTURES)), min_size=1, max_size=4),
    ),
    min_size=1,
    max_size=6,
)


@dataclass(frozen=True)
class RandomCohort:
    """The tables in a folder, and what was drawn for them.

    ``files``: paths by table (``pixels``), by table and direction (``registrations/forward``), or by table, writer
    and direction (``progressions/rules/forward``). Pairs are named as they are read in their direction.
    """

    files: dict[str, list[Path]]
    pairs: pd.DataFrame
    with_picture: set[str]
    is_registered: dict[str, bool]
    is_valid: dict[tuple[str, str], bool]  # by writer and pair_id

    def triples_options(self, writer: str, direction: str) -> dict[str, list[Path]]:
        """The input files of `gather triples` by option."""
        return {
            "pairs": self.files["pairs"],
            "pixels": self.files["pixels"],
            "registrations": self.files[f"registrations/{direction}"],
            "progressions": self.files[f"progressions/{writer}/{direction}"],
            "first-progressions": self.files[f"progressions/{WRITERS[0]}/forward"],
        }


def write(drawn: list[Patient], random: Random, folder: Path) -> RandomCohort:
    """Writes the tables; ends the example where these patients make no pair."""
    paired = _paired(drawn)
    files: dict[str, list[Path]] = {}

    def put(name: str, rows: pd.DataFrame, shards: int = 1) -> None:
        """Writes the rows in any order, dealt out to shards."""
        rows = rows.iloc[random.sample(range(len(rows)), len(rows))]
        files[name] = [folder / f"{name.replace('/', '-')}-{shard}.parquet" for shard in range(shards)]
        for shard, path in enumerate(files[name]):
            tables.write(path, name.partition("/")[0], rows.iloc[shard::shards])

    for name in ("pairs", "singles"):
        put(name, paired[name])
    for name in ("cohort", "exclusions"):
        files[name] = [folder / f"{name}.parquet"]
        tables.write(files[name][0], name, paired[name])
    pictures = {
        f"{place}-{visit}": picture
        for place, patient in enumerate(drawn)
        for visit, (_, picture) in enumerate(patient.studies)
    }
    rows = pd.DataFrame({"dicom_id": [name for name, picture in pictures.items() if picture != "not in the table"]})
    rows["reason"] = ["" if pictures[name] == "stored" else "too dark" for name in rows["dicom_id"]]
    put("pixels", rows.assign(png=None, inverted=False, to_original=None), shards=2)
    is_registered, is_valid = {}, {}
    pairs = paired["pairs"].reset_index(drop=True)
    for direction in DIRECTIONS:
        pair_ids = [
            f"{first}-{second}" if direction == "forward" else f"{second}-{first}"
            for first, second, split in zip(pairs["prior_study_id"], pairs["study_id"], pairs["split"], strict=True)
            if direction == "forward" or split == "train"
        ]
        is_registered |= {pair_id: random.random() < 0.7 for pair_id in pair_ids}
        rows = pd.DataFrame({"pair_id": pair_ids, "accepted": [is_registered[name] for name in pair_ids]})
        empty = dict.fromkeys(("matrix", "displacement", "score_before", "score_after"))
        put(f"registrations/{direction}", rows.assign(**empty, reason=""), shards=2)
        for writer in WRITERS:
            is_valid |= {(writer, pair_id): random.random() < 0.7 for pair_id in pair_ids}
            rows = pd.DataFrame({"pair_id": pair_ids, "writer": writer})
            rows["description"] = [f"{pair_id} by {writer}" for pair_id in pair_ids]
            rows["valid"] = [is_valid[writer, pair_id] for pair_id in pair_ids]
            nothing = dict.fromkeys(("model", "prompt_sha256", "fallback_reason"))
            put(f"progressions/{writer}/{direction}", rows.assign(**nothing))
    stored = {name for name, picture in pictures.items() if picture == "stored"}
    return RandomCohort(files, pairs, stored, is_registered, is_valid)


def _paired(drawn: list[Patient]) -> dict[str, pd.DataFrame]:
    """What `pair` makes of the patients; study numbers fall with time, so that no order depends on them."""
    studies, images = [], []
    for place, patient in enumerate(drawn):
        time = pd.Timestamp("2150-01-01")
        for visit, (days, _) in enumerate(patient.studies):
            time += pd.Timedelta(days=days)
            study = 100 * place + 99 - visit
            studies.append({"study_id": study, "subject_id": place, "study_time": time, "impression": "Some text."})
            image = {"dicom_id": f"{place}-{visit}", "study_id": study, "subject_id": place, "view": "PA"}
            images.append(image | {"rows": 8, "columns": 8, "official_split": patient.split})
    whole_files = pd.DataFrame({"dicom_id": [image["dicom_id"] for image in images], "problem": ""})
    try:
        return pair(pd.DataFrame(studies), pd.DataFrame(images), whole_files, {"seed": 0, "pair": PAIR_SETTINGS})
    except UserError:
        reject()
