"""The second set of judges: the same pictures scored again, and how far both sets agree on the order of the systems."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from scipy.stats import kendalltau

import biomedjourney.pretrain
from biomedjourney import tables
from biomedjourney.cli import commands
from biomedjourney.errors import UserError
from biomedjourney.measures import MAIN, RANKING
from biomedjourney.report import orders
from tests.helpers import evaluation, fabricated


class Contrary(fabricated.Judges):
    """Judges that agree with the first ones on race and age, and call every finding absent that those call present."""

    def pathology(self, pictures: np.ndarray) -> np.ndarray:
        return 1.0 - super().pathology(pictures)


class Hazy(fabricated.Judges):
    """Judges whose pathology classifier hardly sees the pictures."""

    def pathology(self, pictures: np.ndarray) -> np.ndarray:
        rng = np.random.default_rng(0)
        return 0.4 * super().pathology(pictures) + rng.uniform(0, 0.6, (len(pictures), len(self.labels)))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The fabricated tables, and those that `evaluate systems` makes of the first judges' scores."""
    folder = tmp_path_factory.mktemp("tables")
    paths = fabricated.write(folder)
    scores = evaluation.score_all(paths, tmp_path_factory.mktemp("scores"))
    result = evaluation.measure(paths, scores, folder, "--truth", str(paths["truth"]))
    assert result.exit_code == 0, result.output
    return paths | {name: folder / f"{name}.parquet" for name in evaluation.OUTPUTS}


def score_again(inputs: dict[str, Path], judges: fabricated.Judges, folder: Path) -> list[Path]:
    """The table `second_scores` of each system."""
    files = []
    for system in fabricated.SYSTEMS:
        files.append(folder / f"{system}.parquet")
        words = ["evaluate", "second-scores", "--config", fabricated.config_text(), "--system", system]
        words += ["--judges", "judges", "--triples", str(inputs["triples"]), "--scores", str(files[-1])]
        words += ["--generated", str(inputs[f"generated/{system}"])]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(biomedjourney.pretrain, "load_judges", lambda folder: judges)
            result = CliRunner().invoke(commands, words)
        assert result.exit_code == 0, result.exception
    return files


def compare(inputs: dict[str, Path], files: list[Path], out: Path) -> Result:
    words = ["evaluate", "judges", "--config", fabricated.config_text(**evaluation.SETTINGS), "--judges", str(out)]
    for name in ("triples", "studies", "patients", "truth", "systems"):
        words += [f"--{name}", str(inputs[name])]
    for file in files:
        words += ["--scores", str(file)]
    return CliRunner().invoke(commands, words)


def judged(inputs: dict[str, Path], judges: fabricated.Judges, folder: Path) -> dict[str, pd.DataFrame]:
    """The table `judges`, split by the set of judges, by system."""
    result = compare(inputs, score_again(inputs, judges, folder), folder / "judges.parquet")
    assert result.exit_code == 0, result.exception
    table = tables.read(folder / "judges.parquet", "judges")
    assert list(table["system"]) == [system for system in fabricated.SYSTEMS for _ in range(2)]
    assert list(table["judges"]) == ["first", "second"] * len(fabricated.SYSTEMS)
    return {str(name): rows.set_index("system") for name, rows in table.groupby("judges")}


def test_the_same_judges_say_the_same_and_agree_on_every_rank(inputs: dict[str, Path], tmp_path: Path) -> None:
    sets = judged(inputs, fabricated.Judges(), tmp_path)
    systems = tables.read(inputs["systems"], "systems").set_index("system")
    names = ["n", *(f"{measure.name}{end}" for measure in MAIN for end in ("", "_low", "_high"))]
    pd.testing.assert_frame_equal(sets["first"][names], systems[names])
    pd.testing.assert_frame_equal(sets["second"][names], systems[names])
    for measure in RANKING:
        values = systems[measure.name]
        expected = [1 + (values > value).sum() for value in values]  # equal ones share the better rank
        for rows in sets.values():
            assert list(rows[f"{measure.name}_rank"]) == expected
            assert rows[f"{measure.name}_agreement"].to_numpy() == pytest.approx(1.0)


def test_scores_are_those_of_the_first_table_without_what_is_compared(inputs: dict[str, Path], tmp_path: Path) -> None:
    again = pd.concat([tables.read(file, "second_scores") for file in score_again(inputs, Contrary(), tmp_path)])
    key = ["system", "training_seed", "seed", "pair_id"]
    again, first = again.set_index(key), tables.read(inputs["scores"], "scores").set_index(key)
    assert set(again.columns) <= set(first.columns)
    assert not {"ssim_unchanged", "features", "prior_pathology_edema"} & set(again.columns)
    for name in again.columns:
        expected = 1 - first[name] if name.startswith("pathology_") else first[name]
        np.testing.assert_allclose(again[name], expected.loc[again.index], atol=1e-6)


def test_judges_that_say_the_contrary_turn_the_order_round(inputs: dict[str, Path], tmp_path: Path) -> None:
    sets = judged(inputs, Contrary(), tmp_path)
    last = len(fabricated.SYSTEMS) + 1
    assert (sets["first"]["change_auc_rank"] + sets["second"]["change_auc_rank"] == last).all()
    assert sets["second"]["change_auc"].to_numpy() == pytest.approx(1 - sets["first"]["change_auc"].to_numpy())
    assert sets["first"]["change_auc_agreement"].to_numpy() == pytest.approx(-1.0)
    assert sets["second"]["race_auc"].equals(sets["first"]["race_auc"])


def test_the_sentence_of_the_report_names_who_changes_places(inputs: dict[str, Path], tmp_path: Path) -> None:
    sets = judged(inputs, Hazy(), tmp_path)
    table = tables.read(tmp_path / "judges.parquet", "judges")
    for measure in RANKING:
        one, other = (sets[name][measure.name] for name in ("first", "second"))
        tau = kendalltau(one, other).statistic
        assert sets["second"][f"{measure.name}_agreement"].to_numpy() == pytest.approx(tau)
        names = fabricated.SYSTEMS
        swapped = [
            f"{a} and {b}"
            for i, a in enumerate(names)
            for b in names[i + 1 :]
            if (one[a] - one[b]) * (other[a] - other[b]) < 0
        ]
        said = orders.compare(table, measure)
        assert said.startswith(f"By {measure.title} ")
        assert f"(Kendall's tau {tau:.2f})" in said
        if swapped:
            assert f" {len(swapped)} of 15 pairs of systems change places " in said
            assert said.endswith(f": {', '.join(swapped)}.")
        else:
            assert " no pair of systems changes places " in said
    assert (table["change_auc_agreement"] < 1).all(), "the case that has something to name"


def test_a_measure_without_values_has_no_order(inputs: dict[str, Path], tmp_path: Path) -> None:
    rows: dict[str, Any] = {"system": ["a", "a", "b", "b"], "judges": ["first", "second"] * 2}
    rows |= {"cmig": [0.8, 0.7, np.nan, 0.6], "cmig_agreement": np.nan}
    measure = next(measure for measure in RANKING if measure.name == "cmig")
    assert orders.compare(pd.DataFrame(rows), measure) == "By CMIG there are not two systems to order."


def test_both_sets_judge_the_same_systems(inputs: dict[str, Path], tmp_path: Path) -> None:
    files = score_again(inputs, fabricated.Judges(), tmp_path)
    result = compare(inputs, files[1:], tmp_path / "judges.parquet")
    assert isinstance(result.exception, UserError)
    assert "the system 'biomedjourney' is judged by one set of judges alone" in str(result.exception)
    assert not (tmp_path / "judges.parquet").exists()
