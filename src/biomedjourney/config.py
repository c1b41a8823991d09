"""Configuration: reading, overlaying and checking it, and what a step may depend on."""

import hashlib
import json
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

import click
import yaml

from biomedjourney.errors import UserError

REPOSITORY = Path(__file__).resolve().parents[2]
SCHEMA = REPOSITORY / "workflow" / "schemas" / "config.schema.yaml"
PACKAGE = Path(__file__).resolve().parent
PHANTOM_MARKER = "PHANTOM.txt"  # lies in the folder of a drawn cohort

# The sections of the configuration, or parts of them, that each command reads: it checks that they are there, and its
# rule passes just them, so that a change elsewhere does not run the step again.
SECTIONS: dict[str, tuple[str, ...]] = {
    "phantom": ("seed", "phantom"),
    "ingest": ("data", "ingest"),
    "pair": ("seed", "pair"),
    "rewrite": ("seed", "phantom", "rewrite"),  # the phantom alone may be sent anywhere
    "preprocess": ("data", "preprocess"),
    "register": ("preprocess", "register"),
    "pretrain first-stage": ("seed", "pretrain.first_stage"),
    "pretrain text-tower": ("seed", "preprocess.size", "text", "labels", "pretrain.text_tower"),
    "pretrain judges": ("seed", "preprocess.size", "labels", "pretrain.judges"),
    "encode pictures": ("encode",),
    "encode texts": ("text", "encode"),
    "train": ("seed", "text", "diffusion", "train"),
    "generate": ("seed", "generate", "systems"),
    "evaluate guidance": ("seed", "labels", "evaluate.batch_size", "systems"),
    "evaluate systems": ("seed", "labels", "evaluate", "systems"),
    "report": (
        *("seed", "ingest", "pair", "labels", "rewrite", "preprocess", "register", "text", "pretrain", "encode"),
        *("diffusion", "train", "generate", "systems", "evaluate", "report"),  # shown as the report's provenance
    ),
}

GROUND_FLOOR = ("config.py", "errors.py", "pixels.py", "progress.py", "sampling.py", "tables.py", "workers.py")


@cache
def schema() -> dict[str, Any]:
    return yaml.safe_load(SCHEMA.read_text())


def check(settings: dict[str, Any], command: str | None = None) -> None:
    """Raises UserError with one line for the first key that is unknown, missing or of a wrong type or value.

    With ``command``, whatever it does not read may be absent.
    """
    import jsonschema

    rules = schema() if command is None else _schema_of_parts(SECTIONS[command])
    found = jsonschema.Draft202012Validator(rules).iter_errors(settings)
    error = jsonschema.exceptions.best_match(found)
    if error is not None:
        raise UserError(f"configuration, {_explain(error)}")
    if command is None:
        _check_names(settings)


def _schema_of_parts(paths: Iterable[str]) -> dict[str, Any]:
    """The schema of a configuration of which these sections or parts alone need to be there."""
    sections = dict(schema()["properties"])
    for section in {path.partition(".")[0] for path in paths if "." in path}:
        sections[section] = {k: v for k, v in sections[section].items() if k != "required"}
    return {k: v for k, v in schema().items() if k != "required"} | {"properties": sections}


def _check_names(settings: dict[str, Any]) -> None:
    """Refuses a run or a system that is referred to and not declared."""
    runs, systems = settings["train"]["runs"], settings["systems"]
    referred = {f"train.runs.{name}.start": run["start"] for name, run in runs.items()}
    referred |= {f"systems.{name}.run": system.get("run") for name, system in systems.items()}
    for where, run in referred.items():
        if run is not None and run not in runs:
            raise UserError(f"configuration, {where}: there is no run {run!r} in train.runs: known: {', '.join(runs)}")
    swept = settings["generate"]["guidance"]["sweep"]["systems"]
    needed = dict.fromkeys(swept, "generate.guidance.sweep.systems") | {"biomedjourney": "systems"}
    for name, where in needed.items():
        if "run" not in systems.get(name, {}):
            raise UserError(f"configuration, {where}: {name!r} is no system with a run")


def _explain(error: Any) -> str:
    """Where a schema's error lies, what is wrong there, and what was expected."""
    where = ".".join(str(part) for part in error.absolute_path) or "top level"
    known = list(error.schema.get("properties", {}))
    if error.validator == "additionalProperties" and known:
        unknown = next(key for key in error.instance if key not in known)
        close = get_close_matches(str(unknown), known, n=1)
        return f"{where}: unknown key {unknown!r}: " + (f"did you mean {close[0]!r}?" if close else f"known: {known}")
    remedy = f" ({error.schema['description']})" if error.absolute_path and "description" in error.schema else ""
    return f"{where}: {error.message}{remedy}"


