"""Charts and picture grids, as bytes of SVG or PNG that do not depend on the time or the machine."""

import base64
import io
import textwrap
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import pandas as pd

from biomedjourney import measures
from biomedjourney.tables import SPLITS

matplotlib.use("agg")
matplotlib.rcParams.update(
    {
        "svg.hashsalt": "biomedjourney",
        "svg.fonttype": "path",
        "font.family": "DejaVu Sans",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": "#8a949e",
        "axes.labelcolor": "#39424b",
        "xtick.color": "#5b6670",
        "ytick.color": "#5b6670",
        "axes.titlesize": 10,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "legend.frameon": False,
    }
)

from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

LABELLED = 4  # systems, of which points can bear a text without covering each other
OURS, OTHER, PAPER, BEFORE = "#1d5f9e", "#8a949e", "#d9730d", "#c3cad1"


def figure(width: float, height: float) -> Figure:
    """An empty figure, sizes in inches, that belongs to no global state."""
    result = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(result)
    return result


def data_uri(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def svg(drawn: Figure) -> str:
    """The figure as a data URI of SVG, without a date."""
    buffer = io.BytesIO()
    drawn.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return data_uri(buffer.getvalue(), "image/svg+xml")


def png(drawn: Figure, dpi: int = 130) -> bytes:
    buffer = io.BytesIO()
    drawn.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def intervals(systems: pd.DataFrame) -> Figure:
    """Each system's measures with their intervals, times 100, the paper's figure as a diamond."""
    shown = [measure for measure in measures.MAIN if systems[measure.name].notna().any()]
    drawn = figure(1.8 + 1.85 * len(shown), 0.9 + 0.3 * len(systems))
    axes = drawn.subplots(1, max(len(shown), 1), sharey=True, squeeze=False)[0]
    height = np.arange(len(systems))[::-1]
    colours = [OURS if name == "biomedjourney" else OTHER for name in systems["system"]]
    for axis, measure in zip(axes, shown, strict=False):
        name = measure.name
        values = 100 * systems[[f"{name}_low", name, f"{name}_high"]].astype(float)
        if measure in measures.IN_PAPER:
            printed = 100 * systems[f"paper_{name}"].astype(float)
            below = height - 0.27  # so that it covers neither our point nor its interval
            axis.scatter(printed, below, marker="D", s=16, facecolors="white", edgecolors=PAPER, linewidths=1.2)
        axis.hlines(height, values.iloc[:, 0], values.iloc[:, 2], colors=colours, linewidth=2.2, zorder=3)
        axis.scatter(values[name], height, c=colours, s=14, zorder=4)
        if measure.chance is not None:
            axis.axvline(100 * measure.chance, color="#d5dade", linewidth=1, zorder=0)
        axis.set_title(wrap(measure.title, 18))
        axis.set_yticks(height, systems["system"])
        axis.tick_params(axis="y", length=0)
        axis.margins(x=0.08, y=0.12)
    return drawn


def trade_off(guidance: pd.DataFrame) -> Figure:
    """Change AUC against what is kept, race AUC and age r, times 100: a point for each pair of guidance scales.

    Beside each point its text scale and its image scale; a ring around the chosen one.
    """
    drawn = figure(8.2, 3.4)
    axes = drawn.subplots(1, 2, sharey=True)
    for axis, measure in zip(axes, (measures.RACE_AUC, measures.AGE_R), strict=True):
        for i, (system, rows) in enumerate(guidance.groupby("system", sort=False)):
            kept, changed = 100 * rows[measure.name].astype(float), 100 * rows["change_auc"].astype(float)
            axis.scatter(kept, changed, s=20, color=f"C{i}", label=system)
            chosen = rows["chosen"].to_numpy(dtype=bool)
            axis.scatter(kept[chosen], changed[chosen], s=90, facecolors="none", edgecolors=f"C{i}", linewidths=1.4)
            if guidance["system"].nunique() <= LABELLED:
                scales = zip(kept, changed, rows["text_scale"], rows["image_scale"], strict=True)
                for x, y, text_scale, image_scale in scales:
                    look = {"xytext": (5, 4), "textcoords": "offset points", "fontsize": 6.5, "color": "#5b6670"}
                    axis.annotate(f"{text_scale:g}, {image_scale:g}", (x, y), **look)
        axis.set_xlabel(f"{measure.title} (kept)")
        axis.margins(x=0.15, y=0.15)
    axes[0].set_ylabel("change AUC (changed)")
    drawn.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    return drawn


def samplers(compared: pd.DataFrame, allowed: float) -> Figure:
    """The difference of each sampler's measures to the one with most evaluations, with intervals, times 100.

    A band marks differences of at most ``allowed``, a share.
    """
    rows = compared[compared["within"].notna()]
    drawn = figure(1.8 + 1.85 * len(measures.GUIDING), 0.9 + 0.3 * len(rows))
    axes = drawn.subplots(1, len(measures.GUIDING), sharey=True)
    height = np.arange(len(rows))[::-1]
    several = rows["system"].nunique() > 1
    names = [f"{row.system}: " * several + f"{row.solver}, {row.steps} steps" for row in rows.itertuples()]
    for axis, measure in zip(axes, measures.GUIDING, strict=True):
        name = f"{measure.name}_difference"
        values = 100 * rows[[f"{name}_low", name, f"{name}_high"]].astype(float)
        axis.axvspan(-100 * allowed, 100 * allowed, color="#eef1f4", zorder=0)
        axis.axvline(0, color="#d5dade", linewidth=1, zorder=1)
        axis.hlines(height, values.iloc[:, 0], values.iloc[:, 2], colors=OURS, linewidth=2.2, zorder=3)
        axis.scatter(values[name], height, color=OURS, s=14, zorder=4)
        axis.set_title(wrap(measure.title, 18))
        axis.set_yticks(height, names)
        axis.tick_params(axis="y", length=0)
        axis.margins(x=0.08, y=0.12)
    return drawn


def losses(training: pd.DataFrame) -> Figure:
    """The training loss of each run against the optimiser's steps, and in the same colour its validation loss.

    The trainings of one run with several seeds share its colour, and the first one stands for them in the legend.
    """
    drawn = figure(8.2, 3.2)
    axis = drawn.subplots()
    known = training.dropna(subset=["loss"])
    colours: dict[Any, str] = {}
    for (run, _), rows in known.groupby(["run", "training_seed"], sort=False):
        name = f"_{run}" if run in colours else run  # matplotlib leaves labels with such a beginning out of the legend
        colour = colours.setdefault(run, f"C{len(colours)}")
        label = f"{name} (stage {rows['stage'].iloc[0]})"
        axis.plot(rows["step"], rows["loss"], linewidth=1.2, alpha=0.65, color=colour, label=label)
        validated = rows.dropna(subset=["validation_loss"])
        if len(validated):
            look: dict[str, Any] = {"linestyle": "--", "linewidth": 1.4, "marker": "o", "markersize": 3.5}
            look |= {"color": colour, "label": f"{name}, validation"}
            axis.plot(validated["step"], validated["validation_loss"], **look)
    axis.set_xlabel("optimiser steps")
    axis.set_ylabel("loss")
    if len(known):
        values = known[["loss", "validation_loss"]].stack().dropna()
        if (values > 0).all() and values.max() > 5 * values.min():
            axis.set_yscale("log")
        axis.legend(loc="upper right")
    return drawn


def _steps(cohort: pd.DataFrame, unit: str) -> list[tuple[str, list[str]]]:
    """The steps that count ``unit``: the text of each one's box, and what it dropped, one line per reason."""
    steps = []
    for step, rows in cohort[cohort["step"].str.startswith(f"{unit}:")].groupby("step", sort=False):
        title = "\n".join(textwrap.wrap(str(step), 30))
        paper = rows["paper"].dropna()
        box = f"{title}\n{rows['kept'].iloc[0]:,}" + (f"  (paper: {paper.iloc[0]:,.0f})" if len(paper) else "")
        dropped = rows[rows["dropped"] > 0].sort_values("dropped", ascending=False)
        lost = [f"− {n:,} {reason}" for n, reason in zip(dropped["dropped"], dropped["reason"], strict=True)]
        steps.append((box, [wrap(line, 42, 2) for line in lost]))
    return steps


def flow(cohort: pd.DataFrame) -> Figure:
    """The table cohort as a flow chart: images and studies down to singles, these down to the triples of each split.

    The first writer's triples stand below the pairs that they are made of. Each further writer has a lane of its own,
    which begins with the same pairs.
    """
    lanes = [_steps(cohort, "images"), _steps(cohort, "studies"), _steps(cohort, "singles") + _steps(cohort, "pairs")]
    last_pairs = lanes[-1][-1:]
    counted = cohort["step"].str.partition(":")[0]
    for place, writer in enumerate(counted[counted.str.fullmatch("triples by [a-z]+")].unique()):
        if place:
            lanes.append([(box, []) for box, _ in last_pairs])
        parts = [f"{writer} in {split}" for split in SPLITS] + [f"{writer}, read backward"]
        boxes = [box.replace("\n", " ") for part in parts for box, _ in _steps(cohort, part)]
        lanes[-1] += [*_steps(cohort, writer), ("\n".join(boxes), [])]
    heights = [max((1 + 0.35 * len(lost) for _, lost in row if lost), default=1.0) for row in _rows(lanes)]
    depth = np.concatenate([[0.0], np.cumsum(heights[1:])]) if heights else np.zeros(1)
    drawn = figure(2 + 3 * len(lanes), 1 + 0.62 * float(depth[-1] + 1))
    axis = drawn.subplots()
    for x, lane in enumerate(lanes):
        for i, (box, lost) in enumerate(lane):
            frame = {"boxstyle": "round,pad=0.4", "facecolor": "#f4f7fa", "edgecolor": OURS}
            axis.text(x, -depth[i], box, ha="center", va="center", fontsize=7.5, bbox=frame, zorder=3)
            if i:
                line, tip = (x, -depth[i - 1]), (x, -depth[i] + 0.3)
                axis.annotate("", tip, line, arrowprops={"arrowstyle": "->", "color": OTHER}, zorder=1)
                middle = -(depth[i] + depth[i - 1]) / 2
                axis.text(x + 0.03, middle, "\n".join(lost), va="center", fontsize=6.3, color="#5b6670")
    axis.set(xlim=(-0.45, len(lanes) - 0.4), ylim=(-depth[-1] - 0.6, 0.6))
    axis.axis("off")
    return drawn


def _rows(lanes: list[list[Any]]) -> list[list[Any]]:
    return [[lane[i] for lane in lanes if i < len(lane)] for i in range(max(map(len, lanes), default=0))]


def registration_scores(registrations: pd.DataFrame, threshold: float) -> Figure:
    """Histograms of the correlation before and after registration, with the threshold."""
    drawn = figure(8.2, 2.9)
    axis = drawn.subplots()
    scores = registrations[["score_before", "score_after"]].astype(float)
    lowest = min(0.0, float(np.nan_to_num(scores.min().min())))
    bins = [float(edge) for edge in np.linspace(np.floor(lowest * 20) / 20, 1, 41)]
    axis.hist(scores["score_before"].dropna(), bins, color=BEFORE, label="before")
    axis.hist(scores["score_after"].dropna(), bins, histtype="step", color=OURS, linewidth=1.8, label="after")
    axis.axvline(threshold, color=PAPER, linestyle="--", linewidth=1.4, label=f"threshold {threshold:g}")
    axis.set_xlabel("correlation of prior and current image")
    axis.set_ylabel("pairs")
    axis.locator_params(axis="y", integer=True)
    axis.legend(loc="upper left")
    return drawn


def checkerboard(a: np.ndarray, b: np.ndarray, tiles: int = 6) -> np.ndarray:
    """Tiles of two pictures of one shape in turn: an edge that runs on across tiles is aligned."""
    rows, columns = (np.arange(size) * tiles // size for size in a.shape)
    return np.where((rows[:, None] + columns[None, :]) % 2 == 0, a, b)


@dataclass(frozen=True)
class Row:
    """One row of the grid; pictures (height, width) in [0, 1], ``covered`` true where the registered prior has data."""

    prior: np.ndarray
    covered: np.ndarray
    description: str
    generated: np.ndarray
    current: np.ndarray


def panel(axis: Any, shown: np.ndarray, title: str = "", **how: Any) -> Any:
    """Draws a picture without axes; grey where it is nan."""
    axis.set_facecolor("#d5dade")
    image = axis.imshow(shown, interpolation="bilinear", **({"cmap": "gray", "vmin": 0, "vmax": 1} | how))
    axis.set_xticks([])
    axis.set_yticks([])
    for side in axis.spines.values():
        side.set_visible(False)
    if title:
        axis.set_title(title, loc="center", fontsize=9)
    return image


def wrap(text: str, width: int = 28, lines: int = 8) -> str:
    """The text in lines of some characters, cut with an ellipsis after so many lines."""
    return "\n".join(textwrap.wrap(text, width, max_lines=lines, placeholder=" …"))


def grid(rows: list[Row]) -> Figure:
    """Prior, description, generated, true follow-up, and both differences from the prior on one scale.

    The scale ends at the 98th percentile of the changes; where the prior has no data there is no difference.
    """
    side = 1.55
    drawn = figure(6 * side + 0.9, side * len(rows) + 0.75)
    axes = drawn.subplots(len(rows), 6, squeeze=False)
    changes = [
        tuple(np.where(row.covered, later - row.prior, np.nan) for later in (row.generated, row.current))
        for row in rows
    ]
    sizes = np.abs(np.array(changes))
    limit = max(float(np.quantile(sizes[~np.isnan(sizes)], 0.98)), 0.05) if not np.isnan(sizes).all() else 1.0
    titles = ("prior (registered)", "description", "generated", "true follow-up", "generated − prior", "true − prior")
    scale = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
    for i, (row, (ours, real)) in enumerate(zip(rows, changes, strict=True)):
        heads = titles if i == 0 else ("",) * 6
        panel(axes[i, 0], row.prior, heads[0])
        axes[i, 1].axis("off")
        axes[i, 1].set_title(heads[1], loc="center", fontsize=9)
        axes[i, 1].text(0.5, 0.5, wrap(row.description, 24), ha="center", va="center", fontsize=7.5, color="#1f262c")
        panel(axes[i, 2], row.generated, heads[2])
        panel(axes[i, 3], row.current, heads[3])
        panel(axes[i, 4], ours, heads[4], **scale)
        image = panel(axes[i, 5], real, heads[5], **scale)
    bar = drawn.colorbar(image, ax=axes[:, 5], shrink=min(1.0, 2 / len(rows)), aspect=14, pad=0.04, extend="both")
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=7, length=0)
    return drawn


def notice(text: str) -> Figure:
    """A picture that says why there is no picture."""
    drawn = figure(6, 1)
    drawn.text(0.5, 0.5, text, ha="center", va="center", color="#5b6670")
    return drawn
