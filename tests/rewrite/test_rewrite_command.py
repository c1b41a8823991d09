"""``biomedjourney rewrite`` with its tables, its dry run, its audit sheet and its score."""

from pathlib import Path
from typing import Any

import fabricated
import pandas as pd
import pytest
from click.testing import CliRunner
from model_server import Reply, answer, running

from biomedjourney import tables
from biomedjourney.errors import UserError
from biomedjourney.rewrite import audit
from biomedjourney.rewrite.command import command

SAME = answer({"changes": [], "description": "no significant change"})


@pytest.fixture
def written(tmp_path: Path) -> list[str]:
    """The options that name the three tables, the first two written."""
    paths = fabricated.write(tmp_path)
    studies = tables.read(paths["studies"], "studies")
    edema = studies["edema"].map({1: "Pulmonary edema.", 0: "No edema."}).fillna("")
    studies["findings"] = "Film " + studies["study_id"].astype(str) + ". " + edema
    tables.write(paths["studies"], "studies", studies)
    return [f"--pairs={paths['pairs']}", f"--studies={paths['studies']}", f"--progressions={tmp_path / 'p.parquet'}"]


def run(options: list[str], *more: str, **overlay: Any) -> str:
    done = CliRunner().invoke(command, ["--config", fabricated.config_text(**overlay), *options, *more])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def openai(url: str, tmp_path: Path) -> dict[str, Any]:
    return {"writer": "openai", "largest_fallback_share": 0.1,
            "openai": {"base_url": url, "model": "fake", "cache": str(tmp_path / "cache")}}  # fmt: skip


@pytest.mark.parametrize("writer", ["rules", "impression"])
def test_one_valid_row_a_pair(writer: str, written: list[str], tmp_path: Path) -> None:
    assert "of 120 descriptions valid" in run(written, rewrite={"writer": writer})
    rows = tables.read(tmp_path / "p.parquet", "progressions")
    assert rows["pair_id"].is_unique
    assert set(rows["writer"]) == {writer}
    assert rows["model"].isna().all()
    assert {"check_schema", "check_sides", "check_direction"} <= set(rows)


def test_a_model_writes_and_a_dry_run_tells_what_is_left(written: list[str], tmp_path: Path) -> None:
    with running(lambda request: SAME) as server:
        chosen = openai(server.url, tmp_path)
        before = run(written, "--dry-run", rewrite=chosen)
        assert server.requests == []
        assert not (tmp_path / "p.parquet").exists()
        run(written, rewrite=chosen, phantom=None)
        asked = len(server.requests)
        assert asked == 120
        assert f"{asked} requests to 127.0.0.1" in before
        assert "0 requests" in run(written, "--dry-run", rewrite=chosen)
        run(written, rewrite=chosen, phantom=None)
        assert len(server.requests) == asked
    rows = tables.read(tmp_path / "p.parquet", "progressions")
    assert set(rows["model"]) == {"fake-2026-01-01"}
    assert rows["prompt_sha256"].str.len().eq(64).all()
    assert rows["fallback_reason"].isna().all()


def test_too_many_fall_backs_write_nothing(written: list[str], tmp_path: Path) -> None:
    with running(lambda request: Reply(400)) as server, pytest.raises(UserError, match="more than 10%"):
        run(written, rewrite=openai(server.url, tmp_path))
    assert not (tmp_path / "p.parquet").exists()


def test_real_data_stay_here_unless_the_configuration_says_phantom(written: list[str], tmp_path: Path) -> None:
    chosen = openai("http://8.8.8.8/v1", tmp_path)
    with pytest.raises(UserError, match=r"8\.8\.8\.8 is on a public network"):
        run(written, rewrite=chosen, phantom=None)


def test_the_audit_sheet_comes_back_with_a_score(written: list[str], tmp_path: Path) -> None:
    sheet = tmp_path / "audit.csv"
    run(written, rewrite={"writer": "rules"})
    assert "20 descriptions" in run(written, "--audit=20", f"--sheet={sheet}")
    rows = pd.read_csv(sheet, dtype=str, keep_default_na=False)
    assert len(rows) == 20
    assert rows["prior_report"].str.len().gt(0).all()
    with pytest.raises(UserError, match="no reader has filled in"):
        audit.score(sheet)
    rows["valid"] = ["True"] * 10 + ["False"] * 10
    rows["reader_1"] = ["yes"] * 8 + ["no"] * 2 + ["Yes"] * 1 + ["no"] * 9
    rows.to_csv(sheet, index=False)
    # agreement 17 of 20; by chance 0.5 * 0.45 + 0.5 * 0.55 = 0.5; (0.85 - 0.5) / 0.5 = 0.7
    assert "20 rows, agreement 85.0%, Cohen's kappa 0.70" in run([f"--score={sheet}"])
    rows["reader_2"] = "perhaps"
    rows.to_csv(sheet, index=False)
    with pytest.raises(UserError, match="row 2: reader_2 is 'perhaps'"):
        audit.score(sheet)
    rows["reader_2"], rows["reader_1"], rows["valid"] = "yes", "yes", "True"
    rows.to_csv(sheet, index=False)
    assert audit.score(sheet).count("undefined, both always say the same") == 3
