# Helper functions of all rules. No other rule file defines any.

import csv
import json
import re
import shlex
import signal
import subprocess
from functools import cache
from pathlib import Path

from humanfriendly import format_timespan
from snakemake_logger_plugin_biomedjourney import retries

from biomedjourney import config as configuration
from biomedjourney import published, systems, versions
from biomedjourney.errors import UserError, hide
from biomedjourney.failures import Cause, Failures
from biomedjourney.rewrite import endpoint

# The lists of images to download, which are made before images, weights or a language model are there.
IMAGES_NEEDED, IMAGES_MISSING = "results/images-needed.txt", "results/images-missing.txt"
is_before_download = not {IMAGES_NEEDED, IMAGES_MISSING}.isdisjoint(sys.argv)  # Snakemake tells its targets later

faults = [
    f"{folder}: a file, but the workflow writes a folder of that name: rename the file"
    for folder in ("results", "logs", "benchmarks")
    if os.path.isfile(folder)
]
try:
    config.update(configuration.without_left_out(config))
    configuration.check(config)
    config.update(configuration.with_home(config))
    configuration.limit_readers(config)
    hide(Path(".snakemake"))  # Snakemake made it, and its log, before
    # each cluster job reads this file too, perhaps on a node that has neither the key nor a way to the endpoint
    checks_all = workflow.is_main_process and not is_before_download
    faults += configuration.faulty_paths(config, with_weights=checks_all)
    if checks_all:
        faults += published.faults(config)
        endpoint.host(config["rewrite"]["openai"]["base_url"])  # no password, which the report would show
        if "openai" in config["rewrite"]["writers"]:
            endpoint.check(config["rewrite"]["openai"], credentialed=config["phantom"] is None)
except UserError as error:
    faults.append(str(error))
if faults:
    sys.exit("\n".join(f"error: {line}" for line in faults))


ENVIRONMENT = os.path.join(workflow.basedir, "envs", "biomedjourney.yaml")
os.environ.update(
    BIOMEDJOURNEY=workflow.basedir,  # where that environment finds the package
    # What every command gets as --config. It is no param, since the rules depend on a part of it only: params.settings.
    BIOMEDJOURNEY_CONFIG=json.dumps(config, ensure_ascii=False),
    # sbatch reads it: so long before its time limit SLURM sends SIGUSR1 to every process of a job
    SBATCH_SIGNAL=f"USR1@{config['resources']['train']['signal_seconds']}",
)
if config["phantom"] is not None:
    os.environ.setdefault("BIOMEDJOURNEY_SHOW_TEXTS", "1")  # errors may quote the reports of drawn patients
signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # training alone acts on it; Snakemake and other commands live on

failures = Failures(config["resources"]["cap"])
if workflow.is_main_process:
    retries.attach(failures)

RUNS = config["train"]["runs"]
SYSTEMS = config["systems"]
SWEEP = config["generate"]["guidance"]["sweep"]
WRITERS = config["rewrite"]["writers"]
# Every run is trained once for each training seed; the name of a training is that of its files.
TRAININGS = {
    configuration.training_name(run, seed): (run, seed) for run in RUNS for seed in range(config["train"]["seeds"])
}
MODELS = [name for name in SYSTEMS if {"run", "pipeline"} & SYSTEMS[name].keys()]
STAND_INS = [name for name in SYSTEMS if systems.is_stand_in(SYSTEMS[name])]
COPIES = [name for name in SYSTEMS if "picture" in SYSTEMS[name]]
# None where neither weights are given nor the phantom draws masks to train one.
SEGMENTER = "results/models/segmenter" if config["phantom"] or config["pretrain"]["segmenter"]["weights"] else []
SECOND_JUDGES = config["pretrain"]["second_judges"] is not None
EXPORTED = "results/models/biomedjourney"
MAIN_RUN = SYSTEMS[systems.MAIN]["run"]
# Empty where the main model takes no registered prior, to which its edits could be compared.
SOUNDNESS = ["results/tables/soundness.parquet"] if RUNS[MAIN_RUN]["prior"] == "registered" else []
FIRST_TRIPLES = f"results/triples/{WRITERS[0]}/forward.parquet"


wildcard_constraints:
    training="|".join(map(re.escape, TRAININGS)),
    system="|".join(SYSTEMS),
    writer="|".join(WRITERS),
    direction="forward|backward",
    shard=r"\d+",


