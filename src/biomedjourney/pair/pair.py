"""From studies and images to singles (one image and text per study) and pairs (consecutive studies of a patient)."""

import hashlib
from typing import Any

import numpy as np
import pandas as pd

from biomedjourney.errors import UserError
from biomedjourney.ingest.cohort import Account
from biomedjourney.pair.text import report_text
from biomedjourney.tables import SPLITS

# The number of single image-report pairs in arXiv 2310.10765.
PAPER_SINGLES = 157_148
TEST_FOLDER = 19  # p19


def pair(
    studies: pd.DataFrame, images: pd.DataFrame, image_files: pd.DataFrame, settings: dict[str, Any]
) -> dict[str, pd.DataFrame]:
    """The tables singles, pairs, cohort and exclusions, by name; the last two hold only the rows of this step.

    ``settings`` has ``seed`` and the section ``pair``. A usable study has a whole image of a listed view, and text in a
    listed section. Its image is of the first listed view that the study has. Of several such images the one with the
    most pixels is taken, and of equally large ones the first by dicom_id; a null size is the smallest. Singles are the
    usable studies. A pair is a usable study and the last usable study of the same patient before it, or each one before
    it (``priors`` all). With ``same_view`` only studies whose image has the same view count as earlier ones. Studies at
    the same time are sorted by study_id, but make no pair. Raises UserError, with the filter that emptied the cohort,
    if nothing is left.
    """
    pair_settings = settings["pair"]
    account = Account()
    usable = _with_image(studies, images, image_files, pair_settings["views"], account)
    usable = _with_text(usable, pair_settings["text"], account)
    usable = _with_split(usable, images, pair_settings, settings["seed"], account)
    singles = usable[["dicom_id", "study_id", "subject_id", "split", "text"]]
    pairs = _pairs(usable, pair_settings, account)
    return {"singles": singles, "pairs": pairs, "cohort": account.cohort(), "exclusions": account.exclusions()}


def _require(kept: int, step: str, advice: str) -> None:
    if kept == 0:
        raise UserError(f"the filter {step!r} left nothing: {advice}")


def _with_image(
    studies: pd.DataFrame, images: pd.DataFrame, image_files: pd.DataFrame, views: list[str], account: Account
) -> pd.DataFrame:
    """The studies that have a whole image of a listed view, with its dicom_id and view."""
    step = "images: of a listed view"
    view_list = ", ".join(views)
    rank = images["view"].map({view: i for i, view in enumerate(views)})
    listed = rank.notna()
    reasons = ("view " + images["view"]).fillna("no view given") + f", not {view_list}"
    counts = images["view"].fillna("none given").value_counts().head(6)
    present = ", ".join(f"{view} {n}" for view, n in counts.items())
    _require(int(listed.sum()), step, f"pair.views asks for {view_list}, the images have {present}: change pair.views")
    _keep_images(images, listed, step, reasons, account)

    step = "images: with a whole file"
    images, rank = images[listed], rank[listed]
    problems = image_files.set_index("dicom_id")["problem"].reindex(images["dicom_id"]).fillna("not checked")
    problems.index = images.index
    whole = problems == ""
    present = ", ".join(f"{problem} {n}" for problem, n in problems[~whole].value_counts().items())
    _require(int(whole.sum()), step, f"the files of the listed views are {present}: correct data.images or pair.views")
    _keep_images(images, whole, step, "file " + problems, account)

    step, reason = "images: one per study", "the study has another image that comes first"
    pixels = (images["rows"].astype(float) * images["columns"].astype(float)).fillna(0)
    ranked = images[whole].assign(rank=rank[whole], pixels=-pixels)
    ranked = ranked.sort_values(["study_id", "rank", "pixels", "dicom_id"])
    first = ~ranked["study_id"].duplicated()
    _keep_images(ranked, first, step, pd.Series(reason, index=ranked.index), account)

    step, reason = "studies: with a whole image of a listed view", f"no whole image of view {view_list}"
    result = studies.merge(ranked.loc[first, ["study_id", "dicom_id", "view"]], on="study_id", how="left")
    has_image = result["dicom_id"].notna()
    account.step(step, int(has_image.sum()), {reason: int((~has_image).sum())})
    account.exclude("study", result.loc[~has_image, "study_id"], step, reason)
    return result[has_image]


def _keep_images(images: pd.DataFrame, kept: pd.Series, step: str, reasons: pd.Series, account: Account) -> None:
    counts = {str(reason): n for reason, n in reasons[~kept].value_counts().items()}
    account.step(step, int(kept.sum()), counts)
    account.exclude("image", images.loc[~kept, "dicom_id"], step, reasons[~kept])


def _with_text(studies: pd.DataFrame, sections: list[str], account: Account) -> pd.DataFrame:
    """The studies that have text in a listed section, with the text that `report_text` takes."""
    texts = [report_text(*row) for row in zip(*(studies[section] for section in sections), strict=True)]
    text = pd.Series(texts, index=studies.index, dtype=object)
    usable = text != ""
    reason = f"no text in {' or '.join(sections)}"
    _require(int(usable.sum()), "studies: with text", f"{reason} of any report: change pair.text")
    _leave_out(studies, ~usable, "with text", reason, account)
    return studies[usable].assign(text=text[usable])


