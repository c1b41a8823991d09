"""Configuration: reading, overlaying and checking it, and what a step may depend on."""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from difflib import get_close_matches
from functools import cache, partial, reduce, wraps
from pathlib import Path
from typing import Any

import click
import yaml

from biomedjourney.errors import UserError, umask

PACKAGE = Path(__file__).resolve().parent
SCHEMA = PACKAGE / "config.schema.yaml"
DEFAULT_FILE = "config.yaml"
PHANTOM_MARKER = "PHANTOM.txt"  # lies in the folder of a drawn cohort
WRITTEN = tuple(map(Path, (".", ".snakemake", "results", "logs", "benchmarks")))  # folders, in the working one
# beside the training runs' folders
MODEL_FOLDERS = ("first-stage", "text-tower", "judges", "second-judges", "segmenter", "biomedjourney")


class HomePath(click.Path):
    """A path of the command line. A leading ``~``, which a shell leaves alone in ``--out=~/x``, is the home folder."""

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        return super().convert(os.path.expanduser(value), parameter, context)


PATH = HomePath(path_type=Path)

# Where published weights may be named: a run of `train.runs` may have weights, and one of `systems` may be a pipeline.
WEIGHTS = (
    *("pretrain.first_stage.weights", "pretrain.text_tower.weights", "pretrain.judges.weights"),
    *("pretrain.second_judges", "pretrain.segmenter.weights", "diffusion.unet.weights", "train.runs", "systems"),
)

# The umask that hides new files from all but these readers.
HIDDEN_FROM = {"group": 0o027, "owner": 0o077}

# What each command reads of the configuration. A command sees nothing else, and its rule depends on nothing else.
SECTIONS: dict[str, tuple[str, ...]] = {
    "phantom": ("seed", "phantom"),
    "ingest tables": ("data", "ingest"),
    "ingest check": ("data.images", "ingest.checksums"),
    "pair tables": ("seed", "pair"),
    "pair images": ("seed", "phantom", "data.images", "pair"),
    "rewrite": ("seed", "phantom", "rewrite.largest_fallback_share", "rewrite.openai"),
    "preprocess": ("data.images", "preprocess"),
    "register": ("data.images", "register"),
    "pretrain check": (
        *("preprocess.size", "text.max_tokens", "labels.findings", "pretrain.text_tower.width", "prefetch"),
        *WEIGHTS,
    ),
    "pretrain first-stage": ("seed", "pretrain.first_stage"),
    "pretrain text-tower": ("seed", "preprocess.size", "text", "labels", "pretrain.text_tower"),
    "pretrain judges": ("seed", "preprocess.size", "labels", "pretrain.judges"),
    "pretrain second-judges": (
        *("seed", "preprocess.size", "labels", "pretrain.second_judges"),
        *(f"pretrain.judges.{key}" for key in ("steps", "batch_size", "learning_rate")),
    ),
    "pretrain segmenter": ("seed", "preprocess.size", "pretrain.segmenter"),
    "encode pictures": ("encode",),
    "encode texts": ("text", "encode"),
    "prefetch": ("phantom", "prefetch", *WEIGHTS),
    "train": (
        *("seed", "phantom", "text", "diffusion", "train"),
        *("generate.solver", "generate.steps", "report.show_patients"),
        *("generate.guidance.text_scale", "generate.guidance.image_scale"),
    ),
    "generate pictures": (
        *("preprocess.size", "generate.seeds", "generate.solver", "generate.steps", "generate.batch_size"),
        *("generate.shards", "systems", "generate.guidance.text_scale", "generate.guidance.image_scale"),
    ),
    "generate copies": ("generate.seeds", "generate.shards", "systems"),
    "generate sweep": (
        *("seed", "preprocess.size", "generate.seeds", "generate.solver", "generate.steps", "generate.batch_size"),
        *("generate.shards", "systems"),
        *(f"generate.guidance.sweep.{key}" for key in ("text_scales", "image_scales", "pairs")),
    ),
    "generate soundness": (
        *("seed", "generate.seeds", "generate.solver", "generate.steps", "generate.batch_size", "generate.soundness"),
        *("generate.guidance.text_scale", "generate.guidance.image_scale"),
    ),
    "generate samplers": (
        *("seed", "preprocess.size", "generate.seeds", "generate.batch_size", "generate.shards", "systems"),
        "generate.samplers",
        *("generate.guidance.text_scale", "generate.guidance.image_scale"),
    ),
    "generate stand-in": (
        *("seed", "preprocess.size", "pretrain.first_stage", "pretrain.stand_in", "diffusion", "systems"),
        *(f"train.{key}" for key in ("learning_rate", "warmup_steps", "decay", "weight_decay", "min_snr_gamma")),
        *(f"train.{key}" for key in ("timestep_power", "gradient_norm", "ema_decay", "dropout")),
        *(f"train.{key}" for key in ("log_every", "checkpoint_every", "checkpoint_minutes")),
    ),
    "generate export": (
        *("pair", "preprocess", "register", "pretrain.first_stage", "pretrain.text_tower", "systems"),  # for the card
        *("generate.solver", "generate.steps", "generate.guidance.text_scale", "generate.guidance.image_scale"),
    ),
    "evaluate guidance": ("labels", "evaluate.batch_size"),
    "evaluate samplers": ("seed", "labels", "evaluate.batch_size", "evaluate.bootstrap"),
    "evaluate real": ("evaluate.batch_size",),
    "evaluate scores": ("evaluate.batch_size",),
    "evaluate soundness": ("seed", "labels", "evaluate.batch_size", "evaluate.bootstrap"),
    "evaluate second-scores": ("evaluate.batch_size",),
    "evaluate judges": ("seed", "labels", "systems", "evaluate.bootstrap"),
    "evaluate systems": (
        *("seed", "labels", "systems", "evaluate.bootstrap", "evaluate.age_groups", "evaluate.interval_groups"),
    ),
    "report": (
        *("seed", "ingest", "pair", "labels", "rewrite", "preprocess", "register", "text", "pretrain", "encode"),
        *("diffusion", "train", "generate", "systems", "evaluate", "report", "resources"),  # shown as provenance
    ),
}

