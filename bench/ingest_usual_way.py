"""The usual way from raw files to pairs: the archive unpacked, pandas, and one report file at a time.

python bench/ingest_usual_way.py FOLDER OUT --community section_parser.py

FOLDER as bench/full_size.py writes it. The sectioning script is MIT-LCP's `txt/section_parser.py` from a copy of
https://github.com/MIT-LCP/mimic-cxr; the loop over the files is the one of its `create_section_files.py`, without
the rules for single studies by their number. The pandas part is vectorised; it checks nothing, keeps no account of
what it drops, and leaves `___` in the text.
"""

import argparse
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pandas as pd

from tests.helpers.section_parser import load

COLUMNS = ("impression", "findings", "last_paragraph", "comparison")


def sections(files: Path, parser: Any) -> pd.DataFrame:
    """Each report file opened, sectioned, and its last section of each name kept."""
    rows = []
    for group in sorted(os.listdir(files)):
        for person in sorted(os.listdir(files / group)):
            folder = files / group / person
            for name in os.listdir(folder):
                with open(folder / name) as file:
                    text = "".join(file.readlines())
                texts, names, _ = parser.section_text(text)
                row: list[Any] = [int(name[1:-4])]
                for wanted in COLUMNS:
                    last = len(names) - 1 - names[::-1].index(wanted) if wanted in names else None
                    row.append(None if last is None else texts[last].strip())
                rows.append(row)
    return pd.DataFrame(rows, columns=["study_id", *COLUMNS])


def cohort(root: Path, reports: pd.DataFrame, out: Path) -> None:
    """Joins everything, chooses one PA image per study, pairs consecutive studies, writes Parquet files."""
    jpg, hosp = root / "mimic-cxr-jpg", root / "mimic-iv" / "hosp"
    metadata = pd.read_csv(jpg / "mimic-cxr-2.0.0-metadata.csv.gz")
    split = pd.read_csv(jpg / "mimic-cxr-2.0.0-split.csv.gz")
    labels = pd.read_csv(jpg / "mimic-cxr-2.0.0-chexpert.csv.gz")
    patients = pd.read_csv(hosp / "patients.csv.gz")
    admissions = pd.read_csv(hosp / "admissions.csv.gz")
    metadata["study_time"] = pd.to_datetime(
        metadata["StudyDate"].astype(str) + metadata["StudyTime"].apply(lambda t: f"{int(t):06d}"),
        format="%Y%m%d%H%M%S",
    )
    images = metadata.merge(split[["dicom_id", "split"]], on="dicom_id", how="left")
    counts = admissions[["subject_id", "race"]].value_counts().reset_index()
    race = counts.drop_duplicates("subject_id")[["subject_id", "race"]]
    studies = images.groupby("study_id", as_index=False).agg({"subject_id": "first", "study_time": "min"})
    studies = studies.merge(reports, on="study_id").merge(labels.drop(columns="subject_id"), on="study_id", how="left")
    studies = studies.merge(patients, on="subject_id", how="left").merge(race, on="subject_id", how="left")
    studies["age"] = studies["anchor_age"] + studies["study_time"].dt.year - studies["anchor_year"]
    frontal = images[images["ViewPosition"] == "PA"].assign(pixels=lambda d: -d["Rows"] * d["Columns"])
    frontal = frontal.sort_values(["study_id", "pixels", "dicom_id"]).drop_duplicates("study_id")
    usable = studies.merge(frontal[["study_id", "dicom_id"]], on="study_id")
    usable["text"] = usable["impression"].fillna(usable["findings"])
    usable = usable.dropna(subset=["text"]).sort_values(["subject_id", "study_time", "study_id"])
    before = usable.groupby("subject_id")[["study_id", "dicom_id", "study_time"]].shift()
    pairs = usable.assign(prior_study_id=before["study_id"], prior_dicom_id=before["dicom_id"])
    pairs["interval_days"] = (usable["study_time"] - before["study_time"]).dt.total_seconds() / 86_400
    pairs = pairs.dropna(subset=["prior_study_id"])
    tables = {"studies": studies, "images": images, "singles": usable, "pairs": pairs}
    for name, data in tables.items():
        data.to_parquet(out / f"{name}.parquet")


def main(folder: Path, out: Path, community: Path) -> dict[str, float]:
    """Seconds of each part."""
    parser = load(community)
    start = time.perf_counter()
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    archive = folder / "mimic-cxr" / "mimic-cxr-reports.zip"
    subprocess.run(["unzip", "-q", str(archive), "-d", str(out / "reports")], check=True)
    unpacked = time.perf_counter()
    reports = sections(out / "reports" / "files", parser)
    sectioned = time.perf_counter()
    cohort(folder, reports, out)
    done = time.perf_counter()
    return {"unpack": unpacked - start, "sections": sectioned - unpacked, "pandas": done - sectioned}


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("out", type=Path)
    arguments.add_argument("--community", type=Path, required=True)
    print(json.dumps(main(**vars(arguments.parse_args()))))
