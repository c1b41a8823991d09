"""The version of a command's code, on a small package with every kind of reference, and on the real package."""

import ast
import itertools
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from biomedjourney import config, tables, versions
from tests.helpers import REPOSITORY

FILES = {
    "__init__.py": '"""The package."""\n\nVERSION = "1"\n',
    "floor.py": '''"""The ground floor."""

import math

LIMIT: int = 3
UNUSED = 4
LABELS = tuple(label for label in ("wood", "stone"))


def shared(values: list[float]) -> float:
    """Adds."""
    return sum(values[:LIMIT])


def other(value: float) -> float:
    return math.sqrt(value)


class Tool:
    """A tool."""

    label: str  # has the name of a variable that belongs to the comprehension above

    def work(self) -> int:
        return helper()


def helper() -> int:
    return 1
''',
    "draw/__init__.py": 'from small.draw.inner import public\n\n__all__ = ["public"]\n',
    "draw/inner.py": """from small import floor

TEMPLATE = "page.txt"


def public() -> float:
    return floor.shared([1.0])


def shadow(floor: int) -> int:
    other = floor + 1
    return [other for other in range(other)][0]
""",
    "draw/page.txt": "a page",
    "draw/command.py": '''import click

from small.floor import Tool

@click.group()
def command() -> None:
    """Draw."""


@command.command("pictures")
@click.option("--size", help="The size.")
def make_pictures(size: int) -> None:
    """Pictures."""
    from small.draw import public
    from small.draw.inner import TEMPLATE

    print(public(), TEMPLATE, "page.txt")


@command.command()
def a_sketch() -> None:
    print(Tool().work())


@command.command()
def whole_module() -> None:
    from small.draw import inner

    print(vars(inner))


@command.command()
def tables() -> None:
    print("pairs")
    print(vars()["images"])


@command.command()
def local_names() -> None:
    from small.draw.inner import shadow

    print(shadow(1))
''',
}
COMMANDS = ("draw pictures", "draw a-sketch", "draw whole-module", "draw tables", "draw local-names")


def clear_caches() -> None:
    for function in vars(versions).values():
        getattr(function, "cache_clear", lambda: None)()


@pytest.fixture
def all_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], dict[str, str]]:
    """Writes the small package, and gives a function that returns the version of each of its commands."""
    package = tmp_path / "small"
    for name, text in FILES.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    monkeypatch.setattr(versions, "PACKAGE", package)
    monkeypatch.setattr(versions, "ROOT", "small")

    def compute() -> dict[str, str]:
        clear_caches()
        return {name: versions.code_version(name) for name in COMMANDS}

    yield compute
    monkeypatch.undo()
    clear_caches()


PICTURES, SKETCH, WHOLE, TABLES, LOCAL = COMMANDS


@pytest.mark.parametrize(
    ("file", "old", "new", "changed"),
    [
        ("floor.py", '"""Adds."""', '"""Adds up."""', set()),
        ("floor.py", "return sum(values[:LIMIT])", "return sum(\n        values[:LIMIT]\n    )  # all", set()),
        ("floor.py", "values: list[float]) -> float", "values: tuple[float, ...]) -> int", set()),
        ("floor.py", "LIMIT: int = 3", "LIMIT: float = 3", set()),
        ("floor.py", "UNUSED = 4", "UNUSED = 5", set()),
        ("floor.py", '("wood", "stone")', '("wood", "glass")', set()),
        ("draw/command.py", 'help="The size."', 'help="The size in pixels."', set()),
        ("draw/command.py", '"--size"', '"--side"', {PICTURES}),
        ("floor.py", "LIMIT: int = 3", "LIMIT: int = 2", {PICTURES, WHOLE}),
        ("floor.py", "return sum(values[:LIMIT])", "return max(values[:LIMIT])", {PICTURES, WHOLE}),
        ("floor.py", "return math.sqrt(value)", "return value", set()),
        ("floor.py", "return 1", "return 2", {SKETCH}),
        ("floor.py", "import math\n", "import math\n\nmath.tau\n", {PICTURES, SKETCH, WHOLE}),
        ("draw/inner.py", "other = floor + 1", "other = floor + 2", {WHOLE, LOCAL}),
        ("draw/page.txt", "a page", "another page", {PICTURES, WHOLE}),
        ("draw/command.py", '    print("pairs")', '    print("pairs", "studies")', {TABLES}),
    ],
)
def test_an_edit_reaches_the_commands_that_use_it(
    file: str, old: str, new: str, changed: set[str], all_versions: Callable[[], dict[str, str]]
) -> None:
    before = all_versions()
    path = versions.PACKAGE / file
    assert path.read_text().count(old) == 1
    path.write_text(path.read_text().replace(old, new))
    after = all_versions()
    assert {name for name in COMMANDS if before[name] != after[name]} == changed


