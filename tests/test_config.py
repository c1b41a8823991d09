"""The configuration: its mistakes, what each command gets of it, and what the results of a command depend on."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from biomedjourney import config, tables
from biomedjourney.cli import commands
from biomedjourney.errors import UserError
from tests.helpers import REPOSITORY

DEFAULT_FILE = REPOSITORY / "config.yaml"
DEFAULT = yaml.safe_load(DEFAULT_FILE.read_text())
RUNS = list(DEFAULT["train"]["runs"])
OVERLAYS = sorted((REPOSITORY / "workflow" / "configs").glob("*.yaml"))
COMMANDS = pytest.mark.parametrize("command", config.SECTIONS)


def broken(path: str, value: Any) -> dict[str, Any]:
    """The default with one key, written as ``a.b.c``, set."""
    return config.merge(DEFAULT, nested(path, value))


def nested(path: str, value: Any) -> dict[str, Any]:
    """A configuration of one key alone."""
    overlay: Any = value
    for key in reversed(path.split(".")):
        overlay = {key: overlay}
    return overlay


def leaves(settings: Any, path: str = "") -> dict[str, Any]:
    """Every value that is no mapping, by its path written as ``a.b.c``."""
    if not isinstance(settings, dict):
        return {path: settings}
    return {k: v for key, inner in settings.items() for k, v in leaves(inner, f"{path}.{key}".lstrip(".")).items()}


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


def test_a_misspelled_key_is_answered_with_the_key_that_was_meant() -> None:
    for path, key, meant in (
        ("resources.trian", "trian", "train"),
        ("evaluate.bootstraps", "bootstraps", "bootstrap"),
        ("rewrite.openai.modle", "modle", "model"),
    ):
        with pytest.raises(UserError, match=f"unknown key '{key}': did you mean '{meant}'\\?"):
            config.check(broken(path, {"threads": 1}))
    with pytest.raises(UserError, match=r"text: unknown key 'zebra': known: \['max_tokens'\]"):
        config.check(broken("text.zebra", 1))


@pytest.mark.parametrize("name", config.MODEL_FOLDERS)
def test_a_run_may_not_take_the_folder_of_another_model(name: str) -> None:
    with pytest.raises(UserError, match=f"train.runs: a run cannot be named '{name}': results/models/{name} holds"):
        config.check(broken(f"train.runs.{name}", DEFAULT["train"]["runs"]["stage2"]))


def test_what_a_name_refers_to_is_declared() -> None:
    for path, value, expected in (
        ("train.runs.stage2.writer", "openai", "stage2.writer: 'openai' is not in rewrite.writers: known: rules"),
        ("rewrite.writers", ["impression"], "stage2.writer: 'rules' is not in rewrite.writers: known: impression"),
        ("train.runs.stage2.start", "stage0", "stage2.start: there is no run 'stage0' in train.runs: known: stage1, "),
        ("systems.text-only.run", "stage9", "systems.text-only.run: there is no run 'stage9'"),
        (
            "generate.guidance.sweep.systems",
            ["copy-prior"],
            "'copy-prior' is no system with a run or a pipeline",
        ),
        ("generate.guidance.sweep.systems", ["fish"], "'fish' is no system with a run or a pipeline"),
    ):
        with pytest.raises(UserError) as error:
            config.check(broken(path, value))
        assert expected in str(error.value)
        assert "\n" not in str(error.value)
    both = {"rewrite": {"writers": ["rules", "impression"]}, "train": {"runs": {"stage2": {"writer": "impression"}}}}
    config.check(config.merge(DEFAULT, both))


@pytest.mark.parametrize("biomedjourney", [{}, {"biomedjourney": {"picture": "prior"}}])
def test_the_system_that_edit_uses_must_have_a_run(biomedjourney: dict[str, Any]) -> None:
    others = {name: system for name, system in DEFAULT["systems"].items() if name != "biomedjourney"}
    with pytest.raises(UserError, match="systems: 'biomedjourney' is no system with a run"):
        config.check(DEFAULT | {"systems": others | biomedjourney})


def test_a_training_job_is_not_told_to_save_before_it_begins() -> None:
    job = {"threads": 1, "mem_mb": 1000, "minutes": 10}
    config.check(broken("resources.train", job | {"signal_seconds": 599}))
    for seconds in (600, 3600):
        with pytest.raises(UserError) as error:
            config.check(broken("resources.train", job | {"signal_seconds": seconds}))
        assert f"resources.train.signal_seconds: {seconds} seconds before its end a job of 10 min" in str(error.value)
        assert "set less than 600, or more minutes" in str(error.value)
    for seconds in (0, -5, 70000, "60"):
        with pytest.raises(UserError, match=r"resources\.train\.signal_seconds"):
            config.check(broken("resources.train.signal_seconds", seconds))
    with pytest.raises(UserError, match=r"resources\.encode: unknown key 'signal_seconds'"):
        config.check(broken("resources.encode.signal_seconds", 60))


@pytest.mark.parametrize("section", DEFAULT)
def test_a_missing_section_is_named(section: str) -> None:
    with pytest.raises(UserError, match=section):
        config.check({key: value for key, value in DEFAULT.items() if key != section})


def test_mappings_are_merged_and_all_else_is_replaced() -> None:
    base = {"a": {"b": 1, "c": [1, 2]}, "d": {"e": 1}, "f": 1}
    merged = config.merge(base, {"a": {"c": [3]}, "d": None, "g": 2})
    assert merged == {"a": {"b": 1, "c": [3]}, "d": None, "f": 1, "g": 2}
    assert base["a"] == {"b": 1, "c": [1, 2]}


def parts_of_the_schema(rules: dict[str, Any], place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """The rules of every property, by its place: in mappings, in mappings of any key, in lists and in $defs."""
    for name, inner in rules.get("properties", {}).items():
        yield f"{place}.{name}".lstrip("."), inner
        yield from parts_of_the_schema(inner, f"{place}.{name}")
    if isinstance(rules.get("additionalProperties"), dict):
        yield f"{place}.*", rules["additionalProperties"]
        yield from parts_of_the_schema(rules["additionalProperties"], f"{place}.*")
    for name, inner in rules.get("$defs", {}).items():
        yield from parts_of_the_schema(inner, f"{place}.$defs.{name}")
    if "items" in rules:
        yield from parts_of_the_schema(rules["items"], f"{place}[]")


def test_every_property_of_the_schema_has_a_description() -> None:
    rules_by_place = dict(parts_of_the_schema(config.schema()))
    assert {"seed", "train.runs.*.writer", "systems.*.picture", "$defs.job.gpus"} <= set(rules_by_place)
    assert [place for place, rules in rules_by_place.items() if not str(rules.get("description", "")).strip()] == []


def test_every_property_of_the_default_is_in_the_schema_and_is_needed() -> None:
    """But for GPUs, and for what a system is drawn from, which is one of two keys."""
    optional = {"resources.train.gpus", "resources.generate.gpus"}
    for path in leaves(DEFAULT):
        if path not in optional and not path.startswith("systems."):
            with pytest.raises(UserError, match=f"{path.rpartition('.')[2]}.* is a required property"):
                config.check(without(DEFAULT, path))


def without(settings: dict[str, Any], path: str) -> dict[str, Any]:
    """A copy of the settings without the value at a path."""
    *outer, last = path.split(".")
    result = inner = json.loads(json.dumps(settings))
    for key in outer:
        inner = inner[key]
    del inner[last]
    return result


def at(settings: dict[str, Any], path: str) -> Any:
    """The value at a path; KeyError where it is not there."""
    for key in path.split("."):
        settings = settings[key]
    return settings


@COMMANDS
def test_a_command_gets_what_it_reads_and_nothing_else(command: str) -> None:
    settings = config.load([str(DEFAULT_FILE)], command)
    read = tuple(f"{path}." for path in config.SECTIONS[command])
    assert leaves(settings) == {k: v for k, v in leaves(DEFAULT).items() if f"{k}.".startswith(read)}


def read_by(command: str, settings: dict[str, Any] = DEFAULT) -> dict[str, Any]:
    """The parts of the settings that a command reads, valid or not."""
    return config._parts(settings, config.SECTIONS[command], command)


@COMMANDS
def test_what_a_rule_passes_makes_the_way_through_the_command_line(command: str) -> None:
    passed = config.load([json.dumps(DEFAULT)], command)
    assert json.dumps(passed) == json.dumps(config.load([str(DEFAULT_FILE)], command)), "the order of the keys survives"


def test_every_path_that_the_code_names_is_in_the_default() -> None:
    for path in (*config.WITHOUT_EFFECT, *(path for paths in config.SECTIONS.values() for path in paths)):
        at(DEFAULT, path)


@COMMANDS
def test_a_part_that_a_command_reads_and_that_is_absent_is_named(command: str) -> None:
    for path in config.SECTIONS[command]:
        with pytest.raises(UserError, match=f"lacks the section '{path}' that {command} reads: add --config"):
            config.load([json.dumps(without(DEFAULT, path))], command)


@COMMANDS
def test_what_a_command_does_not_read_may_be_absent(command: str) -> None:
    passed = read_by(command)
    config.check(passed, command)
    with pytest.raises(UserError, match="unknown key 'zebra'"):
        config.check(passed | {"zebra": 1}, command)


def in_another_order(value: Any, random: Random) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: in_another_order(value[key], random) for key in random.sample(list(value), len(value))}


def with_floats(value: Any) -> Any:
    """The same settings with every whole number as a float."""
    if isinstance(value, dict):
        return {key: with_floats(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [with_floats(inner) for inner in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


@COMMANDS
def test_results_do_not_depend_on_how_the_configuration_is_written(command: str) -> None:
    tracked = config.tracked_settings(DEFAULT, command)
    shuffled = in_another_order(DEFAULT, Random(0))
    assert list(shuffled) != list(DEFAULT)
    assert config.tracked_settings(shuffled, command) == tracked
    assert config.tracked_settings(with_floats(DEFAULT), command) == tracked
    assert "\n" not in tracked


def test_true_is_not_one() -> None:
    true, one = (broken("register.transform", value) for value in (True, 1))
    assert config.tracked_settings(true, "register") != config.tracked_settings(one, "register")


@pytest.mark.parametrize("path", config.WITHOUT_EFFECT)
def test_settings_without_effect_change_what_is_passed_and_not_what_is_tracked(path: str) -> None:
    before = at(DEFAULT, path)
    changed = broken(path, "another value")
    assert before != "another value"
    for command, read in config.SECTIONS.items():
        tracked = config.tracked_settings(DEFAULT, command)
        assert config.tracked_settings(changed, command) == tracked
        if any(f"{path}.".startswith(f"{part}.") for part in read):
            assert read_by(command, changed) != read_by(command)


@COMMANDS
def test_every_other_setting_that_a_command_reads_is_tracked(command: str) -> None:
    tracked = config.tracked_settings(DEFAULT, command)
    for path in leaves(read_by(command)):
        unseen = (*config.WITHOUT_EFFECT, *config.WITHOUT_EFFECT_ON.get(command, ()))
        if not f"{path}.".startswith(tuple(f"{prefix}." for prefix in unseen)):
            assert config.tracked_settings(broken(path, "another value"), command) != tracked, path


def test_the_second_judges_do_not_depend_on_the_weights_of_the_first() -> None:
    trained = broken("pretrain.second_judges", {"weights": None})
    given = config.merge(trained, nested("pretrain.judges.weights", WEIGHTS["judges"][0]))
    command = "pretrain second-judges"
    assert config.tracked_settings(given, command) == config.tracked_settings(trained, command)
    assert config.tracked_settings(trained, command) != config.tracked_settings(DEFAULT, command)


def test_what_is_without_effect_on_a_run_decides_for_others() -> None:
    for path, value, depends in (
        ("generate.steps", 99, "generate pictures"),
        ("generate.guidance.text_scale", 99.0, "generate pictures"),
        ("report.show_patients", False, "report"),
        ("train.seeds", 3, "report"),
    ):
        changed = broken(path, value)
        assert read_by("train", changed) != read_by("train")
        assert config.tracked_settings(changed, "train") == config.tracked_settings(DEFAULT, "train")
        assert config.tracked_settings(changed, depends) != config.tracked_settings(DEFAULT, depends)


def test_a_change_of_one_run_leaves_the_others_alone() -> None:
    changed = broken("train.runs.stage2.steps", 7)
    before, after = (
        {run: config.tracked_settings(settings, "train", run=run) for run in RUNS} for settings in (DEFAULT, changed)
    )
    assert [run for run in RUNS if before[run] != after[run]] == ["stage2"]
    assert len(set(before.values())) == len(RUNS)
    removed = without(DEFAULT, "train.runs.untrained")
    assert config.tracked_settings(removed, "train", run="stage2") == before["stage2"]


def test_a_change_of_one_system_leaves_the_others_alone() -> None:
    changed = broken("systems.text-only.run", "stage2")
    for command in ("generate pictures", "generate sweep", "generate export"):
        before, after = (
            {name: config.tracked_settings(settings, command, system=name) for name in DEFAULT["systems"]}
            for settings in (DEFAULT, changed)
        )
        assert [name for name in before if before[name] != after[name]] == ["text-only"]


@pytest.mark.parametrize("writer", ["rules", "impression"])
def test_a_writer_without_a_model_does_not_depend_on_the_model(writer: str) -> None:
    tracked = config.tracked_settings(DEFAULT, "rewrite", writer=writer)
    for path, value in (("rewrite.openai.model", "other"), ("rewrite.openai.max_tokens", 7), ("seed", 1)):
        changed = broken(path, value)
        assert config.tracked_settings(changed, "rewrite", writer=writer) == tracked
        openai = config.tracked_settings(DEFAULT, "rewrite", writer="openai")
        assert config.tracked_settings(changed, "rewrite", writer="openai") != openai


WEIGHTS = {
    "first_stage": ("a/folder", "another/folder"),
    "text_tower": ("a/folder", "another/folder"),
    "judges": ({"pathology": "p", "race": "r", "age": "a"}, {"pathology": "p", "race": "r", "age": "other"}),
    "second_judges": ({"pathology": "p", "race": "r", "age": "a"}, {"pathology": "other", "race": "r", "age": "a"}),
    "segmenter": ("a/file", "another/file"),
}


@pytest.mark.parametrize("part", WEIGHTS)
def test_a_part_whose_weights_are_given_depends_on_them_alone(part: str) -> None:
    command = f"pretrain {part.replace('_', '-')}"
    given, other = (broken(f"pretrain.{part}.weights", weights) for weights in WEIGHTS[part])
    tracked = config.tracked_settings(given, command)
    assert config.tracked_settings(other, command) != tracked
    assert config.tracked_settings(DEFAULT, command) != tracked
    for path in leaves(read_by(command, given)):
        if "weights" not in path:
            changed = config.merge(given, nested(path, "another value"))
            assert config.tracked_settings(changed, command) == tracked, path


def test_a_run_depends_on_the_weights_that_it_starts_from_and_on_no_others() -> None:
    """stage1 and untrained start from diffusion.unet's, stage2 from stage1, and own from weights of its own."""
    own = DEFAULT["train"]["runs"]["untrained"] | {"weights": "own/unet"}
    base = config.merge(DEFAULT, {"train": {"runs": {"own": own}}, "diffusion": {"unet": {"weights": "a/unet"}}})

    def changed_runs(path: str, value: Any, base: dict[str, Any] = base) -> set[str]:
        after = config.merge(base, nested(path, value))
        runs = base["train"]["runs"]
        return {
            run
            for run in runs
            if config.tracked_settings(base, "train", run=run) != config.tracked_settings(after, "train", run=run)
        }

    assert changed_runs("diffusion.unet.weights", "another/unet") == {"stage1", "untrained"}
    assert changed_runs("diffusion.unet.weights", None) == {"stage1", "untrained"}
    assert changed_runs("train.runs.own.weights", "another/unet") == {"own"}
    assert changed_runs("train.runs.untrained.weights", None) == set()
    assert changed_runs("train.runs.untrained.weights", "a/unet") == set(), "the same weights"
    assert changed_runs("diffusion.unet.layers_per_block", 3) == set()
    assert changed_runs("diffusion.unet.layers_per_block", 3, DEFAULT) == {"stage1", "untrained"}