# Settings that decide how fast a step runs, what it costs, how much it says or when it gives up, but not its results
# (some of training's change how it rounds).
# A change of one of these runs nothing again. The report prints them as they were when it was written.
WITHOUT_EFFECT = (
    "ingest.largest_refused_share",
    *("preprocess.largest_refused_share", "register.largest_failed_share", "rewrite.largest_fallback_share"),
    *("train.log_every", "train.checkpoint_every", "train.checkpoint_minutes"),
    *("train.validate_every", "train.validation", "train.tensorboard"),
    *("train.compile", "train.deterministic", "train.micro_batch_size", "train.gradient_checkpointing"),
    *("encode.batch_size", "generate.batch_size", "evaluate.batch_size"),
    *(f"rewrite.openai.{key}" for key in ("in_flight", "requests_per_minute", "tokens_per_minute")),
    *(f"rewrite.openai.{key}" for key in ("timeout_seconds", "price", "largest", "cache")),
    "rewrite.openai.zero_data_retention_confirmed_by",
)

# What is without effect on the results of one command: what it only shows, how often each run is trained, and for which
# systems it runs.
WITHOUT_EFFECT_ON = {
    "train": ("generate", "report", "train.seeds"),
    "generate samplers": ("generate.samplers.systems",),
    "report": ("resources",),
}


@cache
def schema() -> dict[str, Any]:
    return yaml.safe_load(SCHEMA.read_text())


def check(settings: dict[str, Any], command: str | None = None) -> None:
    """Raises UserError with one line for the first key that is unknown, missing or of a wrong type or value.

    With ``command``, whatever it does not read may be absent.
    """
    import jsonschema

    rules = schema() if command is None else _schema_of_parts(SECTIONS[command])
    error = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(rules).iter_errors(settings))
    if error is not None:
        raise UserError(f"configuration, {_explain(error)}")
    if command is None:
        _check_names(settings)
        _check_signal(settings["resources"]["train"])


