"""From the raw files to the tables patients, studies and images."""

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from biomedjourney import progress, workers
from biomedjourney.errors import UserError
from biomedjourney.ingest import csvs, demographics, files, reports
from biomedjourney.ingest import images as jpg
from biomedjourney.ingest.cohort import Account
from biomedjourney.refusals import Refusals

UNKNOWN_PATIENT = "patient not in MIMIC-IV"
ORDER = ["subject_id", "study_time", "study_id"]


def ingest(settings: dict[str, Any], processes: int = 1) -> dict[str, pd.DataFrame]:
    """The tables patients, studies, images, cohort and exclusions, by name.

    ``settings`` has the sections ``data`` and ``ingest``. A study needs a report and at least one image in the
    metadata. A study without labels stays, with nulls; so does a patient without demographics. Patients are all those
    of the metadata. A study has the time of its earliest image. An odd cell leaves its image or study out, or is null;
    more than the share ``ingest.largest_refused_share`` of such rows in a file ends the step. Raises UserError for
    that and for any other mistake in a raw file.
    """
    ingest_settings = settings["ingest"]
    labeller, test_set = ingest_settings["labels"], ingest_settings["test_set_labels"]
    largest_share = ingest_settings["largest_refused_share"]
    data = settings["data"]
    folder, reports_path = Path(data["tables"] or data["images"]), Path(data["reports"])
    hosp = Path(data["demographics"])
    if ingest_settings["checksums"]:
        csv_files = [(folder, name, jpg.KEY) for name in jpg.names(labeller, test_set)]
        csv_files += [(hosp, name, demographics.KEY) for name in demographics.NAMES]
        files.verify([*(csvs.find(*csv_file) for csv_file in csv_files), reports_path])
    account = Account()
    metadata = jpg.metadata(folder, largest_share)
    labels, odd_labels = jpg.labels(folder, labeller, test_set, largest_share)
    images, left_out = _readable(metadata, odd_labels, account)
    splits, odd_splits = jpg.official_split(folder, largest_share)
    images["official_split"] = splits.reindex(images["dicom_id"]).to_numpy(dtype=object)
    _account_for_nulls(images, odd_splits, account)
    patients = _patients(images["subject_id"], hosp, largest_share, account)
    studies = images.groupby("study_id", as_index=False).agg({"subject_id": "first", "study_time": "min"})
    sections, unread = _sections(studies, left_out, reports_path, largest_share, account, processes)
    studies, images = _with_report(studies, images, sections, unread, account)
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


def _readable(metadata: pd.DataFrame, odd_labels: dict[int, str], account: Account) -> tuple[pd.DataFrame, set[int]]:
    """The images that no odd cell leaves out, and the studies that one leaves out. Raises UserError if none is left."""
    study_ids = metadata["study_id"]
    odd_rows = metadata[(metadata["study_reason"] != "") & study_ids.notna()]
    study_reasons = odd_rows.groupby("study_id")["study_reason"].first().to_dict()
    study_reasons |= {study: f"{reason} (labels)" for study, reason in odd_labels.items() if study not in study_reasons}
    image_reasons = metadata["reason"].copy()
    of_study = study_ids.isin(list(study_reasons)) & (image_reasons == "")
    image_reasons[of_study] = [f"the study's {study_reasons[study]}" for study in study_ids[of_study]]
    is_lost = image_reasons != ""
    listed = study_ids.dropna().drop_duplicates()
    lost = listed[~listed.isin(study_ids[~is_lost])]
    of_images = dict(zip(study_ids[is_lost], image_reasons[is_lost], strict=True))
    lost_reasons = [study_reasons.get(study) or of_images[study] for study in lost]
    _account_for_lost("study", "studies", len(listed), lost, lost_reasons, account)
    lost_images = metadata.loc[is_lost, "dicom_id"]
    _account_for_lost("image", "images", len(metadata), lost_images, image_reasons[is_lost].tolist(), account)
    if is_lost.all():
        raise UserError(
            f"no image of the metadata is left, for odd cells (such as: {image_reasons.iloc[0]}): correct the CSV files"
        )
    kept = metadata[~is_lost].drop(columns=["reason", "study_reason"])
    return kept.astype({"subject_id": "int64", "study_id": "int64"}), set(lost.tolist())


def _account_for_lost(kind: str, plural: str, total: int, ids: pd.Series, reasons: list[str], account: Account) -> None:
    step = f"{plural}: readable"
    account.step(f"{plural}: in the metadata", total)
    account.step(step, total - len(ids), Counter(reasons))
    account.exclude(kind, ids, step, reasons)


def _account_for_nulls(images: pd.DataFrame, odd_splits: dict[str, str], account: Account) -> None:
    """The steps that count the images whose split or size is null, and why."""
    unknown = images.loc[images["official_split"].isna(), "dicom_id"]
    reasons = Counter(odd_splits.get(dicom_id, "not in the split file") for dicom_id in unknown)
    account.step("published split: known", len(images) - len(unknown), reasons)
    odd_size = int(images[["rows", "columns"]].isna().any(axis="columns").sum())
    reason = f"Rows or Columns is blank, or no number from 1 to {jpg.LARGEST_SIDE}"
    account.step("image sizes: known", len(images) - odd_size, {reason: odd_size})


