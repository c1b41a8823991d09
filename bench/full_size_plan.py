"""The plan of a full run of paper.yaml on MIMIC-CXR, step by step: time, memory and disk.

python bench/full_size_plan.py [MINE.yaml]    # the table of docs/full-size.md; MINE.yaml is laid over paper.yaml
python bench/full_size_plan.py --count        # the operations of the published networks

docs/full-size.md says where each figure comes from. None of them was measured on a GPU.
"""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from biomedjourney import config

REPOSITORY = Path(__file__).resolve().parents[1]
PAPER = REPOSITORY / "workflow" / "configs" / "paper.yaml"
GB = 1e9

# Counted: the cohort rule of paper.yaml on the tables of MIMIC-CXR's size that bench/full_size.py draws
IMAGES, SINGLES, PAIRS, TEST_PAIRS = 377_110, 93_771, 49_585, 5_000
TRAINING_PAIRS = 0.9 * (PAIRS - TEST_PAIRS)  # a tenth of the other patients is for validation
TOKENS_READ = 1_463  # of a pair, with the prompt
TEXT_BYTES = 50 * 768 * 2  # of the token states of one text
# Measured: CPU seconds
INGEST, PAIR, PREPROCESS, REGISTER, SUMMARY = 46, 11, 0.024, 0.17, 110  # the summary of five systems
# Computed: TFLOP of one picture or text in the published networks
UNET, ENCODER, DECODER, TEXT_TOWER, SEGMENTER = 0.189, 0.273, 0.622, 0.046, 0.543
LARGE_UNET, LARGE_ENCODER, LARGE_DECODER = 0.803, 1.117, 2.515  # at 512 px, where published pipelines draw
# A mark of others: images/s in training at 256 px from ready latents, on one A100
TRAINED = 90
# Assumed
CARD = 20  # TFLOP/s of a card in float32, an eighth of an A100's peak with TF32
EIGHT_CARDS = 0.8  # of eight times one card's speed, in training
READING = 100e6  # bytes/s of a network file system
OPENING = 0.01  # s to open one file of it
SCORED = 20  # pictures/s that the judges look at
START = 1  # minutes to start a job and load its networks
AT_ONCE = 4  # jobs on CPUs side by side


