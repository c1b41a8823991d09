"""From the raw files to the tables patients, studies and images."""

from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from biomedjourney import progress, workers
from biomedjourney.errors import UserError
from biomedjourney.ingest import csvs, demographics, files, reports
from biomedjourney.ingest import images as jpg
from biomedjourney.ingest.cohort import Account

ORDER = ["subject_id", "study_time", "study_id"]


def ingest(settings: dict[str, Any], processes: int = 1) -> dict[str, pd.DataFrame]:
    """The tables patients, studies, images, cohort and exclusions, by name.

    ``settings`` has the sections ``data`` and ``ingest``. A study needs a report and at least one image in the
    metadata; without labels, or a patient without demographics, it stays, with nulls. Patients are all those of the
    metadata. The time of a study is its earliest image's. Raises UserError for whatever is wrong in a raw file.
    """
    chosen = settings["ingest"]
    data = settings["data"]
    folder, texts = Path(data["tables"] or data["images"]), Path(data["reports"])
    hosp = Path(data["demographics"])
    if chosen["checksums"]:
        read = [(folder, name, jpg.KEY) for name in jpg.names(chosen["labels"], chosen["test_set_labels"])]
        read += [(hosp, name, demographics.KEY) for name in demographics.NAMES]
        files.verify([*(csvs.find(*place) for place in read), texts])
    account = Account()
    images = jpg.metadata(folder)
    images["official_split"] = jpg.official_split(folder).reindex(images["dicom_id"]).to_numpy(dtype=object)
    unlisted = int(images["official_split"].isna().sum())
    account.step("published split: known", len(images) - unlisted, {"not in the split file": unlisted})
    labels = jpg.labels(folder, chosen["labels"], chosen["test_set_labels"])
    patients = _patients(images["subject_id"], hosp, account)
    studies = images.groupby("study_id", as_index=False).agg({"subject_id": "first", "study_time": "min"})
    sections = _sections(studies, texts, account, processes)
    studies, images = _with_report(studies, images, sections, account)
    studies = studies.merge(labels, how="left", left_on="study_id", right_index=True)
    lacking = int((~studies["study_id"].isin(labels.index)).sum())
    account.step("labels: known", len(studies) - lacking, {f"not in the {chosen['labels']} file": lacking})
    studies["age"] = _ages(studies, patients)
    images["path"] = jpg.paths(images, chosen["image_format"])
    times = studies.set_index("study_id")["study_time"]
    images["study_time"] = images["study_id"].map(times)
    images = images.sort_values([*ORDER, "dicom_id"]).drop(columns="study_time")
    return {
        "patients": patients.reset_index(),
        "studies": studies.sort_values(ORDER),
        "images": images,
        "cohort": account.cohort(),
        "exclusions": account.exclusions(),
    }


def _patients(subjects: pd.Series, folder: Path, account: Account) -> pd.DataFrame:
    """Sex, race and anchors of the subjects, by subject_id, nulls where MIMIC-IV does not have them."""
    everyone = pd.Index(sorted(subjects.unique()), name="subject_id")
    known, races = demographics.patients(folder), demographics.races(folder)
    patients = known.reindex(everyone)
    patients["race"] = races.reindex(everyone)
    for column in ("anchor_age", "anchor_year"):
        patients[column] = patients[column].astype("Int16")
    account.step("patients: in the metadata", len(everyone))
    strangers = int((~everyone.isin(known.index)).sum())
    account.step("ages: known", len(everyone) - strangers, {"patient not in MIMIC-IV": strangers})
    raceless = patients["race"].isna()
    unadmitted = int((~everyone.isin(races.index)).sum())
    reasons = {demographics.NO_ADMISSION: unadmitted, demographics.NOT_STATED: int(raceless.sum()) - unadmitted}
    account.step("races: known", int((~raceless).sum()), reasons)
    return patients


def _ages(studies: pd.DataFrame, patients: pd.DataFrame) -> pd.Series:
    """anchor_age + (study year - anchor_year), null where unknown."""
    anchors = patients.reindex(studies["subject_id"])
    years = studies["study_time"].dt.year.to_numpy()
    ages = anchors["anchor_age"].to_numpy(dtype=float, na_value=float("nan")) + (
        years - anchors["anchor_year"].to_numpy(dtype=float, na_value=float("nan"))
    )
    return pd.Series(ages, index=studies.index).astype("Int16")


def _sections(studies: pd.DataFrame, source: Path, account: Account, processes: int) -> pd.DataFrame:
    """Findings and impression of each study of the metadata that has a report, by study_id."""
    subjects = dict(zip(studies["study_id"].tolist(), studies["subject_id"].tolist(), strict=True))
    found: dict[int, tuple[str, str]] = {}
    strangers: set[int] = set()
    work = partial(reports.split, path=source)
    with progress.bar(len(subjects), "reports", "report") as shown:
        for part in workers.map_ordered(work, reports.parts(source), processes):
            for name, subject, study, findings, impression in part:
                if study in found or study in strangers:
                    raise UserError(f"{source}, {name}: study {study} has a report already: keep one of the two")
                if study not in subjects:
                    strangers.add(study)
                    continue
                if subjects[study] != subject:
                    raise UserError(
                        f"{source}: the report of study {study} lies in the folder of patient {subject}, "
                        f"the metadata name {subjects[study]}: use archives of one release"
                    )
                found[study] = (findings, impression)
            shown.update(len(part))
    if not found and not strangers:
        raise UserError(f"{source}: holds no report named p1…/p1…/s5….txt: set data.reports to the zip or the folder")
    step, reason = "reports: of studies in the metadata", "no image in the metadata"
    account.step(step, len(found), {reason: len(strangers)})
    account.exclude("study", sorted(strangers), step, reason)
    return pd.DataFrame.from_dict(found, orient="index", columns=["findings", "impression"]).astype(object)


def _with_report(
    studies: pd.DataFrame, images: pd.DataFrame, sections: pd.DataFrame, account: Account
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The studies that have a report, with its sections, and their images."""
    reported = studies["study_id"].isin(sections.index)
    shown = images["study_id"].isin(sections.index)
    for kind, has_report, ids in (("study", reported, studies["study_id"]), ("image", shown, images["dicom_id"])):
        many = "studies" if kind == "study" else "images"
        step, reason = f"{many}: with a report", "no report" if kind == "study" else "the study has no report"
        account.step(f"{many}: in the metadata", len(has_report))
        account.step(step, int(has_report.sum()), {reason: int((~has_report).sum())})
        account.exclude(kind, ids[~has_report], step, reason)
    if not reported.any():
        raise UserError("no study of the metadata has a report: data.images and data.reports are of different sets")
    kept = studies[reported].merge(sections, left_on="study_id", right_index=True)
    return kept, images[shown].copy()
