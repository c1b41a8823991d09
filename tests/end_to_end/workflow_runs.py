"""How the end-to-end tests run the real workflow."""

import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SMOKE = REPOSITORY / "workflow" / "configs" / "smoke.yaml"


def snakemake(folder: Path, *arguments: str, timeout: float = 900.0) -> subprocess.CompletedProcess[str]:
    """Runs the real Snakefile in ``folder``; standard error is joined to standard output."""
    command = ["snakemake", "--snakefile", str(REPOSITORY / "Snakefile"), "--directory", str(folder), *arguments]
    return subprocess.run(
        command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout, check=False
    )


def run_smoke(folder: Path) -> Path:
    result = snakemake(folder, "--cores", "2", "--configfile", str(SMOKE))
    assert result.returncode == 0, result.stdout[-6000:]
    return folder
