"""How the end-to-end tests run the real workflow."""

import os
import subprocess
from pathlib import Path
from typing import Any

from biomedjourney import config
from tests.helpers import REPOSITORY, published

SMOKE = REPOSITORY / "workflow" / "configs" / "smoke.yaml"
PAPER = REPOSITORY / "workflow" / "configs" / "paper.yaml"
TABLES = REPOSITORY / "workflow" / "configs" / "tables.yaml"
OFFLINE = REPOSITORY / "tests" / "helpers" / "offline"
KEYS = {"OPENAI_API_KEY": "sk-nobody-may-see-this-one", "HF_TOKEN": "hf_nor_may_anybody_see_this_one"}

# The tables of the smoke run that are one file each.
SINGLE_FILES = {
    "patients", "studies", "images", "singles", "pairs", "cohort", "exclusions", "progressions", "registrations",
    "triples", "training", "guidance", "samplers", "scores", "systems", "ablations", "beyond", "soundness",
    "findings", "subgroups", "truth",
}  # fmt: skip
TIME_COLUMNS = {"training": ["seconds", "images_per_second", "memory_mb"]}


def without_ablations() -> dict[str, Any]:
    """What leaves the rows of paper.yaml out that the default run does not have, as a user may wish for."""
    paper, default = (config.read(path) for path in (PAPER, REPOSITORY / "config.yaml"))
    runs = set(paper["train"]["runs"]) - set(default["train"]["runs"])
    return {
        "rewrite": {"writers": ["openai"]},
        "train": {"runs": dict.fromkeys(runs)},
        "systems": dict.fromkeys(set(paper["systems"]) - set(default["systems"])),
        "generate": {"guidance": {"sweep": {"systems": default["generate"]["guidance"]["sweep"]["systems"]}}},
    }


def paper_files(folder: Path) -> Path:
    """Writes what paper.yaml names below ``folder``, small or empty, and returns a user's own file to lay over it.

    Raw files that are there already stay.
    """
    weights = folder / "resources" / "weights"
    published.pipeline(weights / "stable-diffusion-v1-5")
    published.pipeline(weights / "instruct-pix2pix", prior=True)
    published.biomedclip(weights / "biomedclip")
    for name in ("mimic-cxr-jpg/2.1.0", "mimic-cxr/2.1.0", "mimic-iv/3.1/hosp", "weights/torchxrayvision"):
        (folder / "resources" / name).mkdir(parents=True, exist_ok=True)
    files = [f"mimic-cxr-jpg/2.1.0/mimic-cxr-2.0.0-{part}.csv.gz" for part in ("metadata", "split", "chexpert")]
    files += ["mimic-cxr/2.1.0/mimic-cxr-reports.zip"]
    files += [f"mimic-iv/3.1/hosp/{part}.csv.gz" for part in ("patients", "admissions")]
    parts = config.read(PAPER)["pretrain"]
    given = [file for part in ("judges", "second_judges") for file in parts[part]["weights"].values()]
    given.append(parts["segmenter"]["weights"])
    for file in [*(f"resources/{file}" for file in files), *given]:
        (folder / file).touch()
    mine = folder / "mine.yaml"
    mine.write_text("rewrite: {openai: {base_url: 'http://127.0.0.1:8000/v1', model: my-model}}")
    return mine


def snakemake(
    folder: Path,
    *arguments: str,
    snakefile: Path = REPOSITORY / "Snakefile",
    environment: dict[str, str] | None = None,
    timeout: float = 2400.0,
) -> subprocess.CompletedProcess[str]:
    """Runs the real Snakefile in ``folder``; standard error is joined to standard output.

    Fails where any process of the run asks for another machine: no step fetches anything.
    """
    command = ["snakemake", "--snakefile", str(snakefile), "--directory", str(folder), *arguments]
    variables, asked = dict(os.environ if environment is None else environment), folder / "addresses.txt"
    variables["PYTHONPATH"] = os.pathsep.join(filter(None, [variables.get("PYTHONPATH"), str(OFFLINE)]))
    variables["BIOMEDJOURNEY_TEST_ADDRESSES"] = str(asked)
    result = subprocess.run(
        command,
        cwd=folder,
        env=variables,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=timeout,
        check=False,
    )
    assert not asked.exists(), f"asked for other machines: {asked.read_text()}"
    return result


def run_smoke(folder: Path) -> Path:
    """Runs the whole workflow in miniature in ``folder``, and returns it. What Snakemake said is in said.txt."""
    result = snakemake(folder, "--cores", "2", "--configfile", str(SMOKE), environment=dict(os.environ) | KEYS)
    assert result.returncode == 0, result.stdout[-6000:]
    (folder / "said.txt").write_text(result.stdout)
    return folder
