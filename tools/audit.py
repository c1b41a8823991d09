"""Looks every package of requirements.lock up in PyPI's database of known vulnerabilities, by pip-audit.

Prints one line for each vulnerability, and one for what was looked up. Exit status 1 where there is any, and 0 where no
database can be reached, which is said. It runs in an environment of its own: `make audit`.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

LOCK = Path(__file__).resolve().parents[1] / "requirements.lock"
FLAGS = ("--disable-pip", "--require-hashes", "--progress-spinner", "off", "--format", "json")
UNREACHED = r"connection|timed? ?out|resol|unreachable|proxy|ssl"  # what pip-audit says where no network leads to PyPI


def looked_up(pins: Sequence[str]) -> list[dict[str, Any]]:
    """What the database says of each package that it knows: ``name``, ``version`` and ``vulns``.

    Empty where it cannot be reached; a mirror of PyPI may have the packages alone.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(pins))
        file.flush()
        command = [sys.executable, "-m", "pip_audit", "--requirement", file.name, *FLAGS]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    if not result.stdout and not re.search(UNREACHED, result.stderr, re.IGNORECASE):
        sys.exit(f"audit: pip-audit failed: {result.stderr.strip()[-2000:]}")
    packages = json.loads(result.stdout)["dependencies"] if result.stdout else []
    return [package for package in packages if "vulns" in package]


def main() -> int:
    pins = [line for line in LOCK.read_text().splitlines() if not line.startswith("#")]
    if not looked_up(pins[:1]):
        print("audit: PyPI's database of vulnerabilities cannot be reached: no package was looked up")
        return 0
    packages = looked_up(pins)
    for package in packages:
        for found in package["vulns"]:
            names, fixed = ", ".join([found["id"], *found["aliases"]]), ", ".join(found["fix_versions"]) or "none yet"
            print(f"audit: {package['name']} {package['version']}: {names}; versions without it: {fixed}")
    count = sum(len(package["vulns"]) for package in packages)
    print(f"audit: {count} known vulnerabilities; {len(packages)} of {len(pins)} packages were looked up")
    return int(count > 0)


if __name__ == "__main__":
    sys.exit(main())
