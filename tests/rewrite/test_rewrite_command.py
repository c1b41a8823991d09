"""``biomedjourney rewrite`` with its tables, its dry run, its audit sheet and its score."""

from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from biomedjourney import tables
from biomedjourney.errors import UserError
from biomedjourney.rewrite import audit, prompt
from biomedjourney.rewrite.command import command
from biomedjourney.rewrite.rules import VERBS
from tests.helpers import fabricated
from tests.helpers.model_server import Reply, answer, running

NOTHING_SAID = answer({"changes": [], "description": "frontal view of the chest"})
PAIRS, TRAINING_PAIRS = 120, 30


@pytest.fixture
def inputs(tmp_path: Path) -> list[str]:
    """The options that name the tables `pairs` and `studies`. Each report names its study and compares with a film."""
    paths = fabricated.write(tmp_path)
    studies = tables.read(paths["studies"], "studies")
    edema = studies["edema"].map({1: "Worsening pulmonary edema since the last film.", 0: "No edema."}).fillna("")
    studies["findings"] = "Film " + studies["study_id"].astype(str) + ". " + edema
    tables.write(paths["studies"], "studies", studies)
    return [f"--pairs={paths['pairs']}", f"--studies={paths['studies']}"]


def invoke(writer: str, options: list[str], *more: str, **overlay: Any) -> Result:
    config = fabricated.config_text(**overlay)
    return CliRunner().invoke(command, [f"--config={config}", f"--writer={writer}", *options, *more])


def run(writer: str, options: list[str], *more: str, **overlay: Any) -> str:
    result = invoke(writer, options, *more, **overlay)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def openai(url: str, tmp_path: Path) -> dict[str, Any]:
    quick = {"requests_per_minute": 1e6, "tokens_per_minute": 1e9}
    return {"largest_fallback_share": 0.1,
            "openai": {"base_url": url, "model": "fake", "cache": str(tmp_path / "cache"), **quick}}  # fmt: skip


def test_several_writers_have_one_row_per_pair_each_in_its_own_file(inputs: list[str], tmp_path: Path) -> None:
    for writer in ("rules", "impression"):
        output = run(writer, inputs, f"--progressions={tmp_path / writer}.parquet")
        assert f"{PAIRS} of {PAIRS} descriptions valid" in output
    for writer in ("rules", "impression"):
        rows = tables.read(tmp_path / f"{writer}.parquet", "progressions")
        assert len(rows) == PAIRS
        assert rows["pair_id"].is_unique
        assert set(rows["writer"]) == {writer}
        assert rows["model"].isna().all()
        assert rows["valid"].all()
        assert {"check_schema", "check_sides", "check_direction"} <= set(rows)


def test_the_list_of_writers_is_not_read(inputs: list[str], tmp_path: Path) -> None:
    run("impression", inputs, f"--progressions={tmp_path / 'p.parquet'}", rewrite={"writers": ["rules"]})
    assert set(tables.read(tmp_path / "p.parquet", "progressions")["writer"]) == {"impression"}