IMAGES = config["data"]["images"]
CHECKSUMS = f"{IMAGES}/SHA256SUMS.txt"


def raw_table(folder, name, shipped=".csv.gz"):
    """A CSV file as it is shipped, or the other way (plain, gzip) where that alone is there."""
    other = {".csv.gz": ".csv", ".csv": ".csv.gz"}[shipped]
    first, second = f"{folder}/{name}{shipped}", f"{folder}/{name}{other}"
    return second if os.path.exists(second) and not os.path.exists(first) else first


def raw_files():
    """The raw files that `ingest tables` reads, by what they hold."""
    data, ingest = config["data"], config["ingest"]
    folder = data["tables"] or IMAGES
    files = {"reports": data["reports"]}
    for name, kind in {"metadata": "metadata", "split": "split", "labels": ingest["labels"]}.items():
        files[name] = raw_table(folder, f"mimic-cxr-2.0.0-{kind}")
    if ingest["test_set_labels"]:
        files["test_set_labels"] = raw_table(folder, "mimic-cxr-2.1.0-test-set-labeled", ".csv")
    for name in ("patients", "admissions"):
        files[name] = raw_table(data["demographics"], name)
    return files


RAW = raw_files()


def settings(command, **only):
    """What the results of a command depend on in the configuration; a change in it runs its rules again."""
    return configuration.tracked_settings(config, command, **only)


@cache
def code(command, *tables, without=()):
    """The version of the code that a command can reach; a change in it runs its rules again.

    Rules ask for it by functions, so that the Snakemake of a cluster job reads the code of its own rule alone.
    """
    return versions.code_version(command, tables, without)


# What a frozen part needs no longer once its weights are given.
TRAINED_HERE = {
    "first_stage": ("pretrain.run.train_first_stage", "pretrain.patch_autoencoder.PatchAutoencoder"),
    "text_tower": ("pretrain.run.train_text_tower",),
    "judges": ("pretrain.run.train_judges", "pretrain.judges._trained"),
    "second_judges": ("pretrain.run.train_judges", "pretrain.judges._trained"),
    "segmenter": ("pretrain.run.train_segmenter", "pretrain.segmenter._trained"),
}


def pretrain_code(part):
    """The version of the code that makes a frozen part: loads it where its weights are given, or trains it."""
    is_given = config["pretrain"][part]["weights"] is not None
    return code(f"pretrain {part.replace('_', '-')}", without=TRAINED_HERE[part] if is_given else ())


def rewrite_code(writer):
    """The version of a writer's code; only openai uses a language model."""
    others = () if writer == "openai" else ("rewrite.model_writer", "rewrite.prompt")
    return code("rewrite", without=("rewrite.audit", *others))


def threads_of(verb):
    return config["resources"][verb]["threads"]


def resources_of(verb, gpus=True):
    """Memory, time and, where the rule can use them, GPUs of a verb's jobs, from the one table in the configuration."""
    job = config["resources"][verb]
    # SLURM would start a task for each GPU where the plugin's version or a profile says so: our launcher does that
    gpu = {"gpu": job["gpus"], "tasks_per_gpu": 0} if gpus and job.get("gpus") else {}
    return {
        "mem_mb": failures.request(Cause.MEMORY, job["mem_mb"]),
        "runtime": failures.request(Cause.TIME, job["minutes"]),
        **gpu,
    }


def gpus_of(resources):
    """The GPUs that Snakemake grants a job: those of the table, but no more than ``--resources gpu=N``."""
    return resources.get("gpu", 0)


def devices(wildcards, resources):
    """What stands before the command of a job so that it uses as many GPUs as it is granted, and no others."""
    gpus = gpus_of(resources)
    return f"python -P -m biomedjourney.devices {gpus}" if gpus else "CUDA_VISIBLE_DEVICES="


def launcher(wildcards, resources):
    """What stands before the command of a training job: as `devices`, and one process for each of several GPUs."""
    gpus = gpus_of(resources)
    if gpus < 2:
        return devices(wildcards, resources)
    settings = shlex.quote(os.path.join(workflow.basedir, "workflow", "accelerate.yaml"))
    return (
        # torch's launcher ends without a word to its processes on SIGUSR1, and kills them 30 s after any other signal
        "PET_SIGNALS_TO_HANDLE=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1"
        f" PET_SHUTDOWN_TIMEOUT={config['resources']['train']['signal_seconds']} {devices(wildcards, resources)}"
        f" accelerate launch --config_file {settings} --num_processes {gpus} --no_python"
    )