def test_an_ablation_is_one_of_a_whole_system() -> None:
    rows = {"shorter": {"run": "stage2", "ablation_of": "biomedjourney"}, "more": {"run": "stage2"}}
    config.check(config.merge(DEFAULT, {"systems": rows}))
    for whole in ("biomedjurney", "shorter"):
        with pytest.raises(UserError, match=rf"systems.more.ablation_of: '{whole}' is no system, .*biomedjourney"):
            config.check(config.merge(DEFAULT, {"systems": rows | {"more": {"run": "stage2", "ablation_of": whole}}}))


def test_a_run_starts_from_a_run_or_from_weights() -> None:
    settings = config.merge(DEFAULT, nested("train.runs.stage2.weights", "a/unet"))
    with pytest.raises(UserError, match=r"train.runs.stage2: it starts from the run 'stage1' and from weights of its"):
        config.check(settings)
    config.check(config.merge(settings, nested("train.runs.stage2.start", None)))
    config.check(config.merge(settings, nested("train.runs.stage2.weights", None)))
    with pytest.raises(UserError, match=r"train.runs.stage2.weights: 3 is not of type 'string', 'null'"):
        config.check(config.merge(settings, nested("train.runs.stage2.weights", 3)))


@pytest.mark.parametrize(
    ("prefetch", "said"),
    [
        ({"a/b": {"revision": "main", "folder": "x"}}, "prefetch.a/b.revision: 'main' does not match .*commit"),
        ({"a/b": {"revision": "0" * 40}}, "prefetch.a/b: 'folder' is a required property"),
        ({"a/b/c": {"revision": None, "folder": "x"}}, "'a/b/c' does not match"),
        ({"https://hub/a/b": {"revision": None, "folder": "x"}}, "does not match"),
    ],
)
def test_a_repository_is_a_name_with_a_commit_and_a_folder(prefetch: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        config.check(DEFAULT | {"prefetch": prefetch})
    config.check(DEFAULT | {"prefetch": {"a/b": {"revision": "0" * 40, "folder": "x"}}})


@pytest.mark.parametrize(
    ("path", "value", "rerun"),
    [
        ("pretrain.judges.steps", 7, {"pretrain judges", "pretrain second-judges", "report"}),
        (
            "pretrain.second_judges",
            {"weights": None},
            {"pretrain check", "prefetch", "pretrain second-judges", "report"},
        ),
        (
            "evaluate.bootstrap",
            200,
            {"evaluate samplers", "evaluate soundness", "evaluate systems", "evaluate judges", "report"},
        ),
        ("text.max_tokens", 7, {"pretrain check", "pretrain text-tower", "encode texts", "train", "report"}),
        ("generate.guidance.sweep.pairs", 7, {"generate sweep", "report"}),
        ("generate.samplers", {"systems": ["biomedjourney"]}, {"generate samplers", "report"}),
        ("data.demographics", "elsewhere", {"ingest tables"}),
    ],
)
def test_a_change_reaches_only_the_commands_that_read_it(path: str, value: Any, rerun: set[str]) -> None:
    given = broken("diffusion.unet.weights", "a/unet")  # without weights the check reads no more
    changed = config.merge(given, nested(path, value))
    tracked = {c: [config.tracked_settings(settings, c) for settings in (given, changed)] for c in config.SECTIONS}
    assert {command for command, (before, after) in tracked.items() if before != after} == rerun
    assert {c for c in config.SECTIONS if read_by(c, given) != read_by(c, changed)} == rerun


def test_threads_memory_and_time_of_jobs_run_nothing_again() -> None:
    """The report shows them."""
    changed = config.merge(DEFAULT, {"resources": {"train": {"threads": 7}}})
    for command in config.SECTIONS:
        assert config.tracked_settings(changed, command) == config.tracked_settings(DEFAULT, command), command


def test_later_sources_lie_over_earlier_ones(tmp_path: Path) -> None:
    (tmp_path / "over.yaml").write_text("evaluate: {bootstrap: 123}\n")
    settings = config.load([str(DEFAULT_FILE), str(tmp_path / "over.yaml"), '{"seed": 7}'], "evaluate systems")
    assert (settings["evaluate"]["bootstrap"], settings["seed"]) == (123, 7)
    assert settings["evaluate"]["age_groups"] == DEFAULT["evaluate"]["age_groups"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "cannot be read"),
        ("a: [1", "not valid YAML"),
        ("- 1\n- 2\n", "a configuration is a mapping"),
        ("seed: 1\n", "lacks the section 'labels' that evaluate systems reads"),
        ("seed: 1\nlabels: 3\n", "labels: 3 is not of type 'object'"),
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
        settings["pretrain"],
        {
            part: {"weights": {kind: str(tmp_path / kind)}}
            for part, kind in (("judges", "race"), ("second_judges", "pathology"))
        },
    )
    own = settings["train"]["runs"]["stage1"] | {"weights": str(tmp_path / "unet")}
    settings = config.merge(settings, {"train": {"runs": {"weights": own}}})  # the name of a run says nothing
    lines = config.faulty_paths(settings)
    assert [line.split(":")[0] for line in lines] == [
        "configuration, data.reports",
        "configuration, pretrain.judges.weights.race",
        "configuration, pretrain.second_judges.weights.pathology",
        "configuration, train.runs.weights.weights",
    ]
    assert all(line.endswith("or fetch it with biomedjourney prefetch") for line in lines[1:])


