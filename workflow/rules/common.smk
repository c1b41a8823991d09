# Helper functions of all rules. No other rule file defines any.

from biomedjourney import config as settings_of
from biomedjourney.errors import UserError

try:
    settings_of.check(config)
    faults = settings_of.faulty_paths(config)
except UserError as error:
    faults = [str(error)]
if faults:
    sys.exit("\n".join(f"error: {line}" for line in faults))


wildcard_constraints:
    run="[a-z0-9-]+",
    system="[a-z0-9-]+",
    shard=r"\d+",


ENVIRONMENT = os.path.join(workflow.basedir, "envs", "biomedjourney.yaml")
IMAGES = config["data"]["images"]
CHECKSUMS = f"{IMAGES}/SHA256SUMS.txt"


def raw_table(folder, name, shipped=".csv.gz"):
    """A CSV file as it is shipped, or the other way (plain, gzip) where that alone is there."""
    other = {".csv.gz": ".csv", ".csv": ".csv.gz"}[shipped]
    first, second = f"{folder}/{name}{shipped}", f"{folder}/{name}{other}"
    return second if os.path.exists(second) and not os.path.exists(first) else first


def raw_files():
    """The raw files that `ingest tables` reads, by what they hold."""
    data, chosen = config["data"], config["ingest"]
    folder = data["tables"] or IMAGES
    files = {"reports": data["reports"]}
    for name, kind in {"metadata": "metadata", "split": "split", "labels": chosen["labels"]}.items():
        files[name] = raw_table(folder, f"mimic-cxr-2.0.0-{kind}")
    if chosen["test_set_labels"]:
        files["test_set_labels"] = raw_table(folder, "mimic-cxr-2.1.0-test-set-labeled", ".csv")
    for name in ("patients", "admissions"):
        files[name] = raw_table(data["demographics"], name)
    return files


RAW = raw_files()
RUNS = config["train"]["runs"]
SYSTEMS = config["systems"]
SWEEP = config["generate"]["guidance"]["sweep"]
REPORTED = {
    name: f"results/tables/{name}.parquet"
    for name in (
        "systems ablations findings subgroups scores training guidance cohort registrations progressions pairs studies"
    ).split()
}
EXPORTED = "results/models/biomedjourney"


def settings(command, only=None):
    """What a command reads of the configuration, for --config; a change in it runs its rules again."""
    return settings_of.rule_settings(config, command, only)


def code(verb):
    """The version of a verb's code; passed as a param, so that an edit runs its rules again."""
    return settings_of.code_version(verb)


def threads_of(verb):
    return config["resources"][verb]["threads"]


def resources_of(verb):
    """Memory, time and GPUs of a verb's jobs, from the one table in the configuration."""
    asked = config["resources"][verb]
    gpus = {"gpu": asked["gpus"]} if asked.get("gpus") else {}
    return {"mem_mb": asked["mem_mb"], "runtime": asked["minutes"], **gpus}


def shards(pattern, verb):
    return expand(pattern, shard=range(config[verb]["shards"]))


def flags(name, paths):
    """``--name A --name B`` for an option that takes several files."""
    return " ".join(f"--{name} {path}" for path in paths)


def run_inputs(run):
    """The tables and latents that a training run reads, by the option that takes them."""
    chosen = RUNS[run]
    inputs = {
        "singles": "results/tables/singles.parquet",
        "latents": "results/latents/images.parquet",
        "texts": "results/texts/texts.parquet",
        "first_stage": "results/models/first-stage",
    }
    if chosen["data"] == "pairs":
        inputs["pairs"] = "results/tables/pairs.parquet"
        inputs["registrations"] = "results/tables/registrations.parquet"
        inputs["progressions"] = "results/tables/progressions.parquet"
    if chosen["prior"] == "registered":
        inputs["prior_latents"] = "results/latents/priors.parquet"
    if chosen["start"]:
        inputs["start"] = f"results/models/{chosen['start']}"
    return inputs


def system_inputs(system, *, test):
    """What a system's pictures are drawn from, by the option that takes it."""
    inputs = {
        "pairs": "results/tables/pairs.parquet",
        "registrations": "results/tables/registrations.parquet",
        "progressions": "results/tables/progressions.parquet",
    }
    if "run" not in SYSTEMS[system]:
        source = "registered" if SYSTEMS[system]["picture"] == "prior" else "pixels"
        verb = "register" if source == "registered" else "preprocess"
        return inputs | {source: shards(f"results/{source}/{{shard}}.parquet", verb)}
    run = SYSTEMS[system]["run"]
    inputs |= {name: path for name, path in run_inputs(run).items() if name != "start"}
    inputs["model"] = f"results/models/{run}"
    if test and system in SWEEP["systems"]:
        inputs["guidance"] = "results/tables/guidance.parquet"
    return inputs


def input_flags(inputs):
    """Named input files as flags: ``prior_latents=F`` becomes ``--prior-latents F``."""
    words = []
    for name, paths in inputs.items():
        for path in [paths] if isinstance(paths, str) else paths:
            words.append(f"--{name.replace('_', '-')} {path}")
    return " ".join(words)
