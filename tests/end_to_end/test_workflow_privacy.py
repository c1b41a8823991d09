"""What a run on patients' data leaves behind when steps fail in ways that nobody foresaw."""

import os
import re
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from biomedjourney import tables
from tests.helpers.workflow_runs import KEYS, SMOKE, snakemake

pytestmark = pytest.mark.workflow

# An error that quotes the reports and a key.
FAULTS = """
import os, sys
if sys.argv[0].endswith("biomedjourney"):
    from biomedjourney.rewrite import writers

    def compose(prior, current, **_):
        raise ValueError(f"cannot read {current.findings} {current.impression} {os.environ['OPENAI_API_KEY']}")

    writers.describe = compose
"""


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the phantom's files stand for those of patients, and the descriptions could not be written."""
    folder, code = tmp_path_factory.mktemp("failed"), tmp_path_factory.mktemp("code")
    phantom = "{seed: 0, phantom: {patients: 20, image_size: 64, organ_masks: 1}}"
    draw = ["biomedjourney", "phantom", "--config", phantom, "--truth", "truth.parquet", "--organs", "organs.parquet"]
    subprocess.run(draw, cwd=folder, check=True, capture_output=True)
    (code / "sitecustomize.py").write_text(FAULTS)
    (folder / "mine.yaml").write_text("readers: null\nphantom: null\n")
    environment = dict(os.environ) | KEYS
    environment["PYTHONPATH"] = os.pathsep.join([str(code), environment.get("PYTHONPATH", "")])
    before = os.umask(0o022)
    try:
        target = "results/progressions/rules/forward.parquet"
        words = ("--cores", "2", "--configfile", str(SMOKE), "mine.yaml")
        result = snakemake(folder, target, *words, environment=environment)
    finally:
        os.umask(before)
    assert result.returncode != 0
    (folder / "said.txt").write_text(result.stdout)
    return folder


def test_the_error_is_told_by_its_type_and_place(failed: Path) -> None:
    said = (failed / "said.txt").read_text()
    assert "error: unexpected ValueError in rewrite/writers.py, line " in said
    assert "logs/rewrite/rules/forward.log: error: unexpected ValueError" in said
    log = (failed / "logs" / "rewrite" / "rules" / "forward.log").read_text()
    assert re.search(r'sitecustomize\.py", line \d+, in compose\n', log)


def test_neither_a_report_nor_a_key_is_left_behind(failed: Path) -> None:
    studies = tables.read(failed / "results" / "tables" / "studies.parquet", "studies")
    texts = pd.concat([studies["findings"], studies["impression"]])
    sentences = {line.strip() for text in texts for line in re.split(r"[.\n]", text) if len(line.strip()) > 20}
    assert len(sentences) > 50
    files = [file for file in failed.rglob("*") if file.is_file() and file.suffix not in (".parquet", ".zip")]
    files = [file for file in files if "resources" not in file.relative_to(failed).parts]
    assert len(files) > 20
    for file in files:
        said = " ".join(file.read_text(errors="replace").split())
        assert not [text for text in (*sentences, *KEYS.values()) if text in said], file


def test_nobody_else_can_read_it(failed: Path) -> None:
    folders = [failed / name for name in ("results", "logs", "benchmarks", ".snakemake")]
    written = folders + [file for folder in folders[:-1] for file in folder.rglob("*")]
    assert len([file for file in written if file.is_file()]) > 10
    assert [file for file in written if file.stat().st_mode & 0o077] == []
