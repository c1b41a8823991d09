"""`gather cohort`: the account adds up from the raw rows to what training and evaluation read."""

from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from biomedjourney import tables
from biomedjourney.cli import commands
from biomedjourney.errors import UserError
from biomedjourney.examples import Inputs, training_examples
from biomedjourney.gather.cohort import PAPER_TRIPLES
from biomedjourney.gather.triples import NOT_VALID, join
from biomedjourney.pair.directions import DIRECTIONS
from tests.helpers import random_cohort
from tests.helpers.random_cohort import WRITERS, Patient, RandomCohort

LAST_OF_PAIR = {"singles": "singles: one image and text per study", "pairs": "pairs: prior earlier"}
# Which step each step goes on from: what the later one keeps and drops is what the earlier one kept.
BEFORE = {
    "singles: image with a picture": LAST_OF_PAIR["singles"],
    "pairs: both images with a picture": LAST_OF_PAIR["pairs"],
    "pairs: registration accepted": "pairs: both images with a picture",
    **{f"triples by {writer}: description valid": "pairs: registration accepted" for writer in WRITERS},
    **{f"triples by {writer}, read backward: training pairs": "pairs in train: all" for writer in WRITERS},
}
# The steps whose rows are counted by split too.
BY_SPLIT = {
    "singles": "singles: image with a picture",
    "pairs": LAST_OF_PAIR["pairs"],
    **{f"triples by {writer}": f"triples by {writer}: description valid" for writer in WRITERS},
}


def write_triples(cohort: RandomCohort, folder: Path) -> dict[tuple[str, str], Path]:
    """The table `triples` of every writer and direction, in the order in which the workflow gives them."""
    paths = {}
    for writer in WRITERS:
        for direction in DIRECTIONS:
            options = cohort.triples_options(writer, direction)
            paths[writer, direction] = folder / f"triples-{writer}-{direction}.parquet"
            singular = (options[name][0] for name in ("progressions", "first-progressions"))
            rows = join(writer, direction, options["pairs"][0], options["pixels"], options["registrations"], *singular)
            tables.write(paths[writer, direction], "triples", rows)
    return paths


def gather_cohort(cohort: RandomCohort, triples: list[Path], folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables `cohort` and `exclusions` by the command."""
    out = {"cohort": folder / "all-cohort.parquet", "exclusions": folder / "all-exclusions.parquet"}
    inputs = {"pair-cohort": cohort.files["cohort"], "pair-exclusions": cohort.files["exclusions"]}
    inputs |= {"singles": cohort.files["singles"], "pixels": cohort.files["pixels"], "triples": triples}
    words = [f"--{name}={path}" for name, paths in inputs.items() for path in paths]
    words += [f"--{name}={path}" for name, path in out.items()]
    result = CliRunner().invoke(commands, ["gather", "cohort", *words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return tables.read(out["cohort"], "cohort"), tables.read(out["exclusions"], "exclusions")


def trained(writer: str, directions: list[str], triples: dict[tuple[str, str], Path]) -> int:
    """How many examples training reads of a writer."""
    run: dict[str, Any] = {"data": "triples", "writer": writer, "directions": directions}
    run |= {"prior": "registered", "text": "description"}
    try:
        return len(training_examples(run, Inputs(triples=[triples[writer, direction] for direction in directions])))
    except UserError:
        return 0


@settings(max_examples=30, deadline=None, phases=random_cohort.PHASES)
@given(random_cohort.patients, st.randoms(use_true_random=False))
def test_the_account_adds_up_to_what_training_reads(drawn: list[Patient], random: Random) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        cohort = random_cohort.write(drawn, random, folder)
        triples = write_triples(cohort, folder)
        account, exclusions = gather_cohort(cohort, list(triples.values()), folder)
        singles = tables.read(cohort.files["singles"][0], "singles")
        rows = pd.concat([tables.read(path, "triples") for path in triples.values()])
        used = {(w, *d): trained(w, d, triples) for w in WRITERS for d in (["forward"], ["forward", "backward"])}

    assert (account.groupby("step")["kept"].nunique() == 1).all()
    kept = account.groupby("step")["kept"].first()
    dropped = account.groupby("step")["dropped"].sum()
    assert kept[LAST_OF_PAIR["singles"]] == len(singles)
    assert kept[LAST_OF_PAIR["pairs"]] == len(cohort.pairs)
    has_backward = (cohort.pairs["split"] == "train").any()
    for step, before in BEFORE.items():
        if "backward" in step and not has_backward:
            assert step not in kept
        else:
            assert kept[step] + dropped[step] == kept[before], step
    for unit, step in BY_SPLIT.items():
        assert sum(kept[f"{unit} in {split}: all"] for split in tables.SPLITS) == kept[step], unit

    for writer in WRITERS:
        forward = kept[f"triples by {writer} in train: all"]
        backward = kept.get(f"triples by {writer}, read backward: training pairs", 0)
        assert used[writer, "forward"] == forward
        if forward + backward:
            assert used[writer, "forward", "backward"] == forward + backward

    left_out = rows[~rows["accepted"]]
    is_forward = left_out["direction"] == "forward"
    at_its_description = left_out[~is_forward | (left_out["reason"] == NOT_VALID)]
    expected = {
        "single": sorted(singles.loc[~singles["dicom_id"].isin(cohort.with_picture), "dicom_id"]),
        "pair": sorted({*left_out.loc[is_forward & (left_out["reason"] != NOT_VALID), "pair_id"]}),
        "triple": sorted(at_its_description["pair_id"] + " " + at_its_description["writer"]),
    }
    in_gather = exclusions[exclusions["step"].isin(BEFORE)]
    for kind, ids in expected.items():
        assert sorted(in_gather.loc[in_gather["kind"] == kind, "id"]) == ids
    assert not exclusions.duplicated(["kind", "id"]).any()
    counted = exclusions.groupby(["step", "reason"]).size()
    for step, reason, count in account[account["dropped"] > 0][["step", "reason", "dropped"]].itertuples(index=False):
        if step in BEFORE:
            assert counted[step, reason] == count


def test_the_earlier_account_comes_first_and_the_paper_stands_beside_the_first_writer(tmp_path: Path) -> None:
    drawn = [Patient(split, [(0.0, "stored"), (5.0, "stored")]) for split in (*tables.SPLITS, "train", "train")]
    cohort = random_cohort.write(drawn, Random(0), tmp_path)
    triples = write_triples(cohort, tmp_path)
    account, exclusions = gather_cohort(cohort, list(triples.values()), tmp_path)
    earlier = tables.read(cohort.files["cohort"][0], "cohort")
    pd.testing.assert_frame_equal(account.iloc[: len(earlier)], earlier)
    earlier_exclusions = tables.read(cohort.files["exclusions"][0], "exclusions")
    pd.testing.assert_frame_equal(exclusions.iloc[: len(earlier_exclusions)], earlier_exclusions)
    later = account.iloc[len(earlier) :].set_index("step")
    paper = later["paper"].dropna().to_dict()
    assert paper == {f"triples by rules in {split}: all": count for split, count in PAPER_TRIPLES.items()}
    first_steps = list(dict.fromkeys(step.partition(" in ")[0].partition(":")[0] for step in later.index))
    assert first_steps == [
        "singles",
        "pairs",
        "triples by rules",
        "triples by rules, read backward",
        "triples by impression",
        "triples by impression, read backward",
    ]
