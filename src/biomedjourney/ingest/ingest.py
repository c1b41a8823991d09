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
    metadata. A study without labels stays, with nulls; so does a patient without demographics. Patients are all those
    of the metadata. A study has the time of its earliest image. Raises UserError for any mistake in a raw file.
    """
    ingest_settings = settings["ingest"]
    labeller, test_set = ingest_settings["labels"], ingest_settings["test_set_labels"]
    data = settings["data"]
    folder, reports_path = Path(data["tables"] or data["images"]), Path(data["reports"])
    hosp = Path(data["demographics"])
    if ingest_settings["checksums"]:
        csv_files = [(folder, name, jpg.KEY) for name in jpg.names(labeller, test_set)]
        csv_files += [(hosp, name, demographics.KEY) for name in demographics.NAMES]
        files.verify([*(csvs.find(*csv_file) for csv_file in csv_files), reports_path])
    account = Account()
    images = jpg.metadata(folder)
    images["official_split"] = jpg.official_split(folder).reindex(images["dicom_id"]).to_numpy(dtype=object)
    unlisted = int(images["official_split"].isna().sum())
    account.step("published split: known", len(images) - unlisted, {"not in the split file": unlisted})
    labels = jpg.labels(folder, labeller, test_set)
    patients = _patients(images["subject_id"], hosp, account)
    studies = images.groupby("study_id", as_index=False).agg({"subject_id": "first", "study_time": "min"})
    sections = _sections(studies, reports_path, account, processes)
    studies, images = _with_report(studies, images, sections, account)
    studies = studies.merge(labels, how="left", left_on="study_id", right_index=True)
    unlabelled = int((~studies["study_id"].isin(labels.index)).sum())
    account.step("labels: known", len(studies) - unlabelled, {f"not in the {labeller} file": unlabelled})
    studies["age"] = _ages(studies, patients)
    images["path"] = jpg.paths(images, ingest_settings["image_format"])
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
    """Sex, race and anchors of the subjects by subject_id; null if MIMIC-IV does not have them."""
    everyone = pd.Index(sorted(subjects.unique()), name="subject_id")
    demographic_rows, races = demographics.patients(folder), demographics.races(folder)
    patients = demographic_rows.reindex(everyone)
    patients["race"] = races.reindex(everyone)
    for column in ("anchor_age", "anchor_year"):
        patients[column] = patients[column].astype("Int16")
    account.step("patients: in the metadata", len(everyone))
    unknown = int((~everyone.isin(demographic_rows.index)).sum())
    account.step("ages: known", len(everyone) - unknown, {"patient not in MIMIC-IV": unknown})
    no_race = patients["race"].isna()
    not_admitted = int((~everyone.isin(races.index)).sum())
    reasons = {demographics.NO_ADMISSION: not_admitted, demographics.NOT_STATED: int(no_race.sum()) - not_admitted}
    account.step("races: known", int((~no_race).sum()), reasons)
    return patients


def _ages(studies: pd.DataFrame, patients: pd.DataFrame) -> pd.Series:
    """anchor_age + (study year - anchor_year), null if unknown."""
    anchors = patients.reindex(studies["subject_id"])
    years = studies["study_time"].dt.year.to_numpy()
    ages = anchors["anchor_age"].to_numpy(dtype=float, na_value=float("nan")) + (
        years - anchors["anchor_year"].to_numpy(dtype=float, na_value=float("nan"))
    )
    return pd.Series(ages, index=studies.index).astype("Int16")


def _sections(studies: pd.DataFrame, source: Path, account: Account, processes: int) -> pd.DataFrame:
    """Findings and impression of each study of the metadata that has a report, by study_id."""
    subjects = dict(zip(studies["study_id"].tolist(), studies["subject_id"].tolist(), strict=True))
    sections_by_study: dict[int, tuple[str, str]] = {}
    without_image: set[int] = set()
    split_part = partial(reports.split, path=source)
    with progress.bar(len(subjects), "reports", "report") as progress_bar:
        for report_rows in workers.map_ordered(split_part, reports.parts(source), processes):
            for name, subject, study, findings, impression in report_rows:
                if study in sections_by_study or study in without_image:
                    raise UserError(f"{source}, {name}: study {study} has a report already: keep one of the two")
                if study not in subjects:
                    without_image.add(study)
                    continue
                if subjects[study] != subject:
                    raise UserError(
                        f"{source}: the report of study {study} is in the folder of patient {subject}, the metadata "
                        f"give patient {subjects[study]}: use archives of one release"
                    )
                sections_by_study[study] = (findings, impression)
            progress_bar.update(len(report_rows))
    if not sections_by_study and not without_image:
        raise UserError(f"{source}: holds no report named p1…/p1…/s5….txt: set data.reports to the zip or the folder")
    step, reason = "reports: of studies in the metadata", "no image in the metadata"
    account.step(step, len(sections_by_study), {reason: len(without_image)})
    account.exclude("study", sorted(without_image), step, reason)
    return pd.DataFrame.from_dict(sections_by_study, orient="index", columns=["findings", "impression"]).astype(object)


def _with_report(
    studies: pd.DataFrame, images: pd.DataFrame, sections: pd.DataFrame, account: Account
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The studies that have a report, with their sections, and the images of these studies."""
    study_has_report = studies["study_id"].isin(sections.index)
    image_has_report = images["study_id"].isin(sections.index)
    study_rows = ("study", "studies", study_has_report, studies["study_id"], "no report")
    image_rows = ("image", "images", image_has_report, images["dicom_id"], "the study has no report")
    for kind, plural, has_report, ids, reason in (study_rows, image_rows):
        step = f"{plural}: with a report"
        account.step(f"{plural}: in the metadata", len(has_report))
        account.step(step, int(has_report.sum()), {reason: int((~has_report).sum())})
        account.exclude(kind, ids[~has_report], step, reason)
    if not study_has_report.any():
        raise UserError("no study of the metadata has a report: set data.images and data.reports to the same data set")
    studies = studies[study_has_report].merge(sections, left_on="study_id", right_index=True)
    return studies, images[image_has_report].copy()