def shards(folder, verb):
    """Every shard of a table in a folder, as many as the section of the verb says."""
    return [f"{folder}/{shard}.parquet" for shard in range(config[verb]["shards"])]


PIXELS = shards("results/pixels", "preprocess")


def weight_files(*keys):
    """The files of the published parts whose places in the configuration begin with one of the keys."""
    parts = [part for part in published.parts(config) if part.key.startswith(keys)]
    return [str(file) for part in parts for file in published.files(part)]


def check_weights():
    """Ends the workflow where a published part is missing or faulty, or does not fit the others."""
    words = ["--log", "logs/pretrain/check.log", "pretrain", "check", "--out", "results/models/checked.json"]
    command = ["biomedjourney", *words, "--config", json.dumps(config, ensure_ascii=False)]
    if set() < set(workflow.dag_settings.targets) <= {IMAGES_NEEDED, IMAGES_MISSING}:
        return
    if published.parts(config) and subprocess.run(command).returncode:
        sys.exit(1)


def part_tables(part, **inputs):
    """The tables that a frozen part is trained on; none where its weights are given."""
    return inputs if config["pretrain"][part]["weights"] is None else {}


def registered(direction):
    return shards(f"results/registered/{direction}", "register")


def registrations(direction):
    return shards(f"results/registrations/{direction}", "register")


def directions_of(writer):
    """The directions in which a training run reads the triples of a writer; forward always."""
    read = {direction for run in RUNS.values() if run["writer"] == writer for direction in run["directions"]}
    return [direction for direction in ("forward", "backward") if direction in read or direction == "forward"]


DIRECTIONS = [d for d in ("forward", "backward") if any(d in directions_of(writer) for writer in WRITERS)]


def of_each_writer(table):
    """The parts of a table that has one for each writer and direction."""
    return [f"results/{table}/{writer}/{d}.parquet" for writer in WRITERS for d in directions_of(writer)]


# The tables that people open and that are put together from parts.
PARTS = {
    "registrations": [path for direction in DIRECTIONS for path in registrations(direction)],
    "progressions": of_each_writer("progressions"),
    "triples": of_each_writer("triples"),
    "training": [f"results/training/{training}.parquet" for training in TRAININGS],
    "guidance": [f"results/guidance/{system}.parquet" for system in SWEEP["systems"]],
}
if config["generate"]["samplers"]:
    PARTS["samplers"] = [f"results/samplers/{system}.parquet" for system in config["generate"]["samplers"]["systems"]]
REPORTED = {
    name: f"results/tables/{name}.parquet"
    for name in (
        "systems ablations beyond findings subgroups scores training guidance cohort triples studies registrations"
        + " samplers" * ("samplers" in PARTS)
    ).split()
}
if SECOND_JUDGES:
    REPORTED["judges"] = "results/tables/judges.parquet"


def flags(name, paths):
    """``--name A --name B`` for an option that takes several files, quoted for the shell."""
    return " ".join(f"--{name} {shlex.quote(path)}" for path in paths)


def example_inputs(run, directions):
    """The tables from which the examples of a run are read, by the option that takes them."""
    writer = run["writer"] or WRITERS[0]
    inputs = {}
    if run["data"] == "triples" or directions == ["forward"]:
        inputs["triples"] = [f"results/triples/{writer}/{direction}.parquet" for direction in directions]
    if run["text"] == "report":
        inputs["singles"] = "results/tables/singles.parquet"
        inputs["texts"] = "results/texts/reports.parquet"
    else:
        inputs["texts"] = [f"results/texts/{writer}/{direction}.parquet" for direction in directions]
    if run["prior"] == "registered":
        inputs["prior_latents"] = [
            path for direction in directions for path in shards(f"results/latents/priors/{direction}", "register")
        ]
    if run["prior"] == "unregistered":
        inputs["latents"] = shards("results/latents/images", "preprocess")
    return inputs


def first_weights(name):
    """The files of the published UNet that a training run starts from, if it does."""
    if RUNS[name]["start"]:
        return []
    own = f"train.runs.{name}.weights"
    return weight_files(own if RUNS[name].get("weights") else "diffusion.unet.weights")


