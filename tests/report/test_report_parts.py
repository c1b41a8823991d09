import numpy as np
import pandas as pd
import pytest

from biomedjourney import pixels, tables
from biomedjourney.report import charts, claims, examples, registration
from biomedjourney.report.text import percent
from biomedjourney.tables import MEASURES


def systems(**rows: tuple[float, float, float, float]) -> pd.DataFrame:
    """Rows of P, R, A, CMIG with intervals of 0.05 either side."""
    result = []
    for name, values in rows.items():
        row: dict = {"system": name.replace("_", "-")}
        for measure, value in zip(MEASURES, values, strict=True):
            row |= {measure: value, f"{measure}_low": value - 0.05, f"{measure}_high": value + 0.05}
        result.append(row)
    return pd.DataFrame(result)


def verdicts(table: pd.DataFrame) -> dict[str, bool | None]:
    return {claim.text: claim.holds for claim in claims.claims(table)}


def test_claims_hold_or_not_as_the_table_says() -> None:
    found = verdicts(
        systems(
            biomedjourney=(0.90, 0.88, 0.80, 0.87),
            text_only=(0.91, 0.50, 0.72, 0.30),
            copy_prior=(0.78, 1.00, 0.95, 0.85),
            real_follow_up=(0.99, 1.00, 0.95, 0.98),
            untrained=(0.52, 0.70, 0.00, 0.10),
        )
    )
    assert found["biomedjourney is above text-only on race AUC, with intervals apart"] is True
    assert found["biomedjourney is above text-only on age r, with intervals apart"] is False
    assert found["biomedjourney is not below text-only on pathology AUC"] is False
    assert found["biomedjourney is at least 10 points above copy-prior on pathology AUC"] is True
    assert found["biomedjourney is above copy-prior on CMIG, with intervals apart"] is False
    assert found["biomedjourney reaches 85 % of the CMIG of real-follow-up"] is True
    assert found["real-follow-up is the upper bound: nothing has a higher CMIG"] is True
    chance = {text: holds for text, holds in found.items() if "near chance" in text}
    assert list(chance.values()) == [True, False, True]


def test_claims_are_made_of_what_is_there() -> None:
    assert claims.claims(systems(untrained=(0.5, 0.5, 0.0, 0.0))) == []
    assert verdicts(systems(biomedjourney=(0.9, 0.9, 0.8, 0.8))) == {}
    undefined = verdicts(systems(biomedjourney=(0.9, np.nan, 0.8, np.nan), text_only=(0.8, 0.5, 0.1, 0.3)))
    assert undefined["biomedjourney is above text-only on race AUC, with intervals apart"] is None


@pytest.fixture
def cohort() -> tuple[pd.DataFrame, pd.DataFrame, pd.Series]:
    rng = np.random.default_rng(0)
    studies = pd.DataFrame({"study_id": range(60), "edema": rng.integers(0, 2, 60), "fracture": rng.integers(0, 2, 60)})
    pairs = pd.DataFrame({"prior_study_id": range(0, 60, 2), "study_id": range(1, 60, 2)})
    pairs["pair_id"] = pairs["prior_study_id"].astype(str) + "-" + pairs["study_id"].astype(str)
    pairs["prior_dicom_id"], pairs["dicom_id"] = pairs["prior_study_id"].astype(str), pairs["study_id"].astype(str)
    return pairs, studies, pd.Series("text", index=pairs["pair_id"])


def test_examples_are_spread_over_the_changes(cohort: tuple) -> None:
    pairs, studies, described = cohort
    picked = examples.pick(pairs, studies, described, ["edema", "fracture"], 4)
    assert [e.change for e in picked] == ["new edema", "new fracture", "resolved edema", "resolved fracture"]
    labels = studies.set_index("study_id")
    for example in picked:
        kind, finding = example.change.split()
        before, after = (labels.loc[int(dicom), finding] for dicom in (example.prior_dicom_id, example.dicom_id))
        assert (before, after) == ((0, 1) if kind == "new" else (1, 0))


def test_examples_do_not_depend_on_the_order_and_are_never_repeated(cohort: tuple) -> None:
    pairs, studies, described = cohort
    picked = examples.pick(pairs, studies, described, ["edema"], 12)
    again = examples.pick(pairs.sample(frac=1, random_state=1), studies, described, ["edema"], 12)
    assert picked == again
    assert len({e.pair_id for e in picked}) == 12
    assert len(examples.pick(pairs, studies, described, ["edema"], 99)) == len(pairs)