def limit_readers(settings: dict[str, Any]) -> int:
    """Hides what this process and its children write from now on, as ``readers`` says, and returns the umask before.

    A stricter umask stays. Settings without the sections that tell leave it as it is.
    """
    readers = settings.get("readers") or ("owner" if settings.get("phantom", True) is None else None)
    return os.umask(umask() | HIDDEN_FROM.get(str(readers), 0))


@contextmanager
def _under(mask: int) -> Iterator[None]:
    """The process has this umask meanwhile."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def for_the_owner() -> AbstractContextManager[None]:
    """Files and folders that are made meanwhile can be read by nobody but their owner."""
    return _under(HIDDEN_FROM["owner"])


def hidden_like_inputs(command: Callable[..., None]) -> Callable[..., None]:
    """A command without a configuration that hides what it writes from whoever cannot read all files that it is given.

    The workflow's umask and a stricter one stay.
    """

    @wraps(command)
    def hidden(**values: Any) -> None:
        given = [path for value in values.values() for path in (value if isinstance(value, tuple) else (value,))]
        files = [path for path in given if isinstance(path, Path) and path.is_file()]
        with _under(reduce(lambda mask, file: mask | (~file.stat().st_mode & 0o077), files, umask())):
            command(**values)

    return hidden


def _schema_of_parts(paths: Iterable[str]) -> dict[str, Any]:
    """The schema of a configuration of which these sections or parts alone need to be there."""
    partial = {tuple(path.split(".")[:depth]) for path in paths for depth in range(path.count(".") + 1)}

    def without_required(rules: dict[str, Any], place: tuple[str, ...]) -> dict[str, Any]:
        if place not in partial:
            return rules
        inner = {key: without_required(value, (*place, key)) for key, value in rules["properties"].items()}
        return {key: value for key, value in rules.items() if key != "required"} | {"properties": inner}

    return without_required(schema(), ())


def _check_names(settings: dict[str, Any]) -> None:
    """Refuses a run, a system or a writer that is referred to and not declared, and a run named like another model."""
    runs, systems, writers = settings["train"]["runs"], settings["systems"], settings["rewrite"]["writers"]
    referred = {f"train.runs.{name}.start": run["start"] for name, run in runs.items()}
    referred |= {f"systems.{name}.run": system.get("run") for name, system in systems.items()}
    for place, run_name in referred.items():
        if run_name is not None and run_name not in runs:
            raise UserError(
                f"configuration, {place}: there is no run {run_name!r} in train.runs: known: {', '.join(runs)}"
            )
    for name, run in runs.items():
        check_run(name, run)
        if name in MODEL_FOLDERS:
            raise UserError(
                f"configuration, train.runs: a run cannot be named {name!r}: results/models/{name} holds another model"
            )
        if run["data"] == "triples" and run["writer"] not in writers:
            raise UserError(
                f"configuration, train.runs.{name}.writer: {run['writer']!r} is not in rewrite.writers: "
                f"known: {', '.join(writers)}"
            )
    for name, system in systems.items():
        whole = system.get("ablation_of")
        if whole is not None and (whole not in systems or "ablation_of" in systems[whole]):
            raise UserError(
                f"configuration, systems.{name}.ablation_of: {whole!r} is no system, or is an ablation itself: "
                f"known: {', '.join(known for known in systems if 'ablation_of' not in systems[known])}"
            )
        if system.get("writer") not in (None, *writers):
            raise UserError(
                f"configuration, systems.{name}.writer: {system['writer']!r} is not in rewrite.writers: "
                f"known: {', '.join(writers)}"
            )
        if "pipeline" in system and (name in runs or name in MODEL_FOLDERS):
            raise UserError(
                f"configuration, systems.{name}: results/models/{name} holds another model: rename the system"
            )
    for name in (settings["generate"]["samplers"] or {"systems": []})["systems"]:
        if "run" not in systems.get(name, {}):
            raise UserError(f"configuration, generate.samplers.systems: {name!r} is no system with a run")
    for name in settings["generate"]["guidance"]["sweep"]["systems"]:
        if not {"run", "pipeline"} & systems.get(name, {}).keys():
            raise UserError(
                f"configuration, generate.guidance.sweep.systems: {name!r} is no system with a run or a pipeline"
            )
    if "run" not in systems.get("biomedjourney", {}):
        raise UserError("configuration, systems: 'biomedjourney' is no system with a run")


def _check_signal(job: dict[str, Any]) -> None:
    """Refuses a training job that would be told to save, and to end, as soon as it starts."""
    if job["signal_seconds"] >= 60 * job["minutes"]:
        raise UserError(
            f"configuration, resources.train.signal_seconds: {job['signal_seconds']} seconds before its end a job of "
            f"{job['minutes']} minutes has not begun: set less than {60 * job['minutes']}, or more minutes"
        )


def check_run(name: str, run: dict[str, Any]) -> None:
    """Refuses a run with two starts, and one on singles with settings that only triples can have."""
    if run["start"] is not None and run.get("weights") is not None:
        raise UserError(
            f"configuration, train.runs.{name}: it starts from the run {run['start']!r} and from weights of its own: "
            "set start or weights to null"
        )
    expected = {"prior": "none", "text": "report", "writer": None, "directions": ["forward"]}
    wrong = [key for key, value in expected.items() if run[key] != value]
    if run["data"] == "singles" and wrong:
        raise UserError(
            f"configuration, train.runs.{name}.{wrong[0]}: singles have no prior and no description: "
            "set prior: none, text: report, writer: null, directions: [forward]"
        )


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

    Raises UserError for an empty source, for a file that is missing or is not YAML, for a section that is absent, and
    as `check` does.
    """
    return _read_by(command, _merged(sources))