@pytest.mark.parametrize("writer", ["rules", "impression"])
def test_backward_are_the_training_pairs_alone_with_their_studies_turned(
    writer: str, inputs: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "backward.parquet"
    run(writer, inputs, "--direction=backward", f"--progressions={path}")
    rows = tables.read(path, "progressions").set_index("pair_id")
    pairs = tables.read(tmp_path / "pairs.parquet", "pairs")
    pairs = pairs[pairs["split"] == "train"]
    assert len(pairs) == TRAINING_PAIRS
    assert set(rows.index) == {f"{p.study_id}-{p.prior_study_id}" for p in pairs.itertuples()}
    findings = tables.read(tmp_path / "studies.parquet", "studies").set_index("study_id")["findings"]
    kinds: Counter[str] = Counter()
    for pair in pairs.itertuples():
        description = rows.loc[f"{pair.study_id}-{pair.prior_study_id}", "description"]
        earlier, later = findings[pair.prior_study_id], findings[pair.study_id]
        if writer == "impression":
            assert description == " ".join(earlier.split())
        elif "edema" in earlier and "edema" in later:
            appears = "Worsening" in earlier and "No edema" in later
            assert ("new pulmonary edema" in description) == appears
            # the later report's "worsening" is an improvement on the way back; the earlier report's says nothing
            improves = "Worsening" in later and "Worsening" in earlier
            assert not improves or description in {f"{verb} pulmonary edema" for verb in VERBS["improved"]}
            kinds["appears"] += appears
            kinds["improves"] += improves
    assert writer == "impression" or min(kinds["appears"], kinds["improves"]) > 2
    assert rows["valid"].all()


def test_no_training_pairs_give_an_empty_table(inputs: list[str], tmp_path: Path) -> None:
    pairs = tables.read(tmp_path / "pairs.parquet", "pairs")
    tables.write(tmp_path / "pairs.parquet", "pairs", pairs[pairs["split"] == "test"])
    output = run("rules", inputs, "--direction=backward", f"--progressions={tmp_path / 'p.parquet'}")
    assert "0 of 0 descriptions valid" in output
    assert tables.read(tmp_path / "p.parquet", "progressions").empty


def test_what_is_missing_on_the_command_line_is_named(inputs: list[str], tmp_path: Path) -> None:
    assert "Missing option '--writer'" in CliRunner().invoke(command, inputs).output
    for missing, more in {"--progressions": [], "--sheet": ["--audit=5", "--progressions=p.parquet"]}.items():
        result = invoke("rules", inputs, *more)
        assert result.exit_code == 2
        assert f"Missing option '{missing}'" in result.output
    assert "'gpt' is not one of 'rules', 'impression', 'openai'" in invoke("gpt", inputs).output


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_a_model_writes_and_a_dry_run_says_what_is_not_answered_yet(
    direction: str, inputs: list[str], tmp_path: Path
) -> None:
    options = [*inputs, f"--direction={direction}"]
    output = f"--progressions={tmp_path / 'p.parquet'}"
    count = {"forward": PAIRS, "backward": TRAINING_PAIRS}[direction]
    with running(lambda request: NOTHING_SAID) as server:
        settings = openai(server.url, tmp_path)
        plan = run("openai", options, "--dry-run", rewrite=settings)
        assert server.requests == []
        assert f"{count} requests to 127.0.0.1" in plan
        run("openai", options, output, rewrite=settings, phantom=None)
        assert len(server.requests) == count
        first_title = {"forward": "PRIOR REPORT", "backward": "EARLIER REPORT"}[direction]
        assert all(r.body["messages"][-1]["content"].startswith(first_title) for r in server.requests)
        assert "0 requests" in run("openai", options, "--dry-run", rewrite=settings)
        run("openai", options, output, rewrite=settings, phantom=None)
        assert len(server.requests) == count
    rows = tables.read(tmp_path / "p.parquet", "progressions")
    assert set(rows["writer"]) == {"openai"}
    assert set(rows["model"]) == {"fake-2026-01-01"}
    assert set(rows["prompt_sha256"]) == {prompt.load(direction).sha256}
    assert rows["fallback_reason"].isna().all()


def test_a_dry_run_of_a_writer_that_sends_nothing_says_so(inputs: list[str]) -> None:
    assert f"{PAIRS} pairs, the writer rules sends nothing" in run("rules", inputs, "--dry-run")


def test_too_many_fallbacks_write_nothing(inputs: list[str], tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    with running(lambda request: Reply(400)) as server, pytest.raises(UserError, match=r"more than 10\.0%"):
        run("openai", inputs, f"--progressions={path}", rewrite=openai(server.url, tmp_path))
    assert not path.exists()


def test_real_reports_are_not_sent_away_unless_the_configuration_draws_the_phantom(
    inputs: list[str], tmp_path: Path
) -> None:
    settings = openai("http://8.8.8.8/v1", tmp_path)
    with pytest.raises(UserError, match=r"8\.8\.8\.8 is on a public network"):
        run("openai", inputs, f"--progressions={tmp_path / 'p.parquet'}", rewrite=settings, phantom=None)


def test_the_audit_takes_the_rows_of_its_writer_and_direction(inputs: list[str], tmp_path: Path) -> None:
    parts = []
    for writer, direction in (("rules", "forward"), ("rules", "backward"), ("impression", "forward")):
        path = tmp_path / f"{writer}-{direction}.parquet"
        run(writer, inputs, f"--direction={direction}", f"--progressions={path}")
        parts.append(tables.read(path, "progressions"))
    gathered, sheet = tmp_path / "progressions.parquet", tmp_path / "audit.csv"
    tables.write(gathered, "progressions", pd.concat(parts))
    options = [*inputs, f"--progressions={gathered}", f"--sheet={sheet}", "--audit=999"]
    assert f"{PAIRS} descriptions" in run("impression", options)
    rows = pd.read_csv(sheet, dtype=str, keep_default_na=False)
    assert rows["description"].str.startswith("Film ").all()
    assert f"{TRAINING_PAIRS} descriptions" in run("rules", options, "--direction=backward")
    rows = pd.read_csv(sheet, dtype=str, keep_default_na=False)
    study_ids = rows["pair_id"].str.split("-", expand=True)
    for column, ids in {"prior_report": study_ids[0], "current_report": study_ids[1]}.items():
        assert (rows[column].str.extract(r"Film (\d+)\.")[0] == ids).all()
    with pytest.raises(UserError, match="no row of the writer 'openai' for a pair read forward"):
        run("openai", options)


def test_the_audit_sheet_comes_back_with_a_score(inputs: list[str], tmp_path: Path) -> None:
    sheet, progressions = tmp_path / "audit.csv", f"--progressions={tmp_path / 'p.parquet'}"
    run("rules", inputs, progressions)
    assert "20 descriptions" in run("rules", inputs, progressions, "--audit=20", f"--sheet={sheet}")
    rows = pd.read_csv(sheet, dtype=str, keep_default_na=False)
    assert len(rows) == 20
    assert rows["prior_report"].str.len().gt(0).all()
    with pytest.raises(UserError, match="no reader has filled in"):
        audit.score(sheet)
    rows["valid"] = ["True"] * 10 + ["False"] * 10
    rows["reader_1"] = ["yes"] * 8 + ["no"] * 2 + ["Yes"] * 1 + ["no"] * 9
    rows.to_csv(sheet, index=False)
    # agreement 17 of 20; by chance 0.5 * 0.45 + 0.5 * 0.55 = 0.5; (0.85 - 0.5) / 0.5 = 0.7
    assert "20 rows, agreement 85.0%, Cohen's kappa 0.70" in run("rules", [f"--score={sheet}"])
    rows["reader_2"] = "perhaps"
    rows.to_csv(sheet, index=False)
    with pytest.raises(UserError, match="row 2: reader_2 is 'perhaps'"):
        audit.score(sheet)
    rows["reader_2"], rows["reader_1"], rows["valid"] = "yes", "yes", "True"
    rows.to_csv(sheet, index=False)
    assert audit.score(sheet).count("undefined, both always say the same") == 3
