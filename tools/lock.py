"""Writes requirements.lock and envs/biomedjourney.yaml: every package that pyproject.toml needs, with its version.

The versions are those that pip would install into a new environment. In requirements.lock each has the SHA-256 of the
file that pip chose for this Python and machine: pip refuses every other file, also those for other platforms.
"""

import json
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
PYTHON = "3.11.*"  # the versions are resolved and tested for it; the package itself allows later ones

HEADER = """\
# Written by `make lock` from pyproject.toml; Python 3.11 on Linux x86-64.
# With the SHA-256 of each file for there. Another platform needs other files: see CONTRIBUTING.md.
"""

# Snakemake builds the environment from a copy of the file in another folder, so it may hold no relative path. pip fills
# in the variable, which workflow/rules/common.smk sets. No hashes: pip would then want one of the editable package too.
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


def resolved(project: dict[str, Any]) -> dict[str, str]:
    """The SHA-256 of the file of each package that pip would install into a new environment, by ``name==version``."""
    requirements = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    flags = ["--dry-run", "--ignore-installed", "--quiet", "--report", "-"]
    report = subprocess.run(
        [sys.executable, "-m", "pip", "install", *flags, *requirements],
        check=True,
        stdout=subprocess.PIPE,
    ).stdout
    pins = {}
    for package in json.loads(report)["install"]:
        name, version = package["metadata"]["name"].lower(), package["metadata"]["version"].split("+")[0]
        pins[f"{name}=={version}"] = package["download_info"]["archive_info"]["hashes"]["sha256"]
    return dict(sorted(pins.items(), key=lambda pin: pin[0].split("==")))


def environment_file(pins: Iterable[str]) -> str:
    """The text of envs/biomedjourney.yaml."""
    return ENVIRONMENT.format(
        python=PYTHON,
        pins="\n".join(f"      - {pin}" for pin in pins),
    )


if __name__ == "__main__":
    pins = resolved(tomllib.loads((REPOSITORY / "pyproject.toml").read_text()))
    lines = [f"{pin} --hash=sha256:{sha256}" for pin, sha256 in pins.items()]
    (REPOSITORY / "requirements.lock").write_text(HEADER + "\n".join(lines) + "\n")
    (REPOSITORY / "envs" / "biomedjourney.yaml").write_text(environment_file(pins))
