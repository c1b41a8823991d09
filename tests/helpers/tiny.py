"""A tiny problem for the verbs that train and draw: the text tells how the current latent differs from the prior.

Pictures are 16 pixels wide, latents 4 x 8 x 8, token states of width 16.
"""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from biomedjourney import pixels, sums, tables

SHAPE = (4, 8, 8)
WIDTH, TOKENS = 16, 6
TEXTS = ("brighter", "darker now")
SHIFT = 0.8
UNET = {
    "weights": None,
    "block_out_channels": [16, 32],
    "attention": [False, True],
    "layers_per_block": 1,
    "heads": 2,
    "cross_attention_dim": 16,
}
COMMON = {"start": None, "directions": ["forward"], "steps": 6, "batch_size": 4}
SINGLES = COMMON | {"data": "singles", "prior": "none", "writer": None, "text": "report"}
TRIPLES = COMMON | {"data": "triples", "prior": "registered", "writer": "rules", "text": "description"}
SCALING_FACTOR = 0.5
OVERLAY: dict[str, Any] = {
    "text": {"max_tokens": TOKENS + 2},
    "diffusion": {"unet": UNET},
    "train": {
        "log_every": 2,
        "checkpoint_every": 2,
        "warmup_steps": 2,
        "runs": {
            "stage1": SINGLES,
            "stage2": TRIPLES | {"start": "stage1"},
            "alone": TRIPLES,
            "both-ways": TRIPLES | {"directions": ["forward", "backward"]},
            "stage2-no-registration": TRIPLES | {"prior": "unregistered"},
            "untrained": TRIPLES | {"steps": 0},
        },
    },
    "generate": {
        "seeds": [0, 1],
        "steps": 2,
        "batch_size": 5,
        "shards": 1,
        "guidance": {"sweep": {"text_scales": [1.0, 2.0], "image_scales": [1.0, 1.5], "pairs": 3}},
        "samplers": {
            "systems": ["biomedjourney"],
            "compared": [{"solver": "ddim", "steps": 2}, {"solver": "dpm-solver++", "steps": 4}],
            "pairs": 3,
        },
    },
    "systems": {"no-registration": {"run": "stage2-no-registration"}},
}


def states(text: str) -> np.ndarray:
    """Token states, float16 (tokens, width); their number and values depend on the text."""
    result = np.zeros((3 + len(text) % 3, WIDTH), np.float16)
    half = WIDTH // 2
    result[:, slice(0, half) if text == TEXTS[0] else slice(half, WIDTH)] = 1
    return result


