"""Which examples a run learns from, and which pairs all systems draw."""

from typing import Any

import pandas as pd

from biomedjourney import tables
from biomedjourney.errors import UserError
from biomedjourney.train.inputs import Inputs


def accepted_pairs(inputs: Inputs, split: str) -> pd.DataFrame:
    """The pairs of a split with an accepted registration and a valid description, by pair_id.

    Columns of `pairs`, and ``description``. Every system is compared on these pairs of the test split.
    Raises UserError where there are none.
    """
    pairs = tables.read(inputs.need("pairs", "the choice of pairs"), "pairs")
    registrations = tables.read(
        inputs.need("registrations", "the choice of pairs"), "registrations", ["pair_id", "accepted"]
    )
    path = inputs.need("progressions", "the choice of pairs")
    progressions = tables.read(path, "progressions", ["pair_id", "description", "valid"])
    twice = progressions["pair_id"].duplicated()
    if twice.any():
        raise UserError(
            f"{path}: pair_id {progressions.loc[twice, 'pair_id'].iloc[0]} has descriptions of two writers: "
            "give a table of one writer"
        )
    accepted = registrations.loc[registrations["accepted"], ["pair_id"]]
    valid = progressions.loc[progressions["valid"], ["pair_id", "description"]]
    chosen = pairs[pairs["split"] == split].merge(accepted, on="pair_id").merge(valid, on="pair_id")
    if chosen.empty:
        raise UserError(
            f"{inputs.pairs}: none of {(pairs['split'] == split).sum()} {split} pairs has an accepted registration and "
            "a valid description: a larger cohort or a lower register.threshold gives some"
        )
    return chosen.sort_values("pair_id", ignore_index=True)


def examples(run: dict[str, Any], inputs: Inputs, split: str, data: str | None = None) -> pd.DataFrame:
    """What a run learns from or draws from, one row an example, sorted by id.

    Columns: ``id`` (dicom_id or pair_id), ``target`` (id of the picture's latent), ``prior`` (id of the prior's latent,
    null for a run without one) and ``text``. ``data`` singles or pairs takes the place of the run's own.
    Raises UserError for an input that the run needs and that is not given, and for a pair without report text.
    """
    if (data or run["data"]) == "singles":
        singles = tables.read(inputs.need("singles", "a run on singles"), "singles", ["dicom_id", "split", "text"])
        chosen = singles[singles["split"] == split].sort_values("dicom_id", ignore_index=True)
        return pd.DataFrame(
            {"id": chosen["dicom_id"], "target": chosen["dicom_id"], "prior": None, "text": chosen["text"]}
        )
    pairs = accepted_pairs(inputs, split)
    prior = {"none": None, "registered": pairs["pair_id"], "unregistered": pairs["prior_dicom_id"]}[run["prior"]]
    text = pairs["description"] if run["text"] == "description" else _reports(pairs, inputs)
    return pd.DataFrame({"id": pairs["pair_id"], "target": pairs["dicom_id"], "prior": prior, "text": text})


def _reports(pairs: pd.DataFrame, inputs: Inputs) -> pd.Series:
    """The report's text of each pair's current picture."""
    path = inputs.need("singles", "text: report")
    text = pairs["dicom_id"].map(tables.read(path, "singles", ["dicom_id", "text"]).set_index("dicom_id")["text"])
    if text.isna().any():
        absent = pairs.loc[text.isna(), "dicom_id"].iloc[0]
        raise UserError(f"{path}: dicom_id {absent} of a pair is not in it: run pair again, which writes both tables")
    return text