def test_braces_that_snakemake_would_misread_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where no phantom was drawn
    [line] = config.faulty_paths(broken("data.images", str(tmp_path / "films {old}" / "jpg")))
    assert line.startswith(f"configuration, data.images: {tmp_path}/films {{old}}/jpg: Snakemake takes braces")


@pytest.mark.parametrize("source", ["", " \n"])
def test_an_empty_source_is_named(source: str) -> None:
    with pytest.raises(UserError, match=r"^--config: empty: give a file"):
        config.load([source], "pair tables")


@pytest.mark.parametrize("key", ["data.images", "pretrain.first_stage.weights"])
def test_a_home_folder_of_nobody_is_named(key: str) -> None:
    settings = config.with_home(broken(key, "~nobody-here/x"))
    [line] = config.faulty_paths(settings)
    assert line.startswith(f"configuration, {key}: ~nobody-here/x: there is no such user")
    assert not any("no such user" in line for line in config.faulty_paths(broken(key, "./~folder/x")))


def test_a_folder_that_cannot_be_written_is_named_before_snakemake_tries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a stand-in for the system's answer: the tests may run as root, who may write anywhere."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: (Path(path), mode) != (Path("results"), os.W_OK))
    [line] = config.faulty_paths(DEFAULT)
    assert line.startswith(f"{tmp_path / 'results'}: the workflow cannot write there")


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