def test_the_configured_writer_comes_first_and_invalid_rows_never() -> None:
    table = pd.DataFrame(
        {
            "pair_id": ["a", "a", "b", "b", "c"],
            "writer": ["impression", "rules", "impression", "rules", "rules"],
            "valid": [True, True, True, False, False],
            "description": ["ai", "ar", "bi", "br", "cr"],
        }
    )
    assert examples.descriptions(table, "rules").to_dict() == {"a": "ar", "b": "bi"}


def test_a_checkerboard_takes_both_pictures_in_turn() -> None:
    board = charts.checkerboard(np.zeros((12, 12)), np.ones((12, 12)), tiles=2)
    np.testing.assert_array_equal(board[[0, 0, 6, 6], [0, 6, 0, 6]], [0, 1, 1, 0])


def test_the_grid_copes_with_pictures_that_do_not_differ() -> None:
    same = np.full((16, 16), 0.5)
    for covered in (same > 0, same > 1):
        assert charts.png(charts.grid([charts.Row(same, covered, "no change", same, same)])).startswith(b"\x89PNG")


@pytest.mark.parametrize(("value", "shown"), [(0.80544, "80.54"), (None, "–"), (float("nan"), "–"), (1.0, "100.00")])
def test_percent(value: float | None, shown: str) -> None:
    assert percent(value) == shown


def registered_tables(folder, scores: list[float | None]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Pairs with these scores after registration, and their pictures in two tables; of the first, no prior."""
    ids = [f"p{i}" for i in range(len(scores))]
    pairs = pd.DataFrame({"pair_id": ids, "prior_dicom_id": [f"{i}-old" for i in ids], "dicom_id": ids})
    found = pd.DataFrame({"pair_id": ids, "score_before": 0.1, "score_after": scores, "accepted": False})
    png = pixels.encode_png(np.linspace(0, 1, 64).reshape(8, 8))
    plain = {"inverted": False, "to_original": None, "reason": ""}
    films = [{"dicom_id": name, "png": png, **plain} for name in [*pairs["prior_dicom_id"], *ids]]
    tables.write_stream(folder / "pixels.parquet", "pixels", [films])
    mask = pixels.encode_png(np.eye(8))
    moved = [{"pair_id": name, "png": png if name != "p0" else None, "coverage": mask} for name in ids]
    tables.write_stream(folder / "registered.parquet", "registered", [moved])
    return found, pairs


def test_the_pairs_that_fit_worst_and_best_are_shown(tmp_path) -> None:
    found, pairs = registered_tables(tmp_path, [0.1, 0.9, 0.3, None, 0.5, 0.6, 0.2, 0.8, 0.7])
    chosen = registration.extremes(found, pairs)
    assert list(chosen["score_after"]) == [0.1, 0.2, 0.3, 0.7, 0.8, 0.9]
    shown = registration.read(chosen, [tmp_path / "pixels.parquet"], [tmp_path / "registered.parquet"])
    assert [row.caption.splitlines()[0] for row in shown] == [f"0.10 → {s:.2f}" for s in (0.2, 0.3, 0.7, 0.8, 0.9)]
    assert shown[0].covered.sum() == 8
    drawn = registration.grid(shown)
    assert len(drawn.axes) == 5 * len(registration.TITLES)
    assert [axis.get_title("center") for axis in drawn.axes[:6]] == list(registration.TITLES)


def test_few_pairs_are_shown_once(tmp_path) -> None:
    found, pairs = registered_tables(tmp_path, [0.1, 0.9, 0.3, 0.5])
    assert list(registration.extremes(found, pairs)["score_after"]) == [0.1, 0.3, 0.5, 0.9]


def test_the_flow_chart_shows_every_count_and_reason_of_the_cohort() -> None:
    steps = [
        ("races: known", 3, 1, "no admission in MIMIC-IV"),
        ("images: in the metadata", 1234, 0, ""),
        ("studies: in the metadata", 900, 0, ""),
        ("images: with a report", 1200, 34, "the study has no report"),
        ("studies: with a report", 890, 10, "no report"),
        ("singles: one image and text a study", 890, 0, ""),
        ("pairs: a study and the one before it", 400, 490, "first study of its patient"),
        ("pairs in train: all", 300, 0, ""),
        ("pairs in test: all", 100, 0, ""),
    ]
    rows = pd.DataFrame(steps, columns=["step", "kept", "dropped", "reason"]).assign(paper=None)
    rows["paper"] = rows["paper"].astype("Int64")
    rows.loc[7, "paper"] = 9354
    drawn = charts.flow(rows)
    said = " ".join(" ".join(text.get_text().split()) for text in drawn.axes[0].texts)
    for part in ("1,234", "− 34 the study has no report", "− 10 no report", "− 490 first", "300 (paper: 9,354)", "100"):
        assert part in said
    assert "races" not in said
    assert charts.png(drawn)[:4] == b"\x89PNG"
