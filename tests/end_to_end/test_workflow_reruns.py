"""What a finished run plans again after an edit or a change of the configuration: these jobs and no others."""

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.helpers import REPOSITORY
from tests.helpers.workflow_runs import SMOKE, snakemake

pytestmark = pytest.mark.workflow

SUMMARY = {"evaluate_systems": 1, "write_report": 1}
# What follows from a new model of the system biomedjourney, and of every swept system.
SOUND = {"generate_soundness": 1, "evaluate_soundness": 1}
SAMPLERS = {"generate_samplers": 2, "evaluate_samplers": 1}
STAGE2 = {
    **{"generate_sweep": 2, "evaluate_guidance": 1, "generate_pictures": 2, "evaluate_scores": 1, "export_model": 1},
    **SAMPLERS,
    **SOUND,
}
JUDGED = {"evaluate_guidance": 2, "evaluate_samplers": 1, "evaluate_real": 1, "evaluate_scores": 5, **SOUND}
PICTURES = {"generate_pictures": 6, "copy_pictures": 4}


@dataclass(frozen=True)
class Edit:
    """A change of one file of the package: ``old`` becomes ``new``, or ``new`` is appended where ``old`` is empty."""

    file: str
    old: str
    new: str

    def apply(self, package: Path) -> None:
        path = package / self.file
        text = path.read_text()
        assert not self.old or text.count(self.old) == 1, (
            f"{self.file}: {self.old!r} occurs {text.count(self.old)} times"
        )
        path.write_text(text.replace(self.old, self.new) if self.old else text + self.new)


NEW_MEASURE = """

AGE_BIAS = Measure(
    name="age_bias",
    title="age bias",
    unit="years",
    description="mean of the estimated age minus the patient's age",
    needs=("age",),
    compute=lambda evidence: evidence.weights @ (evidence.scores["age"].to_numpy(float) - evidence.targets.age),
    by_finding=True,
)
MEASURES = (*MEASURES, AGE_BIAS)
"""