def test_the_configuration_of_the_working_folder_comes_before_the_one_of_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An installed wheel carries the default; a checkout does not need it there."""
    package, folder = tmp_path / "package", tmp_path / "folder"
    package.mkdir()
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(config, "PACKAGE", package)
    assert config._default_source() == ("config.yaml",)
    (package / "config.yaml").touch()
    assert config._default_source() == (str(package / "config.yaml"),)
    (folder / "config.yaml").touch()
    assert config._default_source() == ("config.yaml",)


PATHS = {
    *(f"data.{name}" for name in ("images", "tables", "reports", "demographics")),
    *(f"pretrain.{part}.weights" for part in ("first_stage", "text_tower", "segmenter")),
    *(
        f"pretrain.{part}.weights.{kind}"
        for part in ("judges", "second_judges")
        for kind in ("pathology", "race", "age")
    ),
    *("diffusion.unet.weights", "train.runs.stage1.weights", "prefetch.a/b.folder", "rewrite.openai.cache"),
}


def test_the_home_folder_takes_the_place_of_the_tilde_in_paths_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/some one")
    weights = {"weights": {"pathology": "a", "race": "b", "age": "c"}}
    settings = broken("pretrain", {"judges": weights, "second_judges": weights})
    settings["train"]["runs"]["stage2"]["start"] = "stage1"
    settings = config.merge(settings, nested("train.runs.stage1.weights", "a"))
    settings["prefetch"] = {"a/b": {"revision": "0" * 40, "folder": "a"}}
    for path in leaves(settings):
        with_tilde = config.merge(settings, nested(path, "~/é x"))
        expected = config.merge(settings, nested(path, "/home/some one/é x")) if path in PATHS else with_tilde
        assert config.with_home(with_tilde) == expected, path
    assert leaves(settings).keys() >= PATHS
    for unchanged in ("a~/x", "~nobody-of-this-name/x", "/~", "./~"):
        assert config.with_home(nested("data.images", unchanged)) == nested("data.images", unchanged)


def test_a_command_gets_paths_with_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.yaml").write_text("data: {images: ~/films}")
    loaded = config.load([str(DEFAULT_FILE), "~/mine.yaml"], "preprocess")
    assert loaded["data"]["images"] == str(tmp_path / "films")
    both = config.load([str(DEFAULT_FILE), '{"pretrain": {"first_stage": {"weights": "~"}}}'], "pretrain first-stage")
    assert both["pretrain"]["first_stage"]["weights"] == str(tmp_path)


def test_numbers_and_letters_of_every_kind_make_the_way_to_a_command() -> None:
    """YAML would read JSON's 1e-05 as a word, and a letter beyond 16 bits as two halves."""
    over = {"train": {"learning_rate": 1e-05, "min_snr_gamma": 1e22}, "diffusion": {"unet": {"weights": "/a b/é/☺/𝛼"}}}
    settings = config.merge(DEFAULT, over)
    for text in (json.dumps(settings), json.dumps(settings, ensure_ascii=False)):
        loaded = config.load([text], "train")
        assert loaded["train"]["learning_rate"] == 1e-05
        assert loaded["train"]["min_snr_gamma"] == 1e22
        assert loaded["diffusion"]["unet"]["weights"] == "/a b/é/☺/𝛼"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("seed: 1\nlabels: {}\nseed: 2\n", "the key 'seed' stands twice"),
        ('{"seed": 1, "labels": {}, "seed": 2}', "the key 'seed' stands twice"),
        ('{"evaluate": {"bootstrap": 100, "bootstrap": 200}}', "the key 'bootstrap' stands twice"),
        ("train: &all\n  runs: *all\n", "Circular reference"),
        ("[" * 5000, "recursion"),
        ("evaluate: {bootstrap: 100, batch_size: 1, bootstrap: 200}", "the key 'bootstrap' stands twice"),
        ("train:\n  runs:\n    a: {steps: 1}\n    a: {steps: 2}\n", "the key 'a' stands twice"),
        ("seed: 2026-99-99", "not valid YAML"),
        ("seed: &a [*a", "not valid YAML"),
        ("seed: !!python/object:os.system x", "not valid YAML"),
        ("a: b: c", "not valid YAML"),
        ("\tseed: 1", "not valid YAML"),
        ("just words", "a mapping of sections"),
    ],
)
def test_a_text_that_is_no_configuration_is_one_line(text: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(UserError, match=rf"mine.yaml: .*{expected}") as error:
        config.read(tmp_path / "mine.yaml")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "# a comment\n", "---\n", "null", "{}"])
