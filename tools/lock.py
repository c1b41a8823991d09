"""Prints every package that pyproject.toml needs, pinned: what pip would install into an empty environment."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text())
wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
report = subprocess.run(
    [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--report", "-", *wanted],
    check=True,
    stdout=subprocess.PIPE,
).stdout
pins = {item["metadata"]["name"].lower(): item["metadata"]["version"] for item in json.loads(report)["install"]}
print("# Written by `make lock` from pyproject.toml; Python 3.11 on Linux x86-64.")
for name, version in sorted(pins.items()):
    print(f"{name}=={version.split('+')[0]}")
