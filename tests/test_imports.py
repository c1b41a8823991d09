"""Who may import whom: data runs one way, from the raw files to the report."""

import re

import pytest

from biomedjourney import versions
from tests.helpers import REPOSITORY

VERBS = (
    *("phantom", "ingest", "pair", "rewrite", "preprocess", "register", "gather", "pretrain", "prefetch"),
    *("encode", "train", "generate", "evaluate", "report", "editing", "app", "inspect", "plan"),
)
GROUND_FLOOR = {
    *("errors", "progress", "workers", "refusals", "config", "versions", "pixels", "sampling", "measures", "beyond"),
    *("systems", "tables", "arrays", "examples", "weights", "pipelines", "published", "devices"),
    *("makers", "sums", "failures"),
}
ABOVE = {"__init__", "cli"}  # the public names and the command line, on top of everything


def modules(folder: str) -> list[str]:
    """The dotted names of the modules of a verb's folder."""
    paths = sorted((versions.PACKAGE / folder).rglob("*.py"))
    names = [".".join(path.relative_to(versions.PACKAGE).with_suffix("").parts) for path in paths]
    return [f"biomedjourney.{name}".removesuffix(".__init__") for name in names]


def verbs_used_by(names: list[str]) -> dict[str, set[str]]:
    """The modules of verbs that the given modules import, by verb."""
    used: dict[str, set[str]] = {}
    for name in names:
        for module in versions.imported_modules(name):
            parts = module.split(".")[1:]
            if parts and parts[0] in VERBS:
                used.setdefault(parts[0], set()).add(".".join(parts))
    return used


def test_every_module_has_its_place() -> None:
    folders = {path.name for path in versions.PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    files = {path.stem for path in versions.PACKAGE.glob("*.py")}
    assert folders == set(VERBS)
    assert files == GROUND_FLOOR | ABOVE


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_imports_no_later_verb(verb: str) -> None:
    later = set(VERBS[VERBS.index(verb) + 1 :])
    assert not later & verbs_used_by(modules(verb)).keys()


@pytest.mark.parametrize("module", sorted(GROUND_FLOOR))
def test_the_ground_floor_imports_no_verb(module: str) -> None:
    assert verbs_used_by([f"biomedjourney.{module}"]) == {}


def test_nothing_imports_snakemake() -> None:
    for path in versions.PACKAGE.rglob("*.py"):
        assert not re.search(r"^\s*(import|from) snakemake", path.read_text(), re.MULTILINE), path


def test_the_architecture_page_lists_all_imports_between_verbs() -> None:
    page = (REPOSITORY / "docs" / "architecture.md").read_text()
    listed = dict(re.findall(r"^\| `(\w+)` \| ((?:`[\w.]+`(?:, )?)+) \|$", page, re.MULTILINE))
    found = {}
    for verb in VERBS:
        used = {module for other, names in verbs_used_by(modules(verb)).items() if other != verb for module in names}
        if used:
            found[verb] = ", ".join(f"`{module}`" for module in sorted(used))
    assert listed == found