def _patients(subjects: pd.Series, folder: Path, largest_share: float, account: Account) -> pd.DataFrame:
    """Sex, race and anchors of the subjects by subject_id; null if MIMIC-IV does not have them, or has odd ones."""
    everyone = pd.Index(sorted(subjects.unique()), name="subject_id")
    demographic_rows = demographics.patients(folder, largest_share)
    races = demographics.races(folder, largest_share)
    patients = demographic_rows.reindex(everyone)
    patients["race"] = races.reindex(everyone)
    for column in ("anchor_age", "anchor_year"):
        patients[column] = patients[column].astype("Int16")
    account.step("patients: in the metadata", len(everyone))
    in_mimic_iv = everyone.isin(demographic_rows.index)
    for step, columns, problem in (
        ("sexes: known", ["sex"], "gender is not F or M"),
        ("ages: known", ["anchor_age", "anchor_year"], "anchor_age or anchor_year is blank or odd"),
    ):
        known = patients[columns].notna().all(axis="columns").to_numpy()
        reasons = {UNKNOWN_PATIENT: int((~in_mimic_iv).sum()), problem: int((in_mimic_iv & ~known).sum())}
        account.step(step, int(known.sum()), reasons)
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


def _sections(
    studies: pd.DataFrame, left_out: set[int], source: Path, largest_share: float, account: Account, processes: int
) -> tuple[pd.DataFrame, dict[int, str]]:
    """Findings and impression by study_id of each study that has a report; why the reports of others are not used.

    ``left_out``: the studies of the metadata that are not among ``studies``; their reports are not used.
    """
    subjects = dict(zip(studies["study_id"].tolist(), studies["subject_id"].tolist(), strict=True))
    sections_by_study: dict[int, tuple[str, str]] = {}
    problems: dict[int, str] = {}
    first_problem = ""
    without_study: set[int] = set()
    split_part = partial(reports.split, path=source)
    with progress.bar(len(subjects), "reports", "report") as progress_bar:
        for report_rows in workers.map_ordered(split_part, reports.parts(source), processes):
            for name, subject, study, findings, impression, problem in report_rows:
                if study not in subjects:
                    without_study.add(study)
                    continue
                if not problem and subjects[study] != subject:
                    problem = "the report is in the folder of another patient than the metadata give"
                if not problem and sections_by_study.setdefault(study, (findings, impression)) != (
                    findings,
                    impression,
                ):
                    problem = "the study has two reports that differ"
                if problem:
                    problems.setdefault(study, problem)
                    first_problem = first_problem or f"{source}, {name}: {problem}"
            progress_bar.update(len(report_rows))
    if not subjects.keys() & sections_by_study.keys() and not without_study and not problems:
        raise UserError(f"{source}: holds no report named p1…/p1…/s5….txt: set data.reports to the zip or the folder")
    found = len(sections_by_study.keys() | problems.keys())
    if problems:
        refusals = Refusals("ingest", "reports", found, largest_share, csvs.KEY)
        refusals.add_all(Counter(problems.values()), first_problem)
    sections_by_study = {study: sections for study, sections in sections_by_study.items() if study not in problems}
    step, reason = "reports: of studies in the metadata", "no image in the metadata"
    without_image = without_study - left_out
    dropped = Counter(problems.values())
    dropped |= {reason: len(without_image), "the study is left out": len(without_study & left_out)}
    account.step(step, len(sections_by_study), dropped)
    account.exclude("study", sorted(without_image), step, reason)
    sections = pd.DataFrame.from_dict(sections_by_study, orient="index", columns=["findings", "impression"])
    return sections.astype(object), problems


def _with_report(
    studies: pd.DataFrame, images: pd.DataFrame, sections: pd.DataFrame, problems: dict[int, str], account: Account
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The studies that have a report, with their sections, and the images of these studies."""
    study_has_report = studies["study_id"].isin(sections.index)
    image_has_report = images["study_id"].isin(sections.index)
    study_rows = ("study", "studies", study_has_report, studies, "study_id", "no report")
    image_rows = ("image", "images", image_has_report, images, "dicom_id", "the study has no report")
    for kind, plural, has_report, rows, column, reason in (study_rows, image_rows):
        step = f"{plural}: with a report"
        reasons = [problems.get(study, reason) for study in rows.loc[~has_report, "study_id"]]
        account.step(step, int(has_report.sum()), Counter(reasons))
        account.exclude(kind, rows.loc[~has_report, column], step, reasons)
    if not study_has_report.any():
        raise UserError("no study of the metadata has a report: set data.images and data.reports to the same data set")
    studies = studies[study_has_report].merge(sections, left_on="study_id", right_index=True)
    return studies, images[image_has_report].copy()
