from pathlib import Path

import pytest

from biomedjourney import tables
from tests.helpers import REPOSITORY
from tests.helpers.workflow_runs import SMOKE, snakemake

pytestmark = [pytest.mark.workflow, pytest.mark.system]


def test_first_steps_run_as_jobs_of_a_real_cluster(slurm: None, tmp_path: Path) -> None:
    result = snakemake(
        tmp_path,
        "--profile",
        str(REPOSITORY / "workflow" / "profiles" / "slurm"),
        "--configfile",
        str(SMOKE),
        "--slurm-init-seconds-before-status-checks",
        "1",
        "--latency-wait",
        "10",
        "--until",
        "pair_studies",
    )
    assert result.returncode == 0, result.stdout[-6000:]
    assert "has been submitted with SLURM jobid" in result.stdout
    pairs = tables.read(tmp_path / "results" / "tables" / "pairs.parquet", "pairs")
    assert len(pairs) > 0