def _leave_out(studies: pd.DataFrame, dropped: pd.Series, step: str, reason: str, account: Account) -> None:
    """Accounts for studies that are left out, and for the one image of each."""
    for plural, kind, column in (("images", "image", "dicom_id"), ("studies", "study", "study_id")):
        account.step(f"{plural}: {step}", int((~dropped).sum()), {reason: int(dropped.sum())})
        account.exclude(kind, studies.loc[dropped, column], f"{plural}: {step}", reason)


def _with_split(
    studies: pd.DataFrame, images: pd.DataFrame, pair_settings: dict[str, Any], seed: int, account: Account
) -> pd.DataFrame:
    if pair_settings["split"] == "paper":
        split = split_by_folder(studies["subject_id"], pair_settings["validation_share"], seed)
    else:
        published = official_by_patient(images)
        split = studies["subject_id"].map(published)
    unlisted = split.isna()
    advice = "no patient is in the split file: set pair.split to paper"
    _require(int((~unlisted).sum()), "studies: in the split", advice)
    if pair_settings["split"] == "official":
        _leave_out(studies, unlisted, "in the split", "patient not in the published split", account)
    studies = studies.assign(split=split)[~unlisted].sort_values(["subject_id", "study_time", "study_id"])
    account.step("singles: one image and text per study", len(studies), paper=PAPER_SINGLES)
    return studies


def split_by_folder(subjects: pd.Series, validation_share: float, seed: int) -> pd.Series:
    """The paper's split: patients in folder p19 are for test, and a share of those in p10 to p18 for validation.

    A hash of the seed and the subject_id decides, so the split of a patient does not depend on the other patients.
    """
    splits = {}
    for subject in subjects.unique():
        digest = hashlib.sha256(f"{seed}:{subject}".encode()).digest()
        validation = int.from_bytes(digest[:8], "big") < validation_share * 2**64
        is_test = str(subject).startswith(str(TEST_FOLDER))
        splits[subject] = "test" if is_test else "validation" if validation else "train"
    return subjects.map(splits)


def official_by_patient(images: pd.DataFrame) -> pd.Series:
    """The published split of each patient. Raises UserError for a patient in two splits."""
    published = images.dropna(subset=["official_split"])[["subject_id", "official_split"]].drop_duplicates()
    duplicated = published["subject_id"].duplicated()
    if duplicated.any():
        subject = published.loc[duplicated, "subject_id"].iloc[0]
        raise UserError(f"the published split has patient {subject} in two splits: download the split file again")
    return published.set_index("subject_id")["official_split"]


def _pairs(studies: pd.DataFrame, pair_settings: dict[str, Any], account: Account) -> pd.DataFrame:
    """Pairs of each study with the one before it, or with all before it. ``studies`` are sorted by patient and time."""
    group = ["subject_id", "view"] if pair_settings["same_view"] else ["subject_id"]
    studies = studies.sort_values([*group, "study_time", "study_id"])
    earlier = studies.groupby(group).cumcount().to_numpy()
    all_priors = pair_settings["priors"] == "all"
    step = f"pairs: a study and {'each' if all_priors else 'the'} one before it"
    of_one_view = " of one view" if pair_settings["same_view"] else ""
    problem = f"no patient has two usable studies{of_one_view}"
    _require(int((earlier > 0).sum()), step, f"{problem}: use more data, views or sections")
    prior_count = earlier if all_priors else np.minimum(earlier, 1)
    first = f"first study of its patient{' in this view' if pair_settings['same_view'] else ''}"
    account.step(step, int(prior_count.sum()), {} if all_priors else {first: int((earlier == 0).sum())})
    rows = np.repeat(np.arange(len(studies)), prior_count)
    steps_back = np.repeat(np.cumsum(prior_count), prior_count) - np.arange(len(rows))  # the earliest prior first
    current, prior = studies.iloc[rows].reset_index(), studies.iloc[rows - steps_back].reset_index()
    pairs = pd.DataFrame(
        {
            "pair_id": prior["study_id"].astype(str) + "-" + current["study_id"].astype(str),
            "subject_id": current["subject_id"],
            "prior_study_id": prior["study_id"],
            "study_id": current["study_id"],
            "prior_dicom_id": prior["dicom_id"],
            "dicom_id": current["dicom_id"],
            "interval_days": (current["study_time"] - prior["study_time"]).dt.total_seconds() / 86_400,
            "split": current["split"],
        }
    )
    earlier_prior = pairs["interval_days"] > 0
    step, reason = "pairs: prior earlier", "both studies at the same time"
    _require(int(earlier_prior.sum()), step, f"{reason}: correct StudyDate and StudyTime, or use more data")
    pairs = _filter(pairs, earlier_prior, step, reason, account)
    largest_gap_days = pair_settings["largest_gap_days"]
    if largest_gap_days is not None:
        close_in_time = pairs["interval_days"] <= largest_gap_days
        step = f"pairs: at most {largest_gap_days:g} days apart"
        _require(int(close_in_time.sum()), step, f"pair.largest_gap_days is {largest_gap_days:g}: increase it")
        pairs = _filter(pairs, close_in_time, step, f"more than {largest_gap_days:g} days apart", account)
    for split in SPLITS:
        account.step(f"pairs in {split}: all", int((pairs["split"] == split).sum()))
    return pairs


def _filter(pairs: pd.DataFrame, kept: pd.Series, step: str, reason: str, account: Account) -> pd.DataFrame:
    account.step(step, int(kept.sum()), {reason: int((~kept).sum())})
    account.exclude("pair", pairs.loc[~kept, "pair_id"], step, reason)
    return pairs[kept]