def run_inputs(training):
    """The tables and latents that a training reads, by the option that takes them."""
    name, seed = TRAININGS[training]
    run = RUNS[name]
    inputs = example_inputs(run, run["directions"] if run["data"] == "triples" else [])
    inputs["latents"] = shards("results/latents/images", "preprocess")
    inputs["first_stage"] = "results/models/first-stage"
    if run["start"]:
        inputs["start"] = f"results/models/{configuration.training_name(run['start'], seed)}"
    return inputs


def system_inputs(system, *, test):
    """What the pictures of a system's model are drawn from, by the option that takes it; not ``test``: its sweep's."""
    if "pipeline" in SYSTEMS[system]:
        inputs = pipeline_inputs(system)
    else:
        run = SYSTEMS[system]["run"]
        seeds = range(config["train"]["seeds"]) if test else [0]
        inputs = example_inputs(RUNS[run], ["forward"])
        inputs["model"] = [f"results/models/{configuration.training_name(run, seed)}" for seed in seeds]
        inputs["first_stage"] = "results/models/first-stage"
    if test:
        inputs["guidance"] = guidance_of(system)
    return inputs


def guidance_of(system):
    """The table with the chosen scales of a system; none where its scales are not swept."""
    return f"results/guidance/{system}.parquet" if system in SWEEP["systems"] else []


def pipeline_inputs(system):
    """The tables that a published pipeline is given; its own files come from `pipeline_files`."""
    own = SYSTEMS[system]
    inputs = {"triples": f"results/triples/{own.get('writer', WRITERS[0])}/forward.parquet"}
    if own["text"] == "report":
        inputs["singles"] = "results/tables/singles.parquet"
    if own["prior"] == "registered":
        inputs["registered"] = registered("forward")
    if system in STAND_INS:
        inputs["model"] = f"results/models/{system}"
    return inputs


def pipeline_files(wildcards):
    """The files of the published pipeline that a system is drawn by, if it is."""
    return weight_files(f"systems.{wildcards.system}.pipeline")


def drawing_code(command):
    """The version of the code that draws a system's pictures; a run's model needs none of that of pipelines."""

    def version(wildcards):
        return code(
            command, without=() if "pipeline" in SYSTEMS[wildcards.system] else ("generate.pipeline", "pipelines")
        )

    return version


def stored_pictures(system):
    """The table that a system without a model copies its pictures from."""
    source = systems.STORED[SYSTEMS[system]["picture"]]
    return registered("forward") if source.table == "registered" else PIXELS


def input_flags(inputs):
    """Named input files as flags: ``prior_latents=F`` becomes ``--prior-latents F``."""
    words = []
    for name, paths in inputs.items():
        for path in [paths] if isinstance(paths, str) else paths:
            words.append(flags(name.replace("_", "-"), [path]))
    return " ".join(words)


class Before:
    """How long a job took in this folder before, by its benchmark file; the format of a message names the file."""

    def __format__(self, benchmark):
        try:
            with open(benchmark, encoding="utf-8") as file:
                seconds = [float(row["s"]) for row in csv.DictReader(file, delimiter="\t")]
            return f": {format_timespan(round(seconds[-1]))} here before"
        except (OSError, LookupError, ValueError, TypeError):
            return ""


before = Before()


def message(entry):
    """The line for each job when it starts: what it does, for which part, and how long it took before."""
    benchmark = re.sub(r"{(\w+)[^}]*}", r"{wildcards.\1}", entry.benchmark or "none")
    parts = "".join(f" {part}" for part in re.findall(r"{.+?}", benchmark))
    return f"{entry.docstring.rstrip('.')} ({entry.name}{parts}){{before:{benchmark}}}"


def tell_each_job_in_a_line():
    """Puts one line in the place of Snakemake's block for each job. A dry run keeps the blocks, with all files."""
    for entry in workflow.rules:
        entry.message = message(entry)


def show_results():
    """Ends the output of a run with the main table, where the report was asked for, and says where everything is."""
    asked = workflow.dag_settings
    if set(asked.targets) <= {"all"} and not asked.until and not asked.omit_from:
        with open("results/report/main-table.txt", encoding="utf-8") as file:
            print(f"\n{file.read()}")
        print(f"report: {os.path.abspath('results/report/index.html')}")
    print(f"tables: {os.path.abspath('results/tables')} (`biomedjourney inspect` lists them)")


def show_failures():
    """Ends the output of a run that failed with a line for each job that failed: which one, and why."""
    for line in failures.final.values():
        print(line)
