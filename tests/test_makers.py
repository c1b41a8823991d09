"""The rule that a message about a damaged file names is the one that makes the file."""

import re
from pathlib import Path

import pytest

from biomedjourney import makers
from tests.helpers import REPOSITORY
from tests.helpers.workflow_runs import SMOKE, TABLES, snakemake

RULES = "\n".join(path.read_text() for path in (REPOSITORY / "workflow" / "rules").glob("*.smk"))


@pytest.mark.workflow
@pytest.mark.parametrize("overlay", [SMOKE, TABLES], ids=["smoke", "tables"])
def test_every_output_of_the_workflow_has_its_rule(overlay: Path, tmp_path: Path) -> None:
    """``--summary`` lists each output: file, date, rule, ..."""
    said = snakemake(tmp_path, "--cores", "1", "--configfile", str(overlay), "--summary").stdout
    rows = re.findall(r"^(results/\S+)\t[^\t]*\t(\w+)\t", said, re.MULTILINE)
    assert len(rows) > 60, said
    for path, rule in rows:
        assert rule in (makers.rule_of(path) or "").split(" or "), path


def test_every_rule_that_is_named_exists() -> None:
    for names in makers.RULES.values():
        for rule in names.split(" or "):
            assert re.search(rf"\brule (\w+ as )?{rule}\b", RULES), rule


def test_what_to_delete_is_the_file_or_the_whole_model() -> None:
    assert makers.again("results/pixels/0.parquet") == (
        "delete it and run Snakemake as before: its rule preprocess_images makes it again"
    )
    for path in ("/a/results/models/judges/race/weights.pt", "/a/results/models/judges/checksums.sha256"):
        assert makers.again(path).startswith("delete /a/results/models/judges and run Snakemake")
    assert makers.again("/a/results/models/judges").startswith("delete it and")
    assert "the command that wrote it" in makers.again("/elsewhere/pixels/0.parquet")
    assert makers.rule_of("results") is None
