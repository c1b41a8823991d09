"""The package as a wheel, apart from any checkout, and the pinned environments."""

import ast
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from dataclasses import dataclass
from importlib.metadata import packages_distributions
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from packaging.requirements import Requirement

from tests.helpers import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
NAME_AND_VERSION = f"biomedjourney-{PROJECT['project']['version']}"
LOCKED = [line for line in (REPOSITORY / "requirements.lock").read_text().splitlines() if not line.startswith("#")]
PINS = [line.split()[0] for line in LOCKED]
LOCK = runpy.run_path(str(REPOSITORY / "tools" / "lock.py"))
ENVIRONMENT_FILE = REPOSITORY / "envs" / "biomedjourney.yaml"
OFFLINE = ["--no-index", "--no-build-isolation", "--disable-pip-version-check"]

# Prints where the package lies and the code version of every command.
VERSIONS = """
import json, biomedjourney
from biomedjourney import config, versions
commands = [*config.SECTIONS, "gather parts", "gather triples", "gather cohort"]
print(json.dumps([biomedjourney.__file__, {name: versions.code_version(name) for name in commands}]))
"""


@dataclass(frozen=True)
class Installed:
    """A wheel, the checkout that it was built from, and the virtual environment that it is installed in."""

    checkout: Path
    wheel: Path
    environment: Path

    @property
    def package(self) -> Path:
        return next(self.environment.glob("lib/python3*/site-packages")) / "biomedjourney"


