"""The planned jobs beside those of Snakemake."""

import re
from collections import Counter
from pathlib import Path

import pytest
import yaml

from biomedjourney.plan.jobs import Jobs
from tests.helpers.plans import settings_of
from tests.helpers.workflow_runs import PAPER, SMOKE, TABLES, paper_files, snakemake, without_ablations

pytestmark = pytest.mark.workflow

# No prior, one sweep, no samplers, several seeds, a second direction and writer, second judges, a stand-in, four shards
ODD = {
    "rewrite": {"writers": ["impression", "rules"]},
    "train": {
        "seeds": 2,
        "runs": {"stage2": {"prior": "none", "text": "report"}, "untrained": {"prior": "unregistered"}},
    },
    "pretrain": {"second_judges": {"weights": None}},
    "systems": {"stable-diffusion": {"pipeline": None, "prior": "none", "text": "report"}, "copy-prior": None},
    "generate": {"shards": 4, "guidance": {"sweep": {"systems": ["biomedjourney"]}}},
    "register": {"shards": 3},
}


@pytest.mark.parametrize("name", ["config.yaml", "smoke.yaml", "tables.yaml", "paper.yaml", "without rows", "odd"])
def test_the_planned_jobs_are_those_of_snakemake(tmp_path: Path, name: str) -> None:
    overlays = {"smoke.yaml": [SMOKE], "tables.yaml": [TABLES], "paper.yaml": [PAPER], "without rows": [PAPER]}.get(
        name, []
    )
    if PAPER in overlays:
        overlays = [*overlays, paper_files(tmp_path)]
    more = {"without rows": without_ablations(), "odd": ODD}.get(name)
    if more:
        (tmp_path / "more.yaml").write_text(yaml.safe_dump(more))
        overlays = [*overlays, tmp_path / "more.yaml"]
    result = snakemake(tmp_path, "--dry-run", *(["--configfile", *map(str, overlays)] if overlays else []))
    assert result.returncode == 0, result.stdout[-3000:]
    blocks = re.findall(r"^(?:local)?rule (\w+):\n(?:    .*\n)*?    output: (.*)$", result.stdout, re.MULTILINE)
    outputs = {output: rule for rule, listed in blocks for output in listed.split(", ")}
    planned = list(Jobs(settings_of(*overlays)))
    assert Counter(job.rule for job in planned) == Counter(rule for rule, _ in blocks)
    assert len({job.outputs for job in planned}) == len(planned)
    for job in planned:
        assert {outputs.get(path) for path in job.outputs} == {job.rule}, job