def merge(base: dict[str, Any], overlay: dict[str, Any]) -> dict[str, Any]:
    """The base with the overlay laid over it, mappings merged key by key, everything else replaced."""
    result = dict(base)
    for key, value in overlay.items():
        if isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merge(result[key], value)
        else:
            result[key] = value
    return result


def load(sources: Iterable[str], command: str) -> dict[str, Any]:
    """The settings that ``command`` reads, from YAML files (or YAML text itself), later ones laid over earlier ones.

    Raises UserError for a file that is missing or is no YAML, for a section that is absent, and as `check` does.
    """
    settings: dict[str, Any] = {}
    for source in sources:
        text, name = source, "the text given to --config"
        if not source.lstrip().startswith("{"):
            name = source
            try:
                text = Path(source).read_text(encoding="utf-8")
            except OSError as error:
                raise UserError(f"{source}: configuration cannot be read ({error.strerror}): check --config") from None
            except UnicodeDecodeError:
                raise UserError(f"{source}: not UTF-8 text, so no configuration: check --config") from None
        try:
            loaded = yaml.safe_load(text) or {}
        except yaml.YAMLError as error:
            raise UserError(f"{name}: not valid YAML: {' '.join(str(error).split())}") from None
        if not isinstance(loaded, dict):
            raise UserError(f"{name}: a configuration is a mapping of sections, see config.yaml")
        settings = merge(settings, loaded)
    sections = {path.partition(".")[0] for path in SECTIONS[command]}
    check({section: value for section, value in settings.items() if section in sections}, command)
    return _parts(settings, command)


def _parts(settings: dict[str, Any], command: str) -> dict[str, Any]:
    """The sections or parts that ``command`` reads. Raises UserError where one is absent."""
    result: dict[str, Any] = {}
    for path in SECTIONS[command]:
        section, _, part = path.partition(".")
        try:
            whole = settings[section]
            result[section] = result.get(section, {}) | {part: whole[part]} if part else whole
        except KeyError:
            raise UserError(
                f"configuration lacks the section {path!r} that {command} reads: add --config config.yaml"
            ) from None
    return result


def option(command: str) -> Callable[..., Any]:
    """The ``--config`` option of a command, which receives what `SECTIONS` lists for it as ``settings``."""

    def parse(context: click.Context, parameter: click.Parameter, sources: tuple[str, ...]) -> dict[str, Any]:
        return load(sources, command)

    return click.option(
        "--config",
        "settings",
        multiple=True,
        default=("config.yaml",),
        show_default=True,
        callback=parse,
        metavar="YAML",
        help="Configuration file, or its text; repeat to lay one over another.",
    )


def rule_settings(settings: dict[str, Any], command: str, only: dict[str, Iterable[str]] | None = None) -> str:
    """What ``command`` reads, as one line of JSON for its rule to pass to ``--config``.

    ``only``: the entries to keep of a section or part, such as ``{"train.runs": ["stage2"]}``.
    """
    parts = _parts(settings, command)
    for path, names in (only or {}).items():
        parts = _with_only(parts, path, names)
    return json.dumps(parts)


def _with_only(settings: dict[str, Any], path: str, names: Iterable[str]) -> dict[str, Any]:
    key, _, rest = path.partition(".")
    inner = settings[key]
    return settings | {key: _with_only(inner, rest, names) if rest else {name: inner[name] for name in names}}


def faulty_paths(settings: dict[str, Any]) -> list[str]:
    """One line for each path of the configuration that is not there, or that the phantom would be drawn over."""
    data = {f"data.{key}": Path(value) for key, value in settings["data"].items() if value is not None}
    needed = {key: Path(path) for key, path in _weights(settings, ()).items() if path is not None}
    lines = []
    if settings["phantom"] is None:
        needed = data | needed
    elif not (Path(settings["data"]["images"]).parent / PHANTOM_MARKER).is_file():
        lines = [
            f"configuration, {key}: {path} holds files that are no phantom: set phantom to null"
            for key, path in data.items()
            if path.is_file() or (path.is_dir() and any(path.iterdir()))
        ]
    return lines + [
        f"configuration, {key}: {path} does not exist: set it to the path of your copy"
        for key, path in needed.items()
        if not path.exists()
    ]


def _weights(settings: dict[str, Any], where: tuple[str, ...]) -> dict[str, str | None]:
    """Every path under a key ``weights``, by its place in the configuration."""
    found: dict[str, str | None] = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            found |= _weights(value, (*where, key))
        elif "weights" in (key, *where):
            found[".".join((*where, key))] = value
    return found


def code_version(verb: str) -> str:
    """A hash of the code that ``verb`` consists of: its own module or folder, and the ground floor."""
    folder = PACKAGE / verb
    own = sorted(p for p in folder.rglob("*") if p.suffix != ".pyc" and p.is_file())
    digest = hashlib.sha256()
    for path in [*own, *(PACKAGE / name for name in GROUND_FLOOR)]:
        digest.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]
