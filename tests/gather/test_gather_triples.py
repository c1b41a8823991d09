"""`gather triples`: every pair in one row per writer, accepted or with the reason why not."""

from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pandas as pd
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from biomedjourney import tables
from biomedjourney.cli import commands
from biomedjourney.errors import UserError
from biomedjourney.gather.triples import join
from biomedjourney.pair.directions import DIRECTIONS
from tests.helpers import random_cohort
from tests.helpers.random_cohort import WRITERS, Patient, RandomCohort

FOUR_PATIENTS = [
    Patient(split, [(0.0, "stored"), (5.0, "stored"), (9.0, "stored")])
    for split in ("train", "validation", "test", "train")
]


def joined(cohort: RandomCohort, writer: str, direction: str) -> pd.DataFrame:
    options = cohort.triples_options(writer, direction)
    return join(
        writer,
        direction,
        options["pairs"][0],
        options["pixels"],
        options["registrations"],
        options["progressions"][0],
        options["first-progressions"][0],
    )


@settings(max_examples=40, deadline=None, phases=random_cohort.PHASES)
@given(random_cohort.patients, st.randoms(use_true_random=False))
def test_every_pair_is_in_one_row_per_writer_accepted_or_with_a_reason(drawn: list[Patient], random: Random) -> None:
    with TemporaryDirectory() as folder:
        cohort = random_cohort.write(drawn, random, Path(folder))
        rows_of = {(w, d): tables.conform("triples", joined(cohort, w, d)) for w in WRITERS for d in DIRECTIONS}
    by_writer_and_direction = {key: rows.to_pandas() for key, rows in rows_of.items()}
    for (writer, direction), triples in by_writer_and_direction.items():
        pairs = cohort.pairs if direction == "forward" else cohort.pairs.query("split == 'train'")
        assert len(triples) == len(pairs)
        assert triples["pair_id"].is_monotonic_increasing
        assert triples["pair_id"].is_unique
        assert (triples["writer"] == writer).all()
        assert (triples["direction"] == direction).all()
        by_id = triples.set_index("pair_id")
        for pair in pairs.itertuples():
            studies, images = (pair.prior_study_id, pair.study_id), (pair.prior_dicom_id, pair.dicom_id)
            if direction == "backward":
                studies, images = studies[::-1], images[::-1]
            name = f"{studies[0]}-{studies[1]}"
            row = by_id.loc[name]
            assert (row["prior_study_id"], row["study_id"]) == studies
            assert (row["prior_dicom_id"], row["dicom_id"]) == images
            assert (row["subject_id"], row["split"]) == (pair.subject_id, pair.split)
            assert row["interval_days"] == pair.interval_days > 0
            assert row["description"] == f"{name} by {writer}"
            usable = set(images) <= cohort.with_picture and cohort.is_registered[name]
            assert row["accepted"] == (usable and cohort.is_valid[writer, name])
            assert (row["reason"] == "") == row["accepted"]
            compared = usable and cohort.is_valid[WRITERS[0], name] and pair.split != "train"
            assert row["compared"] == (compared and direction == "forward")
    first, other = (by_writer_and_direction[writer, "forward"] for writer in WRITERS)
    pd.testing.assert_series_equal(first["compared"], other["compared"])


@pytest.fixture
def cohort(tmp_path: Path) -> RandomCohort:
    return random_cohort.write(FOUR_PATIENTS, Random(0), tmp_path)


@pytest.mark.parametrize(
    ("prior_picture", "current_picture", "is_registered", "is_valid", "reason"),
    [
        ("stored", "stored", True, True, ""),
        ("refused", "not in the table", False, False, "the prior image has no picture"),
        ("stored", "refused", False, False, "the current image has no picture"),
        ("stored", "stored", False, False, "the registration is not accepted"),
        ("stored", "stored", True, False, "the description is not valid"),
    ],
)
def test_the_reason_is_the_first_condition_that_fails(
    prior_picture: str, current_picture: str, is_registered: bool, is_valid: bool, reason: str, tmp_path: Path
) -> None:
    cohort = random_cohort.write([Patient("test", [(0.0, prior_picture), (5.0, current_picture)])], Random(0), tmp_path)
    rewritten(cohort, "registrations/forward", "registrations", accepted=is_registered)
    rewritten(cohort, "progressions/rules/forward", "progressions", valid=is_valid)
    rewritten(cohort, "progressions/impression/forward", "progressions", valid=not is_valid)
    [row] = joined(cohort, "rules", "forward").to_dict("records")
    assert (row["reason"], row["accepted"], row["compared"]) == (reason, reason == "", reason == "")
    [other] = joined(cohort, "impression", "forward").to_dict("records")
    assert other["compared"] == row["compared"], "the first writer's validity decides, not this one's"


def rewritten(cohort: RandomCohort, key: str, name: str, **columns: object) -> None:
    for path in cohort.files[key]:
        tables.write(path, name, tables.read(path, name).assign(**columns))


def gather_triples(cohort: RandomCohort, writer: str, direction: str, out: Path, **other: list[Path]) -> Result:
    words = ["gather", "triples", "--writer", writer, "--direction", direction, "--out", str(out)]
    for name, paths in (cohort.triples_options(writer, direction) | other).items():
        words += [word for path in paths for word in (f"--{name}", str(path))]
    return CliRunner().invoke(commands, words)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_command_writes_the_table(cohort: RandomCohort, direction: str, tmp_path: Path) -> None:
    out = tmp_path / "new" / "triples.parquet"
    result = gather_triples(cohort, "impression", direction, out)
    assert result.exit_code == 0, result.output
    written = tables.read(out, "triples")
    expected = tables.conform("triples", joined(cohort, "impression", direction)).to_pandas()
    pd.testing.assert_frame_equal(written, expected)
    assert f"{len(written)} triples, {written['accepted'].sum()} accepted" in result.output


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("registrations", "have no registration: run register on these pairs"),
        ("progressions", "have no description in {path}: run rewrite on these pairs"),
    ],
)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_pair_that_a_step_has_not_seen_is_named_with_the_step(
    table: str, expected: str, direction: str, cohort: RandomCohort, tmp_path: Path
) -> None:
    [*_, path] = cohort.triples_options("impression", direction)[table]
    rows = tables.read(path, table).sort_values("pair_id")
    tables.write(path, table, rows.iloc[1:-1])
    error = gather_triples(cohort, "impression", direction, tmp_path / "out.parquet").exception
    assert isinstance(error, UserError)
    assert str(error) == f"pair {rows['pair_id'].iloc[0]} and 1 more {expected.format(path=path)}"
    assert not (tmp_path / "out.parquet").exists()


def test_a_pair_that_the_first_writer_has_not_described_is_named(cohort: RandomCohort, tmp_path: Path) -> None:
    [path] = cohort.files["progressions/rules/forward"]
    rows = tables.read(path, "progressions").sort_values("pair_id")
    tables.write(path, "progressions", rows.iloc[1:])
    error = gather_triples(cohort, "impression", "forward", tmp_path / "out.parquet").exception
    assert isinstance(error, UserError)
    assert f"pair {rows['pair_id'].iloc[0]} and 0 more have no description in {path}: run rewrite" in str(error)


def test_the_progressions_of_another_writer_are_refused(cohort: RandomCohort, tmp_path: Path) -> None:
    other = {"progressions": cohort.files["progressions/rules/forward"]}
    error = gather_triples(cohort, "impression", "forward", tmp_path / "out.parquet", **other).exception
    assert isinstance(error, UserError)
    assert "holds another writer than impression: give the progressions of impression" in str(error)
    assert str(other["progressions"][0]) in str(error)
