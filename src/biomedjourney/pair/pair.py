"""From studies and images to singles (one image and text a study) and pairs (consecutive studies of a patient)."""

import hashlib
from typing import Any

import numpy as np
import pandas as pd

from biomedjourney.errors import UserError
from biomedjourney.ingest.cohort import Account
from biomedjourney.pair.text import clean, is_usable
from biomedjourney.tables import SPLITS

# Counts of arXiv 2310.10765: single image-report pairs, and triples in training, validation and test.
PAPER_SINGLES = 157_148
PAPER_PAIRS = {"train": 9_354, "validation": 1_056, "test": 1_214}
TEST_FOLDER = 19


def pair(
    studies: pd.DataFrame, images: pd.DataFrame, image_files: pd.DataFrame, settings: dict[str, Any]
) -> dict[str, pd.DataFrame]:
    """The tables singles, pairs, cohort and exclusions, by name; the latter two hold the rows of this step alone.

    ``settings`` has ``seed`` and the section ``pair``. A usable study has a whole image of a listed view and text in a
    listed section. Its image is of the first listed view that it has; of several, the one with the most pixels, and
    of equally large ones the first by dicom_id. Singles are the usable studies. A pair is a usable study with the
    patient's usable study before it in time (by study_id where times are equal, but equal times make no pair), or
    with each that is before it; with ``same_view``, among the studies whose image is of the same view.
    Raises UserError, saying which filter emptied the cohort, where nothing is left.
    """
    chosen = settings["pair"]
    account = Account()
    usable = _with_image(studies, images, image_files, chosen["views"], account)
    usable = _with_text(usable, chosen["text"], account)
    usable = _with_split(usable, images, chosen, settings["seed"], account)
    singles = usable[["dicom_id", "study_id", "subject_id", "split", "text"]]
    pairs = _pairs(usable, chosen, account)
    return {"singles": singles, "pairs": pairs, "cohort": account.cohort(), "exclusions": account.exclusions()}


def _require(kept: int, step: str, advice: str) -> None:
    if kept == 0:
        raise UserError(f"the filter {step!r} left nothing: {advice}")


def _listed(names: list[str]) -> str:
    return ", ".join(names)


def _with_image(
    studies: pd.DataFrame, images: pd.DataFrame, image_files: pd.DataFrame, views: list[str], account: Account
) -> pd.DataFrame:
    """The studies with a whole image of a listed view, its dicom_id and view."""
    step = "images: of a listed view"
    rank = images["view"].map({view: i for i, view in enumerate(views)})
    listed = rank.notna()
    reasons = ("view " + images["view"]).fillna("no view given") + f", not {_listed(views)}"
    others = images["view"].fillna("none given").value_counts().head(6)
    found = _listed([f"{view} {n}" for view, n in others.items()])
    _require(int(listed.sum()), step, f"pair.views asks for {_listed(views)}, the images have {found}: change it")
    _keep_images(images, listed, step, reasons, account)

    step = "images: with a whole file"
    images, rank = images[listed], rank[listed]
    problems = image_files.set_index("dicom_id")["problem"].reindex(images["dicom_id"]).fillna("not checked")
    problems.index = images.index
    whole = problems == ""
    told = _listed([f"{problem} {n}" for problem, n in problems[~whole].value_counts().items()])
    _require(int(whole.sum()), step, f"of the listed views the files are {told}: correct data.images or pair.views")
    _keep_images(images, whole, step, "file " + problems, account)

    step, reason = "images: one a study", "the study has another image that comes first"
    ranked = images[whole].assign(rank=rank[whole], pixels=-images["rows"].astype(np.int64) * images["columns"])
    ranked = ranked.sort_values(["study_id", "rank", "pixels", "dicom_id"])
    first = ~ranked["study_id"].duplicated()
    _keep_images(ranked, first, step, pd.Series(reason, index=ranked.index), account)

    step, reason = "studies: with a whole image of a listed view", f"no whole image of view {_listed(views)}"
    result = studies.merge(ranked.loc[first, ["study_id", "dicom_id", "view"]], on="study_id", how="left")
    shown = result["dicom_id"].notna()
    account.step(step, int(shown.sum()), {reason: int((~shown).sum())})
    account.exclude("study", result.loc[~shown, "study_id"], step, reason)
    return result[shown]


def _keep_images(images: pd.DataFrame, kept: pd.Series, step: str, reasons: pd.Series, account: Account) -> None:
    counted = {str(reason): n for reason, n in reasons[~kept].value_counts().items()}
    account.step(step, int(kept.sum()), counted)
    account.exclude("image", images.loc[~kept, "dicom_id"], step, reasons[~kept])


def _with_text(studies: pd.DataFrame, sections: list[str], account: Account) -> pd.DataFrame:
    """The studies with text in a listed section, the first that has any, cleaned."""
    found = []
    for row in zip(*(studies[section] for section in sections), strict=True):
        found.append(next((text for text in map(clean, row) if is_usable(text)), ""))
    text = pd.Series(found, index=studies.index, dtype=object)
    usable = text != ""
    reason = f"no text in {' or '.join(sections)}"
    _require(int(usable.sum()), "studies: with text", f"{reason} of any report: change pair.text")
    _leave_out(studies, ~usable, "with text", reason, account)
    return studies[usable].assign(text=text[usable])