def test_a_table_counts_for_the_commands_that_name_it(
    all_versions: Callable[[], dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = all_versions()
    pairs = tables.TABLES["pairs"]
    described = [tables.Column(c.name, c.type, "something else", c.unit, c.nullable) for c in pairs.columns]
    for columns, changed in ((described, set()), (pairs.columns[1:], {TABLES})):
        table = tables.Table("pairs", "other words", pairs.key, tuple(columns))
        monkeypatch.setitem(tables.TABLES, "pairs", table)
        after = all_versions()
        assert {name for name in COMMANDS if before[name] != after[name]} == changed
        told = versions.code_version(SKETCH, ["pairs"])
        monkeypatch.setitem(tables.TABLES, "pairs", pairs)
        assert (told != versions.code_version(SKETCH, ["pairs"])) == bool(changed)


def test_a_key_in_square_brackets_names_no_table(
    all_versions: Callable[[], dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = all_versions()
    images = tables.TABLES["images"]
    monkeypatch.setitem(tables.TABLES, "images", tables.Table("images", "", images.key, images.columns[1:]))
    assert all_versions() == before


def test_a_module_that_a_command_does_not_use_can_be_left_out(all_versions: Callable[[], dict[str, str]]) -> None:
    all_versions()
    left_out = versions.code_version(PICTURES, without=["draw.inner"])
    path = versions.PACKAGE / "draw/inner.py"
    path.write_text(path.read_text().replace("[1.0]", "[2.0]"))
    assert all_versions()[PICTURES] != left_out
    assert versions.code_version(PICTURES, without=["draw.inner"]) == left_out


def test_a_definition_that_a_command_does_not_use_can_be_left_out(all_versions: Callable[[], dict[str, str]]) -> None:
    all_versions()
    left_out = versions.code_version(PICTURES, without=["floor.shared"])
    path = versions.PACKAGE / "floor.py"
    for old, new, counts in (("LIMIT: int = 3", "LIMIT: int = 5", False), ("sum(values", "max(values", False)):
        path.write_text(path.read_text().replace(old, new))
        all_versions()
        assert (versions.code_version(PICTURES, without=["floor.shared"]) != left_out) == counts
    path = versions.PACKAGE / "draw/inner.py"
    path.write_text(path.read_text().replace("[1.0]", "[2.0]"))
    all_versions()
    assert versions.code_version(PICTURES, without=["floor.shared"]) != left_out


@pytest.mark.parametrize(
    ("part", "trains", "loads"),
    [
        (
            "first_stage",
            {"first_stage.train", "patch_autoencoder.PatchAutoencoder"},
            {"first_stage.load", "run.first_stage"},
        ),
        ("text_tower", {"text_tower.train", "text_tower.prepare"}, {"text_tower.load", "run.text_tower"}),
        ("judges", {"judges.train", "judges.network", "judges.logits"}, {"judges._published", "run.judges"}),
        ("second_judges", {"judges.train", "judges.network"}, {"judges._published", "run.second_judges"}),
        (
            "segmenter",
            {"segmenter.train", "segmenter.SmallUNet", "run.train_segmenter"},
            {"segmenter._published", "run.segmenter"},
        ),
    ],
)
def test_a_given_part_does_not_depend_on_the_code_that_trains_one(part: str, trains: set[str], loads: set[str]) -> None:
    rules = (REPOSITORY / "workflow" / "rules" / "common.smk").read_text()
    left_out = ast.literal_eval(re.search(r"^TRAINED_HERE = (\{.*?^\})", rules, re.MULTILINE | re.DOTALL)[1])
    entry = versions._entry(f"pretrain {part.replace('_', '-')}")

    def reached(without: tuple[str, ...]) -> set[str]:
        references = versions._reachable(entry, frozenset(f"biomedjourney.{name}" for name in without))
        return {
            f"{reference.module}.{reference.name}".removeprefix("biomedjourney.pretrain.") for reference in references
        }

    assert trains | loads <= reached(())
    assert loads <= reached(left_out[part])
    assert not reached(left_out[part]) & (trains | {"schedule.one_cycle"})


def test_relative_imports_and_unknown_commands_are_refused(all_versions: Callable[[], dict[str, str]]) -> None:
    with pytest.raises(ValueError, match="no sub-command 'paint'"):
        versions.code_version("draw paint")
    path = versions.PACKAGE / "draw/inner.py"
    path.write_text("from . import command\n" + path.read_text())
    with pytest.raises(ValueError, match="relative imports are not followed"):
        all_versions()


REAL_COMMANDS = (*config.SECTIONS, "gather parts", "gather triples", "gather cohort")


@pytest.mark.parametrize("command", REAL_COMMANDS)
def test_the_version_does_not_depend_on_the_order_in_which_references_are_found(command: str) -> None:
    """Sets have another order in every process."""
    references = versions._reachable(versions._entry(command))
    names = [(reference.module, str(reference.name)) for reference in references]
    assert len(names) == len(set(names))


def test_every_data_file_of_the_package_counts_for_some_command() -> None:
    counted = set()
    used = (*REAL_COMMANDS, "inspect")  # no rule runs inspect
    for reference in itertools.chain.from_iterable(versions._reachable(versions._entry(c)) for c in used):
        folder = versions._module(reference.module).folder
        counted |= {path for path in versions._data_files(folder) if path.name in versions._strings(reference)}
    of_configuration = {versions.PACKAGE / "config.schema.yaml", versions.PACKAGE / "config.yaml"}
    assert set(versions._data_files(versions.PACKAGE)) - of_configuration == counted


def test_the_command_group_of_a_verb_does_not_join_its_sub_commands() -> None:
    reached = {name: versions._reachable(versions._entry(name)) for name in ("encode pictures", "encode texts")}
    modules = {name: {reference.module for reference in references} for name, references in reached.items()}
    assert "biomedjourney.encode.latents" in modules["encode pictures"] - modules["encode texts"]
    assert "biomedjourney.encode.texts" in modules["encode texts"] - modules["encode pictures"]


def test_two_tables_have_the_name_of_a_column() -> None:
    """Their rules give them by name; look at `evaluate.smk` and `report.smk` before another one joins them."""
    assert tables.TABLES.keys() & versions._column_names() == {"findings", "judges"}