def _read_by(command: str, settings: dict[str, Any]) -> dict[str, Any]:
    """What the command reads of the settings: everything where `SECTIONS` does not list it."""
    if command not in SECTIONS:
        settings = without_left_out(settings)
        _parts(settings, schema()["required"], command)
        check(settings)
        return with_home(settings)
    sections = {path.partition(".")[0] for path in SECTIONS[command]}
    settings = without_left_out({section: value for section, value in settings.items() if section in sections})
    check(settings, command)
    return _parts(with_home(settings), SECTIONS[command], command)


def _merged(sources: Iterable[str]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for source in sources:
        if not source.strip():
            raise UserError("--config: empty: give a file or a configuration's text (an unset variable is empty too)")
        is_text = source.lstrip().startswith("{")
        settings = merge(settings, parse(source, "the text given to --config") if is_text else read(source))
    return settings


def without_left_out(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings without the runs and systems that are null: so an overlay leaves out what is laid under it."""
    for keys in (["train", "runs"], ["systems"]):
        try:
            entries = reduce(lambda inner, key: inner[key], keys, settings)
            left_out = [name for name, value in entries.items() if value is None]
        except (KeyError, TypeError, AttributeError):
            continue  # absent, or not what it should be: `check` says so
        for name in left_out:
            settings = _without(settings, [*keys, name])
    return settings


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The settings in a YAML or JSON file. Raises UserError where it is missing or no mapping of sections."""
    try:
        text = Path(os.path.expanduser(path)).read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: configuration cannot be read ({error.strerror}): check the path") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text, so no configuration: check the path") from None
    return parse(text, str(path))


def parse(text: str, name: str) -> dict[str, Any]:
    """The settings in a text, YAML or JSON. Raises UserError, with the name of the text, where it is neither."""
    try:
        # YAML would take JSON's 1e-05 for a word and split what lies beyond 16 bits
        settings = json.loads(text, object_pairs_hook=_mapping)
    except (ValueError, RecursionError):
        try:
            settings = yaml.load(text, _Loader)  # noqa: S506, a safe loader
            json.dumps(settings, default=str, skipkeys=True)  # raises ValueError for an alias inside its own anchor
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise UserError(f"{name}: not valid YAML: {' '.join(str(error).split())}") from None
    if settings is None:
        return {}
    if not isinstance(settings, dict):
        raise UserError(f"{name}: a configuration is a mapping of sections, see config.yaml")
    return settings


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A mapping of JSON. Raises ValueError for a key that stands twice: YAML's loader then says where."""
    result = dict(pairs)
    if len(result) < len(pairs):
        raise ValueError("a key stands twice")
    return result


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, which refuses a key that stands twice; PyYAML itself drops the first of the two."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                text = f"the key {key.value!r} stands twice"
                raise yaml.constructor.ConstructorError(None, None, text, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def with_home(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings with the home folder in place of ``~`` in every path; the schema tells which values are paths."""
    expanded: dict[str, Any] = _with_home(settings, schema())
    return expanded


def _with_home(value: Any, rules: dict[str, Any]) -> Any:
    name = rules.get("$ref", "").removeprefix("#/$defs/")
    rules = schema()["$defs"][name] if name else rules
    if isinstance(value, dict):
        others, known = rules.get("additionalProperties") or {}, rules.get("properties", {})
        return {key: _with_home(inner, known.get(key, others)) for key, inner in value.items()}
    return os.path.expanduser(value) if isinstance(value, str) and rules.get("format") == "path" else value


def _parts(settings: dict[str, Any], paths: Iterable[str], command: str) -> dict[str, Any]:
    """The parts of the configuration at ``paths``, each where it was. Raises UserError where one is absent."""
    result: dict[str, Any] = {}
    for path in paths:
        keys = path.split(".")
        try:
            value = reduce(lambda inner, key: inner[key], keys, settings)
        except (KeyError, TypeError):
            raise UserError(
                f"configuration lacks the section {path!r} that {command} reads: add --config {DEFAULT_FILE}"
            ) from None
        result = merge(result, reduce(lambda inner, key: {key: inner}, reversed(keys), value))
    return result


def _default_source() -> tuple[str]:
    """The configuration of the working folder; where there is none, the default that an installed wheel carries."""
    packaged = PACKAGE / DEFAULT_FILE
    return (str(packaged) if packaged.is_file() and not Path(DEFAULT_FILE).exists() else DEFAULT_FILE,)


def option(command: str) -> Callable[..., Any]:
    """The ``--config`` option of a command, which receives as ``settings`` what `SECTIONS` lists for it, else all."""

    def parse(context: click.Context, parameter: click.Parameter, sources: tuple[str, ...]) -> dict[str, Any]:
        settings = _merged(sources)
        # until the error that ends the command is told too: its log is hidden like the rest
        context.find_root().call_on_close(partial(os.umask, limit_readers(settings)))
        return _read_by(command, settings)

    return click.option(
        "--config",
        "settings",
        multiple=True,
        default=_default_source,
        show_default=DEFAULT_FILE,
        callback=parse,
        metavar="YAML",
        help="Configuration file, or its text; repeat to lay one over another.",
    )


def tracked_settings(
    settings: dict[str, Any],
    command: str,
    *,
    run: str | None = None,
    system: str | None = None,
    writer: str | None = None,
) -> str:
    """What the results of ``command`` depend on in the configuration, in one canonical form.

    A rule runs again when this text changes. The order of keys and the difference between 2 and 2.0 do not matter.
    Settings `WITHOUT_EFFECT` and `WITHOUT_EFFECT_ON` are left out, and so is what concerns another ``run``,
    ``system`` or ``writer`` than the given one, and what a part of the model does not need since its weights are given.
    """
    parts = _parts(settings, SECTIONS[command], command)
    if run is not None:
        run_settings = parts["train"]["runs"][run]
        parts["diffusion"] = parts["diffusion"] | {"unet": _first_unet(parts["diffusion"]["unet"], run_settings)}
        parts["train"] = parts["train"] | {"runs": {run: _without(run_settings, ["weights"])}}
    if system is not None:
        parts["systems"] = {system: parts["systems"][system]}
    if writer is not None and writer != "openai":
        parts = {}
    if command.startswith("pretrain ") and command != "pretrain check":
        part = command.removeprefix("pretrain ").replace("-", "_")
        own = parts["pretrain"][part]
        if isinstance(own, dict) and own["weights"] is not None:
            parts = {"pretrain": {part: {"weights": own["weights"]}}}
    for path in (*WITHOUT_EFFECT, *WITHOUT_EFFECT_ON.get(command, ())):
        parts = _without(parts, path.split("."))
    return json.dumps(_plain_numbers(parts), sort_keys=True)


def training_name(run: str, training_seed: int) -> str:
    """The name of one training of a run, by which its files are called: the run's, and a further seed behind it."""
    return run if training_seed == 0 else f"{run}.{training_seed}"


def unet_of(run: dict[str, Any], unet: dict[str, Any]) -> dict[str, Any]:
    """The section ``diffusion.unet`` as it holds for a run that may begin with weights of its own."""
    return unet if run.get("weights") is None else unet | {"weights": run["weights"]}


def _first_unet(unet: dict[str, Any], run: dict[str, Any]) -> dict[str, Any]:
    """What the UNet at the start of a run depends on in ``diffusion.unet``: nothing where it is another run's."""
    if run["start"] is not None:
        return {}
    unet = unet_of(run, unet)
    return unet if unet["weights"] is None else {"weights": unet["weights"]}


def _without(settings: dict[str, Any], keys: list[str]) -> dict[str, Any]:
    """The settings without the value at the end of ``keys``."""
    first, *rest = keys
    if settings is None or first not in settings:
        return settings
    if not rest:
        return {key: value for key, value in settings.items() if key != first}
    return settings | {first: _without(settings[first], rest)}


def _plain_numbers(value: Any) -> Any:
    """The same settings with every whole number as an int."""
    if isinstance(value, dict):
        return {key: _plain_numbers(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain_numbers(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def faulty_paths(settings: dict[str, Any], with_weights: bool = True) -> list[str]:
    """One line for each path that is not there, that the phantom would be drawn over, or that is misread.

    ``with_weights``: also the paths of published weights. Where the working folder, or one of those that the workflow
    writes in it, does not let itself be written, the line on that is the only one.
    """
    for path in WRITTEN:
        if path.exists() and not os.access(path, os.W_OK):
            place = path.absolute()
            return [f"{place}: the workflow cannot write there: allow it, or run in another folder with --directory"]
    given = {f"data.{key}": value for key, value in settings["data"].items()}
    given |= weights(settings) if with_weights else {}
    if unknown := {key: value for key, value in given.items() if value is not None and value.startswith("~")}:
        return [
            f"configuration, {key}: {value}: there is no such user: write the path of the home folder, or ./~ where "
            "a folder's name begins so"
            for key, value in unknown.items()
        ]
    data = {key: Path(value) for key, value in given.items() if value is not None and key.startswith("data.")}
    needed = {key: Path(value) for key, value in given.items() if value is not None and key not in data}
    lines = []
    if settings["phantom"] is None:
        needed = data | needed
    elif not (Path(settings["data"]["images"]).parent / PHANTOM_MARKER).is_file():
        lines = [
            f"configuration, {key}: {path} holds files that are no phantom: set phantom to null"
            for key, path in data.items()
            if path.is_file() or (path.is_dir() and any(path.iterdir()))
        ]
    lines += [
        f"configuration, {key}: {path}: Snakemake takes braces in a path for a wildcard: rename the folder"
        for key, path in data.items()
        if "{" in str(path)
    ]
    return lines + [
        f"configuration, {key}: {path} does not exist: set it to the path of your copy"
        + ("" if key in data else ", or fetch it with biomedjourney prefetch")
        for key, path in needed.items()
        if not path.exists()
    ]


def weights(settings: dict[str, Any]) -> dict[str, str | None]:
    """The path of every published part, by its place in the configuration; None for one that is not given."""
    pretrain = settings["pretrain"]
    paths = {f"pretrain.{part}.weights": pretrain[part]["weights"] for part in ("first_stage", "text_tower")}
    for part in ("judges", "second_judges"):
        judges = (pretrain[part] or {"weights": None})["weights"] or {}
        paths |= {f"pretrain.{part}.weights.{kind}": path for kind, path in judges.items()}
    paths["pretrain.segmenter.weights"] = pretrain["segmenter"]["weights"]
    paths["diffusion.unet.weights"] = settings["diffusion"]["unet"]["weights"]
    runs, systems = settings["train"]["runs"], settings["systems"]
    paths |= {f"train.runs.{name}.weights": run["weights"] for name, run in runs.items() if "weights" in run}
    return paths | {f"systems.{name}.pipeline": own["pipeline"] for name, own in systems.items() if "pipeline" in own}
