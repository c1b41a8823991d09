"""`make` in a checkout whose folder has a name that a shell could misread; programs stand in for Python and pip."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.helpers import REPOSITORY

# `PYTHON -m venv FOLDER`: writes down that it ran, and makes programs that write down what they are called with.
PYTHON = """#!/bin/sh
echo "$0 $*" >> calls
mkdir -p "$3/bin"
for name in python pip snakemake; do
    printf '#!/bin/sh\\necho "%s $*" >> calls\\n' $name > "$3/bin/$name"
    chmod +x "$3/bin/$name"
done
"""


@pytest.mark.parametrize("name", ["plain", "with space", 'it\'s "quoted"', "a $HOME `x` & b;c (d)", "hömé ☺"])
def test_the_environment_is_made_once_and_the_report_is_named(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name / "check out"
    folder.mkdir(parents=True)
    for file in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(REPOSITORY / file, folder)
    (folder / "my-python").write_text(PYTHON)
    (folder / "my-python").chmod(0o755)

    def make() -> tuple[str, list[str]]:
        calls = folder / "calls"
        calls.unlink(missing_ok=True)
        words = ["make", "run", "PYTHON=./my-python"]
        environment = {
            key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")
        }
        result = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, env=environment)
        assert result.returncode == 0, result.stderr
        assert result.stderr == ""
        return result.stdout, calls.read_text().splitlines()

    said, called = make()
    assert [line.split()[0] for line in called] == ["./my-python", "pip", "pip", "snakemake"]
    assert said.endswith(f"report: {folder}/results/report/index.html\n")
    assert make()[1] == ["snakemake --cores all"]
    os.utime(folder / ".venv" / ".installed", (0, 0))  # as if pyproject.toml were newer
    assert [line.split()[0] for line in make()[1]] == ["pip", "pip", "snakemake"], "the environment was made anew"
