"""Writes requirements.lock and envs/biomedjourney.yaml: every package that pyproject.toml needs, with its version.

The versions are those that pip would install into a new environment.
"""

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
PYTHON = "3.11.*"  # the versions are resolved and tested for it; the package itself allows later ones

# Snakemake builds the environment from a copy of the file in another folder, so it may hold no relative path. pip fills
# in the variable, which workflow/rules/common.smk sets.
ENVIRONMENT = """\
# The environment of every rule, for clusters that use --software-deployment-method conda. Written by `make lock`.
channels:
  - conda-forge
  - nodefaults
dependencies:
  - python {python}
  - pip
  - pip:
{pins}
      - -e "${{BIOMEDJOURNEY}}"
"""


def resolved_pins(project: dict[str, Any]) -> list[str]:
    """``name==version`` of every package that pip would install into a new environment, sorted by name."""
    requirements = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    flags = ["--dry-run", "--ignore-installed", "--quiet", "--report", "-"]
    report = subprocess.run(
        [sys.executable, "-m", "pip", "install", *flags, *requirements],
        check=True,
        stdout=subprocess.PIPE,
    ).stdout
    versions = {item["metadata"]["name"].lower(): item["metadata"]["version"] for item in json.loads(report)["install"]}
    return [f"{name}=={version.split('+')[0]}" for name, version in sorted(versions.items())]


def environment_file(project: dict[str, Any], pins: list[str]) -> str:
    """The text of envs/biomedjourney.yaml."""
    return ENVIRONMENT.format(
        python=PYTHON,
        pins="\n".join(f"      - {pin}" for pin in pins),
    )


if __name__ == "__main__":
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    pins = resolved_pins(project)
    header = "# Written by `make lock` from pyproject.toml; Python 3.11 on Linux x86-64."
    (REPOSITORY / "requirements.lock").write_text("\n".join([header, *pins]) + "\n")
    (REPOSITORY / "envs" / "biomedjourney.yaml").write_text(environment_file(project, pins))
