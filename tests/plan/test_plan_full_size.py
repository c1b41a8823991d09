"""Raw tables of MIMIC-CXR's true size: the plan of paper.yaml, and Snakemake's graph of its jobs."""

import re
import resource
import subprocess
from pathlib import Path

import pytest
import yaml

from bench import full_size
from biomedjourney import config
from biomedjourney.plan.counts import MIMIC
from tests.helpers import REPOSITORY
from tests.helpers.workflow_runs import PAPER, paper_files, snakemake

pytestmark = [pytest.mark.workflow, pytest.mark.full_size]


def core_seconds() -> float:
    """Of all processes that this one has waited for; unlike the clock it does not count other people's work."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_a_run_of_true_size_is_planned_in_half_a_minute_and_its_graph_is_built_in_ten_seconds(tmp_path: Path) -> None:
    full_size.write(tmp_path)
    mine = paper_files(tmp_path)
    data = {
        "images": "mimic-cxr-jpg",
        "reports": "mimic-cxr/mimic-cxr-reports.zip",
        "demographics": "mimic-iv/hosp",
    }
    mine.write_text(yaml.safe_dump(config.read(mine) | {"data": data}))
    sources = [REPOSITORY / "config.yaml", PAPER, mine]
    command = ["biomedjourney", "plan", *(f"--config={path}" for path in sources)]
    before = core_seconds()
    said = subprocess.run(command, cwd=tmp_path, text=True, capture_output=True, check=True).stdout
    assert core_seconds() - before < 30

    assert f"{MIMIC.images:,} images" in said
    ((singles, pairs),) = re.findall(r"([\d,]+) singles, ([\d,]+) pairs", said)
    counted = [int(number.replace(",", "")) for number in (singles, pairs)]
    assert counted == pytest.approx([MIMIC.singles, MIMIC.all_pairs], rel=0.01), "reports count too, once they are read"

    words = ("--configfile", str(PAPER), str(mine))
    before = core_seconds()
    assert snakemake(tmp_path, "--list-rules", *words).returncode == 0
    reading, before = core_seconds() - before, core_seconds()
    result = snakemake(tmp_path, "--dry-run", *words)
    assert result.returncode == 0, result.stdout[-3000:]
    assert core_seconds() - before - reading < 10
    jobs = re.findall(r"^total +(\d+)$", result.stdout, re.MULTILINE)[0]
    assert re.search(rf"^all +{int(jobs) - 1} ", said, re.MULTILINE), "Snakemake counts the rule all too"
