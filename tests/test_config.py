import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from biomedjourney import config
from biomedjourney.errors import UserError

DEFAULT = yaml.safe_load((config.REPOSITORY / "config.yaml").read_text())
RUNS = list(DEFAULT["train"]["runs"])
OVERLAYS = sorted((config.REPOSITORY / "workflow" / "configs").glob("*.yaml"))


def broken(path: str, value: Any) -> dict[str, Any]:
    """The default with one key, written as ``a.b.c``, set."""
    overlay: Any = value
    for key in reversed(path.split(".")):
        overlay = {key: overlay}
    return config.merge(DEFAULT, overlay)


def test_the_default_is_valid() -> None:
    config.check(DEFAULT)


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.name)
def test_overlays_are_valid_over_the_default(overlay: Path) -> None:
    config.check(config.merge(DEFAULT, yaml.safe_load(overlay.read_text())))


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("evaluate.bootstraps", 10, ("evaluate", "bootstraps")),
        ("evaluates", {}, ("evaluates",)),
        ("evaluate.bootstrap", "many", ("evaluate.bootstrap", "'many'")),
        ("evaluate.bootstrap", 1, ("evaluate.bootstrap", "1")),
        ("labels.uncertain", "perhaps", ("labels.uncertain", "perhaps", "masked")),
        ("report.show_patients", "no one", ("report.show_patients", "no one")),
        ("train.runs.stage1.steps", -1, ("train.runs.stage1.steps", "-1")),
        ("train.runs.stage1.stepz", 1, ("train.runs.stage1", "stepz")),
        ("seed", None, ("seed",)),
        ("pair", None, ("pair",)),
        ("generate.guidance.sweep.systems", [], ("generate.guidance.sweep.systems",)),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key(path: str, value: Any, expected: tuple[str, ...]) -> None:
    with pytest.raises(UserError) as error:
        config.check(broken(path, value))
    for part in expected:
        assert part in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize("biomedjourney", [{}, {"biomedjourney": {"picture": "prior"}}])
def test_the_system_that_edit_uses_must_have_a_run(biomedjourney: dict[str, Any]) -> None:
    others = {name: system for name, system in DEFAULT["systems"].items() if name != "biomedjourney"}
    with pytest.raises(UserError, match="systems: 'biomedjourney' is no system with a run"):
        config.check(DEFAULT | {"systems": others | biomedjourney})


@pytest.mark.parametrize("section", DEFAULT)
def test_a_missing_section_is_named(section: str) -> None:
    with pytest.raises(UserError, match=section):
        config.check({key: value for key, value in DEFAULT.items() if key != section})


def test_mappings_are_merged_and_all_else_is_replaced() -> None:
    base = {"a": {"b": 1, "c": [1, 2]}, "d": {"e": 1}, "f": 1}
    merged = config.merge(base, {"a": {"c": [3]}, "d": None, "g": 2})
    assert merged == {"a": {"b": 1, "c": [3]}, "d": None, "f": 1, "g": 2}
    assert base["a"] == {"b": 1, "c": [1, 2]}


def leaves(settings: Any, path: str = "") -> dict[str, Any]:
    """Every value that is no mapping, by its path written as ``a.b.c``."""
    if not isinstance(settings, dict):
        return {path: settings}
    return {k: v for key, inner in settings.items() for k, v in leaves(inner, f"{path}.{key}".lstrip(".")).items()}


@pytest.mark.parametrize("command", config.SECTIONS)
def test_a_command_gets_what_it_reads_and_nothing_else(command: str) -> None:
    settings = config.load([str(config.REPOSITORY / "config.yaml")], command)
    read = tuple(f"{path}." for path in config.SECTIONS[command])
    assert leaves(settings) == {k: v for k, v in leaves(DEFAULT).items() if f"{k}.".startswith(read)}
    line = config.rule_settings(DEFAULT, command)
    assert "\n" not in line
    assert config.load([line], command) == settings


@pytest.mark.parametrize("command", config.SECTIONS)
def test_a_part_that_a_command_reads_and_that_is_absent_is_named(command: str) -> None:
    for path in config.SECTIONS[command]:
        *outer, last = path.split(".")
        lacking = json.loads(json.dumps(DEFAULT))
        del (lacking[outer[0]] if outer else lacking)[last]
        with pytest.raises(UserError, match=f"lacks the section '{path}' that {command} reads"):
            config.load([json.dumps(lacking)], command)