def test_an_empty_configuration_changes_nothing(text: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    assert config.read(tmp_path / "mine.yaml") == {}


def test_keys_from_an_anchor_may_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\n")
    assert config.read(tmp_path / "mine.yaml")["b"] == {"x": 1, "y": 3}


def test_a_system_is_drawn_by_a_run_a_stored_picture_or_a_pipeline() -> None:
    pipeline = {"pipeline": "F", "prior": "registered", "text": "description"}
    for own in (pipeline, pipeline | {"pipeline": None, "writer": "rules", "size": 512}):
        config.check(broken("systems.instruct-pix2pix", own))
    for own, said in (
        (pipeline | {"run": "stage2"}, "systems.new: "),
        ({"pipeline": "F"}, "systems.new: "),
        ({"run": "stage2", "prior": "none"}, "'pipeline' is a dependency of 'prior'"),
        (pipeline | {"prior": "unregistered"}, "systems.new.prior: 'unregistered' is not one of"),
        (pipeline | {"writer": "openai"}, "systems.new.writer: 'openai' is not in rewrite.writers: known: rules"),
    ):
        with pytest.raises(UserError) as error:
            config.check(broken("systems.new", own))
        assert said in str(error.value)
    for name in ("judges", "stage2"):
        with pytest.raises(UserError, match=f"systems.{name}: results/models/{name} holds another model"):
            config.check(broken(f"systems.{name}", pipeline))


def test_a_pipeline_s_folder_is_a_path_of_published_weights() -> None:
    own = {"prior": "none", "text": "report"}
    systems = {"roentgen": own | {"pipeline": "~/roentgen"}, "stable-diffusion": own | {"pipeline": None}}
    settings = config.with_home(config.merge(DEFAULT, {"systems": systems}))
    given = config.weights(settings)
    assert given["systems.roentgen.pipeline"] == str(Path.home() / "roentgen")
    assert given["systems.stable-diffusion.pipeline"] is None
    [line] = config.faulty_paths(settings)
    assert line.startswith("configuration, systems.roentgen.pipeline: /")
    assert "does not exist" in line
    tracked = [config.tracked_settings(config.merge(settings, {"systems": {"roentgen": {"size": size}}}),
                                       "generate pictures", system="roentgen") for size in (256, 512)]  # fmt: skip
    assert tracked[0] != tracked[1]


@pytest.mark.parametrize(
    ("settings", "mode"),
    [
        ({"phantom": None}, 0o600),
        ({"phantom": None, "readers": None}, 0o600),
        ({"phantom": None, "readers": "group"}, 0o640),
        ({"phantom": {"patients": 10}}, 0o644),
        ({"phantom": {"patients": 10}, "readers": "owner"}, 0o600),
        ({"seed": 0}, 0o644),
    ],
    ids=str,
)
def test_what_is_made_of_real_patients_data_is_hidden_from_others(
    settings: dict[str, Any], mode: int, tmp_path: Path
) -> None:
    before = os.umask(0o022)
    try:
        assert config.limit_readers(settings) == 0o022
        (tmp_path / "file").touch()
        with tables.atomic_path(tmp_path / "table") as temporary:
            temporary.touch()
        assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {"file": mode, "table": mode}
    finally:
        os.umask(before)


def test_a_stricter_umask_stays() -> None:
    before = os.umask(0o077)
    try:
        config.limit_readers({"phantom": None, "readers": "group"})
        assert os.umask(before) == 0o077
    finally:
        os.umask(before)


def test_a_command_hides_its_files_and_leaves_the_umask_as_it_was(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        phantom = {"patients": 10, "image_size": 64, "organ_masks": 1}
        words = ["phantom", "--config", json.dumps({"seed": 0, "readers": "owner", "phantom": phantom})]
        words += ["--processes", "1"]  # children of pytest's own fork server would have its umask
        words += [word for name in ("out", "truth", "organs") for word in (f"--{name}", str(tmp_path / name))]
        result = CliRunner().invoke(commands, words, catch_exceptions=False)
        assert result.exit_code == 0
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert len(files) > 10
        assert {path.stat().st_mode & 0o077 for path in files} == {0}
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)