@pytest.fixture(scope="module")
def finished(smoke: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the finished run; dry runs alone look at it."""
    return shutil.copytree(smoke, tmp_path_factory.mktemp("finished") / "smoke", symlinks=True)


def planned(folder: Path, checkout: Path, overlay: str, tmp_path: Path) -> dict[str, int]:
    """How many jobs of each rule a dry run plans, with the package of ``checkout`` and an overlay over smoke.yaml."""
    path = tmp_path / "over.yaml"
    path.write_text(overlay)
    environment = os.environ | {"PYTHONPATH": str(checkout / "src")}
    words = ("--dry-run", "--configfile", str(SMOKE), str(path))
    result = snakemake(folder, *words, snakefile=checkout / "Snakefile", environment=environment)
    assert result.returncode == 0, result.stdout[-6000:]
    if "Nothing to be done" in result.stdout:
        return {}
    counts = {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", result.stdout, re.MULTILINE)}
    assert counts.pop("total") == sum(counts.values())
    assert counts.pop("all") == 1
    return counts


@pytest.mark.parametrize(
    ("overlay", "jobs"),
    [
        ("{}", {}),
        ("train: {runs: {stage2: {steps: 6}}, learning_rate: 0.002, log_every: 2}\nseed: 0", {}),
        ("generate: {guidance: {sweep: {text_scales: [2]}}}\nphantom: {image_size: 128, patients: 60}", {}),
        ("train: {log_every: 5, checkpoint_every: 7}\nencode: {batch_size: 3}\ngenerate: {batch_size: 4}", {}),
        ("train: {validate_every: null, validation: {examples: 3, pictures: 0}, tensorboard: true}", {}),
        ("rewrite: {openai: {requests_per_minute: 9}}", {}),
        ("resources: {train: {threads: 1, mem_mb: 4000, gpus: 2, signal_seconds: 9}, encode: {gpus: 1}}", {}),
        # the rules do not read it, but the report prints it
        ("rewrite: {openai: {model: another-2026-01-01}}", {"write_report": 1}),
        (
            "train: {runs: {stage2: {steps: 7}}}",
            {"train_stage": 1, **STAGE2, "gather_parts": 3, **SUMMARY},
        ),
        (
            "pretrain: {judges: {steps: 11}}",
            {
                **{"pretrain_judges": 1, **JUDGED, "generate_samplers": 2, "generate_pictures": 4, "export_model": 1},
                **{"gather_parts": 2, **SUMMARY},
            },
        ),
        (
            "pretrain: {second_judges: {weights: null}}",
            {"pretrain_second_judges": 1, "evaluate_second_scores": 5, "evaluate_judges": 1, "write_report": 1},
        ),
        (
            "generate: {samplers: {compared: [{solver: ddim, steps: 4}, {solver: ddim, steps: 2}]}}",
            {**SAMPLERS, "gather_parts": 1, "write_report": 1},
        ),
        ("generate: {samplers: null}", {"write_report": 1}),
        ("evaluate: {bootstrap: 150}", {"evaluate_samplers": 1, "evaluate_soundness": 1, "gather_parts": 1, **SUMMARY}),
        ("systems: {same-again: {run: stage2}}", {"generate_pictures": 2, "evaluate_scores": 1, **SUMMARY}),
        (
            "rewrite: {writers: [rules, impression]}",
            {"rewrite_reports": 1, "gather_triples": 1, "gather_parts": 2, "gather_cohort": 1, "write_report": 1},
        ),
        ("report: {examples: 2}", {"write_report": 1}),
    ],
)
def test_a_change_of_the_configuration(overlay: str, jobs: dict[str, int], finished: Path, tmp_path: Path) -> None:
    assert planned(finished, REPOSITORY, overlay, tmp_path) == jobs


@pytest.mark.parametrize(
    ("edits", "jobs"),
    [
        pytest.param(
            [
                Edit("pretrain/judges.py", "def logits(", "# a comment\n\n\ndef logits("),
                Edit("pretrain/judges.py", '"""Cross-entropy of the group', '"""The cross-entropy of the group'),
                Edit("train/loop.py", "seconds = 0, 0, 0.0\n", "seconds = 0, 0, 0.0  # a comment\n\n"),
                Edit("train/command.py", 'help="Output: model folder."', 'help="Output: folder of the model."'),
                Edit("sampling.py", "def load_unet(folder: Path) -> Any:", "def load_unet(folder: str | Path) -> Any:"),
            ],
            {},
            id="comments, docstrings, formatting, help texts, annotations",
        ),
        pytest.param(
            [Edit("tables.py", '"width of the original;', '"width of the original image;')],
            {},
            id="description of a column",
        ),
        pytest.param([Edit("measures.py", "", NEW_MEASURE)], SUMMARY, id="a new measure"),
        pytest.param([Edit("report/page.html", "<h2>Main table", "<h2>Table")], {"write_report": 1}, id="the page"),
        pytest.param(
            [Edit("examples.py", 'return compared.sort_values("pair_id", ignore_index=True)',
                  'return compared.sort_values(["pair_id"], ignore_index=True)')],
            {
                "generate_sweep": 4, "generate_samplers": 2, **PICTURES, **JUDGED, "export_model": 1,
                "gather_parts": 2, **SUMMARY,
            },
            id="the choice of the compared pairs, which another module imports",
        ),
        pytest.param(
            [Edit("train/loop.py", "optimiser.zero_grad(set_to_none=True)", "optimiser.zero_grad()")],
            {
                "train_stage": 3, "generate_sweep": 4, "evaluate_guidance": 2, "generate_pictures": 6,
                "evaluate_scores": 3, "export_model": 1, "gather_parts": 3, **SAMPLERS, **SOUND, **SUMMARY,
            },
            id="the training loop",
        ),
        pytest.param(
            [Edit("gather/parts.py", "ROWS = 4096", "ROWS = 2048")],
            {"gather_parts": 6, "write_report": 1},
            id="gathering",
        ),
        pytest.param(
            [Edit("tables.py", 'Column("chosen", pa.bool_(), "the scales', 'Column("chosen", pa.int8(), "the scales')],
            {
                "evaluate_guidance": 2, "generate_pictures": 6, "evaluate_scores": 3, "export_model": 1,
                "gather_parts": 2, **SAMPLERS, **SOUND, **SUMMARY,
            },
            id="a column's type, for commands that name the table",
        ),
        pytest.param(
            [Edit("generate/copy.py", 'unit="seed"', 'unit="seeds"')],
            {"copy_pictures": 4, "evaluate_scores": 2, **SUMMARY},
            id="copies",
        ),
        pytest.param(
            [Edit("rewrite/prompts/progression-1.yaml", "You compare two chest", "You compare two chest chest")],
            {},
            id="the prompt, which the rules do not read",
        ),
    ],
)  # fmt: skip
def test_an_edit_of_the_code(edits: list[Edit], jobs: dict[str, int], finished: Path, tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    for name in ("Snakefile", "config.yaml", "workflow", "src", "envs"):
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            checkout.mkdir(exist_ok=True)
            shutil.copy(source, checkout / name)
    for edit in edits:
        edit.apply(checkout / "src" / "biomedjourney")
    assert planned(finished, checkout, "{}", tmp_path) == jobs