def toy(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Prior and current latents, float16 (count, 4, 8, 8), and the index of each text in TEXTS."""
    rng = np.random.default_rng(seed)
    prior = rng.normal(0, 0.7, (count, *SHAPE))
    told = rng.integers(0, 2, count)
    current = prior + (SHIFT * (1 - 2 * told))[:, None, None, None]
    return prior.astype(np.float16), current.astype(np.float16), told


def write(folder: Path, patients: int = 24) -> dict[str, Path]:
    """Every table and the first stage that train and generate read, by the option that takes it.

    ``backward_triples`` and ``backward_priors`` belong to training pairs read backward in time.
    """
    rng = np.random.default_rng(0)
    prior, current, told = toy(patients)
    splits = [("train", "train", "validation", "test")[i % 4] for i in range(patients)]
    ids = [f"{2 * i}-{2 * i + 1}" for i in range(patients)]
    old, new = [f"old{i}" for i in range(patients)], [f"new{i}" for i in range(patients)]
    numbers = np.arange(patients)
    texts = [TEXTS[i] for i in told]
    paths = {}

    def put(name: str, data: dict[str, Any] | pd.DataFrame, option: str | None = None) -> None:
        paths[option or name] = folder / f"{option or name}.parquet"
        tables.write(paths[option or name], name, pd.DataFrame(data))

    def latents(names: list[str], means: np.ndarray) -> dict[str, Any]:
        std = np.full(SHAPE, 0.05, np.float16).tobytes()
        shape = {"shape": [list(SHAPE)] * len(names), "scaling_factor": SCALING_FACTOR}
        return {"id": names, "mean": [m.tobytes() for m in means], "std": std} | shape

    def pictures(count: int) -> list[bytes]:
        return [pixels.encode_png(picture) for picture in rng.random((count, 16, 16))]

    put(
        "singles",
        {
            "dicom_id": old + new,
            "study_id": np.concatenate([2 * numbers, 2 * numbers + 1]),
            "subject_id": np.concatenate([numbers, numbers]),
            "split": splits * 2,
            "text": texts[::-1] + texts,
        },
    )
    registered = numbers < patients - 4  # the last of each split is refused
    valid = numbers >= 4  # and so is the first
    forward = pd.DataFrame(
        {
            "pair_id": ids,
            "writer": "rules",
            "direction": "forward",
            "subject_id": numbers,
            "split": splits,
            "prior_study_id": 2 * numbers,
            "study_id": 2 * numbers + 1,
            "prior_dicom_id": old,
            "dicom_id": new,
            "interval_days": 10.0,
            "description": texts,
            "accepted": registered & valid,
            "reason": np.where(registered & valid, "", "refused"),
            "compared": registered & valid & (np.array(splits) != "train"),
        }
    )
    put("triples", forward)
    turned = {"prior_study_id": "study_id", "study_id": "prior_study_id"}
    turned |= {"prior_dicom_id": "dicom_id", "dicom_id": "prior_dicom_id"}
    backward = forward[forward["split"] == "train"].rename(columns=turned).assign(direction="backward")
    backward["pair_id"] = backward["prior_study_id"].astype(str) + "-" + backward["study_id"].astype(str)
    put("triples", backward, "backward_triples")
    put("latents", latents(list(backward["pair_id"]), current[backward.index]), "backward_priors")
    put("latents", latents(old + new, np.concatenate([prior, current])))
    put("latents", latents(ids, prior), "prior_latents")
    text_states = [states(text) for text in TEXTS]
    put(
        "texts",
        {
            "text_sha256": [hashlib.sha256(text.encode()).hexdigest() for text in TEXTS],
            "states": [s.tobytes() for s in text_states],
            "shape": [list(s.shape) for s in text_states],
        },
    )
    put(
        "pixels",
        {"dicom_id": old + new, "png": pictures(2 * patients), "inverted": False, "to_original": None, "reason": ""},
    )
    put("registered", {"pair_id": ids, "png": pictures(patients), "coverage": None})
    paths["first_stage"] = first_stage(folder / "first-stage")
    return paths


def first_stage(folder: Path) -> Path:
    """A random AutoencoderKL for 16-pixel pictures, with a scaling factor of its own."""
    import torch
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    AutoencoderKL(
        **blocks,
        block_out_channels=(8, 8),
        norm_num_groups=4,
        latent_channels=4,
        sample_size=16,
        scaling_factor=SCALING_FACTOR,
    ).save_pretrained(folder)
    return folder


def model(
    folder: Path, schedule: dict[str, Any], scaling_factor: float, prior: str = "registered", **settings: Any
) -> Path:
    """The folder of a model as `train` writes it, with random weights, those that read the prior and the text too."""
    import torch

    from biomedjourney import sampling
    from biomedjourney.train.model import build

    unet = build(UNET, SHAPE, WIDTH, 0)
    with torch.no_grad():
        for parameter in unet.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
        unet.conv_in.weight[:, SHAPE[0] :] = 0.2 * torch.randn_like(unet.conv_in.weight[:, SHAPE[0] :])
    unet.save_pretrained(folder / "unet")
    sampling.scheduler(schedule).save_pretrained(folder / "scheduler")
    run = TRIPLES | {"prior": prior} if prior != "none" else SINGLES
    settings = {"seed": 0, "phantom": None, "text": OVERLAY["text"]} | settings
    settings |= {"diffusion": {"unet": UNET, "schedule": schedule} | settings.get("diffusion", {}), "run": run}
    facts = {"run": "stage2", "settings": settings, "examples": 8, "images_seen": 24, "start": None}
    facts["first_stage_scaling_factor"] = scaling_factor
    (folder / "run.json").write_text(json.dumps(facts))
    return folder


def text_tower(folder: Path, width: int = WIDTH, tokens: int = TOKENS + 2) -> Path:
    """An untrained text tower for TEXTS, as `pretrain text-tower` writes it."""
    import torch

    from biomedjourney import published
    from biomedjourney.pretrain import text_tower as towers

    torch.manual_seed(0)
    folder.mkdir(parents=True)
    settings = {"width": width, "layers": 1, "heads": 2}
    model = towers.prepare(TEXTS, settings, tokens, 32, folder)
    torch.save(model.state_dict(), folder / published.CLIP_WEIGHTS[1])
    return folder


def flags(paths: dict[str, Path], *names: str) -> list[str]:
    """``--name PATH`` for each name."""
    return [word for name in names for word in (f"--{name.replace('_', '-')}", str(paths[name]))]


def copy_to_change(model: Path, path: Path) -> Path:
    """A copy of a model without its list of checksums, which would find any change."""
    return shutil.copytree(model, path, ignore=shutil.ignore_patterns(sums.NAME))