@dataclass(frozen=True)
class Step:
    """Jobs of one kind. ``minutes``: of the longest one. ``gib``: memory of one job. ``disk``: GB that stay of all."""

    verb: str
    what: str
    jobs: int
    minutes: float
    gib: float
    disk: float

    def hours(self, cards: int, settings: dict[str, Any]) -> float:
        """Hours of all jobs, one on each card at a time, or `AT_ONCE` on CPUs. Training shares the cards."""
        if self.verb == "train" and cards > 1:
            return self.jobs * self.minutes / 60 / (cards * EIGHT_CARDS)
        at_once = cards if settings["resources"][self.verb].get("gpus") else AT_ONCE
        return -(-self.jobs // at_once) * self.minutes / 60


def rewrite_minutes(openai: dict[str, Any], pairs: float) -> float:
    """The least time of asking for every pair once at the configured rate limits."""
    by_tokens = (TOKENS_READ + openai["max_tokens"]) / openai["tokens_per_minute"]
    return pairs * max(by_tokens, 1 / openai["requests_per_minute"])


def pairs_by_direction(runs: Iterable[dict[str, Any]]) -> dict[str, float]:
    """The pairs that the runs read, by direction: all forward, those of training backward."""
    backward = any("backward" in run["directions"] for run in runs)
    return {"forward": PAIRS} | ({"backward": TRAINING_PAIRS} if backward else {})


def steps(settings: dict[str, Any]) -> Iterator[Step]:
    """The plan of a whole configuration, in the order of the workflow."""
    threads = {verb: job["threads"] for verb, job in settings["resources"].items()}
    film = 570 * GB / IMAGES  # bytes
    checked = 570 * GB / READING if settings["ingest"]["checksums"] else IMAGES * OPENING / threads["ingest"]
    yield Step("ingest", "tables", 1, INGEST / 60, 1.1, 0.2)
    yield Step("ingest", "image files", 1, checked / 60, 0.4, 0)
    yield Step("pair", "pairs", 1, PAIR / 60, 1.1, 0.1)
    runs = settings["train"]["runs"]
    for direction, count in pairs_by_direction(run for run in runs.values() if run["writer"] == "openai").items():
        minutes = rewrite_minutes(settings["rewrite"]["openai"], count)
        yield Step("rewrite", f"descriptions, {direction}", 1, minutes, 0.8, 0.2)
    films = SINGLES / settings["preprocess"]["shards"]  # of a shard
    seconds = films * (PREPROCESS / threads["preprocess"] + film / READING)
    yield Step("preprocess", "pictures", settings["preprocess"]["shards"], seconds / 60, 0.5, 2.9)
    directions = pairs_by_direction(runs.values())
    for direction, count in directions.items():
        seconds = count / settings["register"]["shards"] * (REGISTER / threads["register"] + film / READING)
        yield Step("register", f"priors, {direction}", settings["register"]["shards"], seconds / 60, 0.5, 1.6)
    frozen = [part for part, own in settings["pretrain"].items() if part != "stand_in" and own is not None]
    yield Step("pretrain", "frozen parts", len(frozen), START, 3, 1.6 + 0.5 * ("second_judges" in frozen))
    texts = SINGLES * TEXT_TOWER / CARD / 60
    described = [run for run in runs.values() if run["text"] == "description"]
    parts = len({(run["writer"], direction) for run in described for direction in run["directions"]})
    yield Step("encode", "texts", 1 + parts, START + texts, 3, (SINGLES + parts * PAIRS) * TEXT_BYTES / GB)
    latents = 4 * (settings["preprocess"]["size"] // 8) ** 2 * 2 * 2  # bytes: mean and deviation, float16
    priors = [(f"priors, {direction}", count, "register") for direction, count in directions.items()]
    for what, count, verb in (("images", SINGLES, "preprocess"), *priors):
        seconds = count / settings[verb]["shards"] * ENCODER / CARD
        yield Step("encode", what, settings[verb]["shards"], START + seconds / 60, 3, count * latents / GB)

    seeds = settings["train"]["seeds"]
    for name, run in runs.items():
        seen = run["steps"] * run["batch_size"]
        state = 17.2 if seen else 3.4  # model folder and, of a run with steps, the last checkpoint
        yield Step("train", name, seeds, 5 * START + seen / TRAINED / 60, 32, seeds * state)

    drawing, guidance = settings["generate"], settings["generate"]["guidance"]["sweep"]
    with_prior, without = (evaluations * drawing["steps"] * UNET + DECODER for evaluations in (3, 2))  # TFLOP
    systems = settings["systems"]
    models = {system: runs[row["run"]] for system, row in systems.items() if "run" in row}
    pipelines = {system: row["prior"] != "none" for system, row in systems.items() if "pipeline" in row}
    for system in guidance["systems"]:
        knows_prior = models[system]["prior"] != "none"
        pictures = guidance["pairs"] * len(guidance["text_scales"])
        pictures *= len(guidance["image_scales"]) if knows_prior else 1
        cost = with_prior if knows_prior else without
        minutes = START + pictures / drawing["shards"] * cost / CARD / 60
        yield Step("generate", f"sweep of {system}", drawing["shards"], minutes, 8, pictures * 5e4 / GB)
    compared = drawing["samplers"] or {"systems": [], "compared": [], "pairs": 0}
    taken = sum(sampler["steps"] for sampler in compared["compared"])
    for system in compared["systems"]:
        evaluations = 3 if models[system]["prior"] != "none" else 2
        pictures = compared["pairs"] * len(compared["compared"])
        cost = compared["pairs"] * evaluations * taken * UNET + pictures * DECODER
        minutes = START + cost / drawing["shards"] / CARD / 60
        yield Step("generate", f"samplers of {system}", drawing["shards"], minutes, 8, pictures * 5e4 / GB)
    jobs = len(models) * drawing["shards"]
    pictures = TEST_PAIRS * len(drawing["seeds"]) * seeds  # of a system
    minutes = START + pictures / drawing["shards"] * with_prior / CARD / 60
    own = len(systems) - len(pipelines)
    yield Step("generate", "test pictures", jobs, minutes, 8, own * pictures * 5e4 / GB)
    for system, takes_prior in pipelines.items():
        evaluations = 3 if takes_prior else 2
        cost = evaluations * drawing["steps"] * LARGE_UNET + LARGE_DECODER + takes_prior * LARGE_ENCODER
        minutes = START + TEST_PAIRS * len(drawing["seeds"]) / drawing["shards"] * cost / CARD / 60
        gigabytes = TEST_PAIRS * len(drawing["seeds"]) * 5e4 / GB
        yield Step("generate", f"pictures of {system}", drawing["shards"], minutes, 8, gigabytes)
    tried = 4 * drawing["soundness"]["pairs"]  # pictures that the model draws; a fifth one is only reconstructed
    yield Step("generate", "soundness", 1, START + tried * with_prior / CARD / 60, 8, tried * 5e4 / GB)
    yield Step("generate", "export", 1, START, 8, 4.6)
    scored = len(systems) + len(guidance["systems"]) + len(compared["systems"])
    seconds = pictures * (1 / SCORED + 3 * SEGMENTER / CARD)  # the picture, the prior and the real follow-up
    yield Step("evaluate", "scores", scored, START + seconds / 60, 4, 0)
    if settings["pretrain"]["second_judges"] is not None:
        yield Step("evaluate", "second scores", len(systems), START + pictures / SCORED / 60, 4, 0)
    yield Step("evaluate", "summary", 1, SUMMARY / 5 * len(systems) / 60, 1, 0)
    yield Step("report", "report", 1, START, 1, 0)


def table(settings: dict[str, Any]) -> str:
    """The plan as a table in Markdown."""
    lines = [
        "| step | jobs | minutes of the longest | hours, one card | hours, eight cards | memory, GiB | disk, GB |",
        "|---|---|---|---|---|---|---|",
    ]
    plan = list(steps(settings))
    for step in plan:
        hours = " | ".join(f"{step.hours(cards, settings):.1f}" for cards in (1, 8))
        cells = f"{step.jobs} | {step.minutes:.0f} | {hours} | {step.gib:g} | {step.disk:.1f}"
        lines.append(f"| `{step.verb}`: {step.what} | {cells} |")
    hours = " | ".join(f"**{sum(step.hours(cards, settings) for step in plan):.0f}**" for cards in (1, 8))
    jobs, disk = sum(step.jobs for step in plan), sum(step.disk for step in plan)
    return "\n".join([*lines, f"| all, one after the other | {jobs} | | {hours} | | {disk:.0f} |"])


def load(*overlays: Path) -> dict[str, Any]:
    """The default configuration with paper.yaml, and the given files, laid over it."""
    settings: dict[str, Any] = {}
    for path in (REPOSITORY / "config.yaml", PAPER, *overlays):
        settings = config.merge(settings, config.read(path))
    return config.without_left_out(settings)


def operations() -> dict[str, float]:
    """TFLOP of one picture of 256 or 512 px, or one text of 256 tokens, in networks of the published sizes."""
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from torch.utils.flop_counter import FlopCounterMode
    from torchxrayvision.baseline_models.chestx_det import PSPNet
    from torchxrayvision.baseline_models.chestx_det.ptsemseg.pspnet import pspnet
    from transformers import BertConfig, BertModel

    from tests.helpers import published

    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(published.TRUE_SIZE | {"in_channels": 8})
        vae = AutoencoderKL.from_config(published.TRUE_SIZE_VAE)
        bert = BertModel(BertConfig(vocab_size=30_522)).eval()
        segmenter, film = pspnet(len(PSPNet.targets)).eval(), torch.zeros(1, 3, 512, 512)
        latent, picture, states = torch.zeros(1, 8, 32, 32), torch.zeros(1, 3, 256, 256), torch.zeros(1, 256, 768)
        large, large_picture = torch.zeros(1, 8, 64, 64), torch.zeros(1, 3, 512, 512)
        tokens, timestep = torch.zeros(1, 256, dtype=torch.long), torch.zeros(1, dtype=torch.long)
    parts = {
        "UNet": lambda: unet(latent, timestep, encoder_hidden_states=states),
        "encoder": lambda: vae.encode(picture),
        "decoder": lambda: vae.decode(latent[:, :4]),
        "text tower": lambda: bert(tokens),
        "segmenter": lambda: segmenter(film),
        "UNet, 512 px": lambda: unet(large, timestep, encoder_hidden_states=states[:, :77]),
        "encoder, 512 px": lambda: vae.encode(large_picture),
        "decoder, 512 px": lambda: vae.decode(large[:, :4]),
    }
    counted = {}
    for name, run in parts.items():
        with FlopCounterMode(display=False) as counter:
            run()
        counted[name] = counter.get_total_flops() / 1e12
    return counted


if __name__ == "__main__":
    if sys.argv[1:] == ["--count"]:
        print("\n".join(f"{name}: {value:.3f} TFLOP" for name, value in operations().items()))
    else:
        print(table(load(*map(Path, sys.argv[1:]))))