def _leave_out(studies: pd.DataFrame, dropped: pd.Series, step: str, reason: str, account: Account) -> None:
    """Accounts for studies that are left out, each with its one image."""
    for many, kind, column in (("images", "image", "dicom_id"), ("studies", "study", "study_id")):
        account.step(f"{many}: {step}", int((~dropped).sum()), {reason: int(dropped.sum())})
        account.exclude(kind, studies.loc[dropped, column], f"{many}: {step}", reason)


def _with_split(
    studies: pd.DataFrame, images: pd.DataFrame, chosen: dict[str, Any], seed: int, account: Account
) -> pd.DataFrame:
    if chosen["split"] == "paper":
        split = split_by_folder(studies["subject_id"], chosen["validation_share"], seed)
    else:
        published = official_by_patient(images)
        split = studies["subject_id"].map(published)
    lacking = split.isna()
    _require(int((~lacking).sum()), "studies: in the split", "the split file knows no patient: set pair.split to paper")
    if chosen["split"] == "official":
        _leave_out(studies, lacking, "in the split", "patient not in the published split", account)
    studies = studies.assign(split=split)[~lacking].sort_values(["subject_id", "study_time", "study_id"])
    account.step("singles: one image and text a study", len(studies), paper=PAPER_SINGLES)
    return studies


def split_by_folder(subjects: pd.Series, validation_share: float, seed: int) -> pd.Series:
    """The paper's split: folder p19 is for test; of p10 to p18, a share of the patients for validation, by hash.

    A patient's side depends on the seed and the subject_id alone, whoever else is in the cohort.
    """
    sides = {}
    for subject in subjects.unique():
        digest = hashlib.sha256(f"{seed}:{subject}".encode()).digest()
        validation = int.from_bytes(digest[:8], "big") < validation_share * 2**64
        is_test = str(subject).startswith(str(TEST_FOLDER))
        sides[subject] = "test" if is_test else "validation" if validation else "train"
    return subjects.map(sides)


def official_by_patient(images: pd.DataFrame) -> pd.Series:
    """The published split of each patient. Raises UserError for a patient on two sides."""
    published = images.dropna(subset=["official_split"])[["subject_id", "official_split"]].drop_duplicates()
    twice = published["subject_id"].duplicated()
    if twice.any():
        subject = published.loc[twice, "subject_id"].iloc[0]
        raise UserError(f"the published split puts patient {subject} on two sides: download the split file again")
    return published.set_index("subject_id")["official_split"]


def _pairs(studies: pd.DataFrame, chosen: dict[str, Any], account: Account) -> pd.DataFrame:
    """Each study with the one, or with all, before it, of studies sorted by patient and time."""
    group = ["subject_id", "view"] if chosen["same_view"] else ["subject_id"]
    studies = studies.sort_values([*group, "study_time", "study_id"])
    earlier = studies.groupby(group).cumcount().to_numpy()
    each = chosen["priors"] == "all"
    step = f"pairs: a study and {'each' if each else 'the'} one before it"
    advice = (
        "no patient has two usable studies of one view" if chosen["same_view"] else "no patient has two usable studies"
    )
    _require(int((earlier > 0).sum()), step, f"{advice}: use more data, views or sections")
    taken = earlier if each else np.minimum(earlier, 1)
    first = f"first study of its patient{' in this view' if chosen['same_view'] else ''}"
    account.step(step, int(taken.sum()), {} if each else {first: int((earlier == 0).sum())})
    rows = np.repeat(np.arange(len(studies)), taken)
    back = np.repeat(np.cumsum(taken), taken) - np.arange(len(rows))  # the earliest prior first
    current, before = studies.iloc[rows].reset_index(), studies.iloc[rows - back].reset_index()
    pairs = pd.DataFrame(
        {
            "pair_id": before["study_id"].astype(str) + "-" + current["study_id"].astype(str),
            "subject_id": current["subject_id"],
            "prior_study_id": before["study_id"],
            "study_id": current["study_id"],
            "prior_dicom_id": before["dicom_id"],
            "dicom_id": current["dicom_id"],
            "interval_days": (current["study_time"] - before["study_time"]).dt.total_seconds() / 86_400,
            "split": current["split"],
        }
    )
    pairs = _filter(pairs, pairs["interval_days"] > 0, "pairs: prior earlier", "both at the same time", account)
    largest_gap_days = chosen["largest_gap_days"]
    if largest_gap_days is not None:
        near = pairs["interval_days"] <= largest_gap_days
        step = f"pairs: at most {largest_gap_days:g} days apart"
        _require(int(near.sum()), step, f"pair.largest_gap_days is {largest_gap_days:g}: raise it")
        pairs = _filter(pairs, near, step, f"more than {largest_gap_days:g} days apart", account)
    for split in SPLITS:
        account.step(f"pairs in {split}: all", int((pairs["split"] == split).sum()), paper=PAPER_PAIRS[split])
    return pairs


def _filter(pairs: pd.DataFrame, kept: pd.Series, step: str, reason: str, account: Account) -> pd.DataFrame:
    _require(int(kept.sum()), step, reason)
    account.step(step, int(kept.sum()), {reason: int((~kept).sum())})
    account.exclude("pair", pairs.loc[~kept, "pair_id"], step, reason)
    return pairs[kept]