def test_the_order_of_the_systems_survives_the_way_through_a_rule() -> None:
    passed = config.load([config.rule_settings(DEFAULT, "evaluate systems")], "evaluate systems")
    assert list(passed["systems"]) == list(DEFAULT["systems"])


def test_a_change_of_one_run_leaves_the_settings_of_the_others_alone() -> None:
    changed = config.merge(DEFAULT, {"train": {"runs": {"stage2": {"steps": 7}}}})
    lines = {
        run: [config.rule_settings(settings, "train", {"train.runs": [run]}) for settings in (DEFAULT, changed)]
        for run in RUNS
    }
    assert [run for run, (before, after) in lines.items() if before != after] == ["stage2"]
    assert config.load([lines["stage2"][1]], "train")["train"]["runs"] == {
        "stage2": DEFAULT["train"]["runs"]["stage2"] | {"steps": 7}
    }


@pytest.mark.parametrize(
    ("path", "value", "rerun"),
    [
        ("pretrain.judges.steps", 7, {"pretrain judges", "report"}),
        ("evaluate.bootstrap", 200, {"evaluate systems", "report"}),
        ("text.max_tokens", 7, {"pretrain text-tower", "encode texts", "train", "report"}),
    ],
)
def test_a_change_reaches_only_the_commands_that_read_it(path: str, value: Any, rerun: set[str]) -> None:
    changed = broken(path, value)
    assert {c for c in config.SECTIONS if config.rule_settings(DEFAULT, c) != config.rule_settings(changed, c)} == rerun


def test_later_sources_lie_over_earlier_ones(tmp_path: Path) -> None:
    (tmp_path / "over.yaml").write_text("evaluate: {bootstrap: 123}\n")
    settings = config.load(
        [str(config.REPOSITORY / "config.yaml"), str(tmp_path / "over.yaml"), '{"seed": 7}'], "evaluate systems"
    )
    assert (settings["evaluate"]["bootstrap"], settings["seed"]) == (123, 7)
    assert settings["evaluate"]["batch_size"] == DEFAULT["evaluate"]["batch_size"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "cannot be read"),
        ("a: [1", "not valid YAML"),
        ("- 1\n- 2\n", "a configuration is a mapping"),
        ("seed: 1\n", "lacks the section 'labels' that evaluate systems reads"),
        ("\xff\xfe: \x00", "not UTF-8 text"),
        ("seed: \x07", "not valid YAML"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(content: str | None, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    if content is not None:
        path.write_bytes(content.encode("latin-1"))
    with pytest.raises(UserError) as error:
        config.load([str(path)], "evaluate systems")
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_paths_are_listed_by_key(tmp_path: Path) -> None:
    settings = broken("phantom", None)
    settings["data"] = {"images": str(tmp_path), "reports": str(tmp_path / "r.zip"), "demographics": str(tmp_path)}
    settings["pretrain"] = config.merge(
        settings["pretrain"], {"judges": {"weights": {"race": str(tmp_path / "race.pt")}}}
    )
    lines = config.faulty_paths(settings)
    assert [line.split(":")[0] for line in lines] == [
        "configuration, data.reports",
        "configuration, pretrain.judges.weights.race",
    ]


def test_the_phantom_is_not_drawn_over_anything_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert config.faulty_paths(DEFAULT) == []
    (tmp_path / "archive" / "files").mkdir(parents=True)
    real = config.merge(DEFAULT, {"data": {"images": str(tmp_path / "archive")}})
    assert config.faulty_paths(real) == [
        f"configuration, data.images: {tmp_path / 'archive'} holds files that are no phantom: set phantom to null"
    ]
    (tmp_path / config.PHANTOM_MARKER).touch()
    assert config.faulty_paths(real) == []


def test_the_version_of_the_code_follows_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*config.GROUND_FLOOR, "evaluate/command.py", "report/page.html"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    monkeypatch.setattr(config, "PACKAGE", tmp_path)
    evaluate, report = config.code_version("evaluate"), config.code_version("report")
    (tmp_path / "report" / "page.html").write_text("changed")
    assert config.code_version("evaluate") == evaluate
    assert config.code_version("report") != report
    (tmp_path / "tables.py").write_text("changed")
    assert config.code_version("evaluate") != evaluate


def test_rule_settings_are_json() -> None:
    assert json.loads(config.rule_settings(DEFAULT, "pair"))["seed"] == DEFAULT["seed"]
