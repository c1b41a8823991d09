"""How the report shows registration: the pairs that fit worst and best, before and after."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from biomedjourney import pixels, tables
from biomedjourney.report.charts import checkerboard, figure, panel

EACH = 3  # pairs from either end
LIMIT = 0.5  # the difference at which its colour scale ends
TITLES = ("prior", "current", "tiles, before", "tiles, after", "difference, before", "difference, after")


@dataclass(frozen=True)
class Pair:
    """Pictures (height, width) in [0, 1]; ``covered`` true where the registered prior has data."""

    caption: str
    prior: np.ndarray
    registered: np.ndarray
    covered: np.ndarray
    current: np.ndarray


def extremes(registrations: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """The pairs of the lowest scores after registration, worst first, then those of the highest."""
    scored = registrations.dropna(subset=["score_after"]).rename(columns={"accepted": "registered"})
    rows = pairs.merge(scored.drop(columns="reason"), on="pair_id")
    rows = rows.sort_values(["score_after", "pair_id"], kind="stable")
    return pd.concat([rows.head(EACH), rows.iloc[EACH:].tail(EACH)])


def read(extreme_pairs: pd.DataFrame, stored: list[Path], registered: list[Path]) -> list[Pair]:
    """The pictures of these pairs; those of which one is missing are left out."""
    films = tables.find(stored, "pixels", "dicom_id", {*extreme_pairs["prior_dicom_id"], *extreme_pairs["dicom_id"]})
    priors = tables.find(registered, "registered", "pair_id", extreme_pairs["pair_id"])
    read_pairs = []
    for _, row in extreme_pairs.iterrows():
        prior, current, moved = films.get(row["prior_dicom_id"]), films.get(row["dicom_id"]), priors.get(row["pair_id"])
        if prior is None or current is None or moved is None or None in (prior["png"], current["png"], moved["png"]):
            continue
        before, after, later = (pixels.decode_png(png) for png in (prior["png"], moved["png"], current["png"]))
        mask = moved["coverage"]
        covered = np.ones(after.shape, dtype=bool) if mask is None else pixels.decode_png(mask) > 0.5
        verdict = "accepted" if row["registered"] else "not accepted"
        caption = f"{row['score_before']:.2f} → {row['score_after']:.2f}\n{verdict}"
        read_pairs.append(Pair(caption, before, after, covered, later))
    return read_pairs


def grid(rows: list[Pair]) -> Figure:
    """For each pair the two films, tiles of both in turn, and current minus prior, before and after registration.

    An edge that runs on across tiles is aligned. Grey in a difference: the prior has no data.
    """
    side = 1.55
    drawn = figure(len(TITLES) * side + 1.3, side * len(rows) + 0.4)
    axes = drawn.subplots(len(rows), len(TITLES), squeeze=False)
    for i, (line, row) in enumerate(zip(axes, rows, strict=True)):
        titles = TITLES if i == 0 else ("",) * len(TITLES)
        differences = row.current - row.prior, np.where(row.covered, row.current - row.registered, np.nan)
        boards = (checkerboard(prior, row.current) for prior in (row.prior, row.registered))
        for axis, shown, title in zip(line, (row.prior, row.current, *boards), titles, strict=False):
            panel(axis, shown, title)
        for axis, shown, title in zip(line[4:], differences, titles[4:], strict=True):
            panel(axis, shown, title, cmap="RdBu_r", vmin=-LIMIT, vmax=LIMIT)
        line[0].set_ylabel(row.caption, rotation=0, ha="right", va="center", fontsize=7.5)
    return drawn