def run(*command: str | Path, folder: Path, **variables: str) -> str:
    """What a command prints; this process's PYTHONPATH does not reach it."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | variables
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def copy_checkout(folder: Path) -> None:
    """Copies the files that a clean clone would have if the working tree were committed: git ignores none of them."""
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", folder=REPOSITORY)
    for path in filter(None, listed.split("\0")):
        if (REPOSITORY / path).is_file():  # a deleted file is listed too
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / path, folder / path)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("packaging")
    checkout, environment = folder / "checkout", folder / "environment"
    copy_checkout(checkout)
    run(sys.executable, "-m", "pip", "wheel", *OFFLINE, "--no-deps", "-w", folder, checkout, folder=folder)
    wheel = next(folder.glob("*.whl"))
    run(sys.executable, "-m", "venv", "--without-pip", environment, folder=folder)
    pip = [sys.executable, "-m", "pip", "--python", environment / "bin" / "python"]
    run(*pip, "install", *OFFLINE, "--no-deps", wheel, folder=folder)
    installed = Installed(checkout, wheel, environment)
    # Adds the packages of this environment after the wheel. Python does not follow the .pth files in there, so the
    # editable install stays out.
    (installed.package.parent / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return installed


def code_versions(python: str | Path, folder: Path, **variables: str) -> tuple[Path, dict[str, str]]:
    """The folder of the package that ``python`` finds, and the code version of every command in it."""
    place, versions = json.loads(run(python, "-c", VERSIONS, folder=folder, **variables))
    return Path(place).parent, versions


def test_the_wheel_holds_the_whole_package_and_nothing_else(installed: Installed) -> None:
    source = installed.checkout / "src"
    shipped = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()}
    with zipfile.ZipFile(installed.wheel) as wheel:
        files = {name for name in wheel.namelist() if not name.startswith(f"{NAME_AND_VERSION}.dist-info/")}
        assert wheel.read("biomedjourney/config.yaml") == (installed.checkout / "config.yaml").read_bytes()
    assert "biomedjourney/config.schema.yaml" in shipped
    assert files == shipped | {"biomedjourney/config.yaml"}


def test_an_installed_wheel_works_in_an_empty_folder(installed: Installed, tmp_path: Path) -> None:
    program = installed.environment / "bin" / "biomedjourney"
    default = installed.package / "config.yaml"
    quick = "{phantom: {patients: 12, image_size: 64}}"
    run(program, "phantom", "--config", default, "--config", quick, folder=tmp_path)
    tables = {name: tmp_path / f"{name}.parquet" for name in ("patients", "studies", "images", "cohort", "exclusions")}
    flags = [word for name, path in tables.items() for word in (f"--{name}", str(path))]
    run(program, "ingest", "tables", *flags, folder=tmp_path)  # without --config: the default in the wheel
    tables["truth"] = tmp_path / "results" / "tables" / "truth.parquet"
    rows = {name: pq.read_metadata(path).num_rows for name, path in tables.items()}
    assert rows["patients"] == 12
    assert all(rows[name] >= 12 for name in ("studies", "images", "truth"))
    assert rows["cohort"] > 0


def test_a_wheel_and_its_checkout_have_the_same_code_versions(installed: Installed, tmp_path: Path) -> None:
    place, in_wheel = code_versions(installed.environment / "bin" / "python", tmp_path)
    assert place == installed.package
    source = installed.checkout / "src"
    place, in_checkout = code_versions(sys.executable, tmp_path, PYTHONPATH=str(source))
    assert place == source / "biomedjourney"
    assert in_wheel == in_checkout
    assert len(set(in_wheel.values())) == len(in_wheel)


def test_every_import_of_the_package_is_declared() -> None:
    imported = set()
    for path in (REPOSITORY / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(str(node.module).partition(".")[0])
    third_party = imported - sys.stdlib_module_names - {"biomedjourney"}
    requirements = PROJECT["project"]["dependencies"]
    declared = {normalized(re.split(r"[=<>~!\[; ]", requirement)[0]) for requirement in requirements}
    distributions = packages_distributions()
    undeclared = [name for name in third_party if not declared & set(map(normalized, distributions.get(name, [])))]
    assert undeclared == []


def test_the_page_of_dependencies_has_each_direct_one_and_no_other() -> None:
    page = (REPOSITORY / "docs" / "dependencies.md").read_text()
    direct = [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["dev"]]
    rows = re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \|$", page, re.MULTILINE)
    listed = [name for names, *_ in rows if names not in ("package", "---") for name in names.split(", ")]
    assert sorted(listed) == sorted({Requirement(requirement).name for requirement in direct})
    assert all(reason.strip() for row in rows for reason in row)


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_conda_environment_is_that_of_the_lock_and_holds_no_path() -> None:
    text = ENVIRONMENT_FILE.read_text()
    python, pip, pip_section = yaml.safe_load(text)["dependencies"]
    assert python == f"python {LOCK['PYTHON']}"
    assert f"Python {LOCK['PYTHON'].removesuffix('.*')} " in (REPOSITORY / "requirements.lock").read_text()
    assert pip == "pip"
    assert pip_section == {"pip": [*PINS, '-e "${BIOMEDJOURNEY}"']}
    assert LOCK["environment_file"](PINS) == text


def test_the_lock_has_the_hash_of_every_file_and_no_address() -> None:
    for line in LOCKED:
        assert re.fullmatch(r"[\w.-]+==[\w.]+ --hash=sha256:[0-9a-f]{64}", line), line
    assert len(set(PINS)) == len({line.split()[1] for line in LOCKED}) == len(LOCKED) > 200
    assert "--require-hashes --requirement requirements.lock" in (REPOSITORY / "Makefile").read_text()


def test_the_lock_holds_what_pip_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    def package(name: str, version: str, sha256: str) -> dict[str, Any]:
        place = {"url": f"https://a.host/{name}.whl", "archive_info": {"hashes": {"sha256": sha256}}}
        return {"metadata": {"name": name, "version": version}, "download_info": place}

    report = {"install": [package("b2", "1", "f"), package("B", "2.0+cu1", "0"), package("a", "3", "1")]}
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(stdout=json.dumps(report)))
    assert list(LOCK["resolved"](PROJECT).items()) == [("a==3", "1"), ("b==2.0", "0"), ("b2==1", "f")]


def test_the_lock_pins_all_that_the_project_asks_for() -> None:
    versions = {normalized(name): version for name, _, version in (pin.partition("==") for pin in PINS)}
    for requirement in [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["dev"]]:
        wanted = Requirement(requirement)
        assert normalized(wanted.name) in versions, requirement
        assert wanted.specifier.contains(versions[normalized(wanted.name)]), requirement


def test_pip_accepts_the_conda_environment_from_another_folder(tmp_path: Path) -> None:
    """As conda hands the section to pip, but with the packages that are installed already in place of an index."""
    checkout = tmp_path / "it's a check out é"
    copy_checkout(checkout)
    requirements = tmp_path / "condaenv.requirements.txt"
    requirements.write_text("\n".join(yaml.safe_load(ENVIRONMENT_FILE.read_text())["dependencies"][-1]["pip"]))
    as_conda_does = [sys.executable, "-m", "pip", "install", "-U", "-r", requirements, "--exists-action=b"]
    said = run(*as_conda_does, "--dry-run", *OFFLINE, folder=tmp_path, BIOMEDJOURNEY=str(checkout))
    assert said.strip().splitlines()[-1] == f"Would install {NAME_AND_VERSION}"
