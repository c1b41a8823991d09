"""Training against diffusers' own example for InstructPix2Pix, with the same networks, pictures, batch and precision.

    python bench/training_diffusers.py train_instruct_pix2pix.py [--pairs 64] [--steps 8] [--rounds 3]

The script is not in the package: take it from huggingface/diffusers, examples/instruct_pix2pix. It needs the package
datasets, which our lock file does not have. It runs as it is: in every step it decodes the files and runs the VAE and
the text encoder. Ours encodes everything once.

Seconds are those of the processor, of whole commands on one thread, so that other work on the machine counts little.
Bare step: both take turns on 256 px PNG files, where decoding hardly counts; a long run less a short one, by their
steps. End to end: five epochs from JPEG files of MIMIC-CXR's size; for ours preprocess, encode pictures, encode texts
and train. Registration, which the script does not have, is left out on both sides.

Every network has a quarter of the width of Stable Diffusion v1.5's, with the same layers. So the VAE and the text
encoder keep about their share of the arithmetic beside the UNet; a narrower UNet alone would flatter ours.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from biomedjourney import tables
from tests.helpers import published

SIZE, TOKENS, WIDTH, BATCH, EPOCHS = 256, 77, 192, 4, 5
FILM = (2544, 3056)
CHANNELS = (80, 160, 320, 320)  # Stable Diffusion v1.5: 320, 640, 1280, 1280
VAE_CHANNELS = (32, 64, 128, 128)  # 128, 256, 512, 512
SENTENCES = ["new small left pleural effusion", "no change", "larger heart size", "right effusion resolved"]


def write_pipeline(folder: Path) -> int:
    """A folder in Stable Diffusion's format with random weights; returns the parameters of the UNet."""
    import torch
    from diffusers import AutoencoderKL, DDPMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=64,
        block_out_channels=CHANNELS,
        cross_attention_dim=WIDTH,
        norm_num_groups=16,
    )
    vae = AutoencoderKL(
        block_out_channels=VAE_CHANNELS,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=4,
        sample_size=512,
    )
    letters = "abcdefghijklmnopqrstuvwxyz"
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps({piece: place for place, piece in enumerate(pieces)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=TOKENS)
    config = CLIPTextConfig(
        vocab_size=len(pieces),
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=12,
        num_attention_heads=3,
        max_position_embeddings=TOKENS,
        bos_token_id=len(pieces) - 2,
        eos_token_id=len(pieces) - 1,
        pad_token_id=len(pieces) - 1,
    )
    scheduler = DDPMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
    StableDiffusionPipeline(
        vae=vae,
        text_encoder=CLIPTextModel(config),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return int(unet.num_parameters())


def write_text_tower(folder: Path) -> None:
    """BiomedCLIP's format, with the depth of its text tower and a quarter of its width."""
    published.BERT |= {"intermediate_size": 4 * WIDTH, "num_hidden_layers": 12}
    published.biomedclip(folder, width=WIDTH, tokens=TOKENS)


def write_films(folder: Path, pairs: int, shape: tuple[int, int], suffix: str) -> list[tuple[str, str, str]]:
    """Films of smooth noise and grain, about as large as MIMIC-CXR's in bytes; rows of prior, current, description."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)

    def film(name: str) -> str:
        smooth = Image.fromarray(rng.integers(0, 256, (24, 20), dtype=np.uint8)).resize(shape, Image.Resampling.BICUBIC)
        grained = np.asarray(smooth, np.int16) + rng.integers(-6, 7, shape[::-1], dtype=np.int16)
        path = folder / f"{name}.{suffix}"
        Image.fromarray(grained.clip(0, 255).astype(np.uint8)).save(path, quality=95)
        return path.name

    return [(film(f"old{i}"), film(f"new{i}"), SENTENCES[i % len(SENTENCES)]) for i in range(pairs)]


def write_image_folder(folder: Path, rows: list[tuple[str, str, str]]) -> None:
    """What `datasets` calls an image folder: metadata.jsonl beside the files."""
    lines = [
        json.dumps({"input_file_name": old, "edited_file_name": new, "prompt": text}) + "\n" for old, new, text in rows
    ]
    (folder / "metadata.jsonl").write_text("".join(lines))


def seconds(command: list[str], fails: str) -> float:
    """The processor's seconds of a command with all its threads and children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.exit(f"{fails} ended with status {done.returncode}:\n{done.stdout[-3000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def script_seconds(script: str, model: Path, data: Path, work: Path, limit: str) -> float:
    """Of the example as it is; ``limit``: its option for the number of steps or epochs."""
    out = work / "script"
    shutil.rmtree(out, ignore_errors=True)
    arguments = [f"--pretrained_model_name_or_path={model}", f"--train_data_dir={data}", f"--output_dir={out}"]
    arguments += ["--original_image_column=input", "--edited_image_column=edited", "--edit_prompt_column=prompt"]
    arguments += [f"--resolution={SIZE}", f"--train_batch_size={BATCH}", "--conditioning_dropout_prob=0.05"]
    arguments += ["--use_ema", "--seed=0", f"--cache_dir={work / 'datasets'}", limit]
    return seconds([sys.executable, script, *arguments], script)


class Ours:
    """Our commands on the same pairs, each in a process of its own."""

    def __init__(self, work: Path, model: Path, text_tower: Path, films: Path, rows: list[tuple[str, str, str]]):
        self.work, self.model, self.text_tower = work, model, text_tower
        work.mkdir(parents=True)
        numbers = np.arange(len(rows))
        old, new = [[Path(row[place]).stem for row in rows] for place in (0, 1)]
        texts = [row[2] for row in rows]
        self.write(
            "singles",
            {
                "dicom_id": old + new,
                "study_id": np.concatenate([2 * numbers, 2 * numbers + 1]),
                "subject_id": np.concatenate([numbers, numbers]),
                "split": "train",
                "text": texts * 2,
            },
        )
        journey = {
            "pair_id": [f"{2 * i}-{2 * i + 1}" for i in numbers],
            "subject_id": numbers,
            "prior_study_id": 2 * numbers,
            "study_id": 2 * numbers + 1,
            "prior_dicom_id": old,
            "dicom_id": new,
            "interval_days": 10.0,
            "split": "train",
        }
        self.write("pairs", journey)
        decided = {"writer": "rules", "direction": "forward", "description": texts}
        self.write("triples", journey | decided | {"accepted": True, "reason": "", "compared": False})
        paths = [str((films / row[place]).resolve()) for place in (0, 1) for row in rows]
        images = {"dicom_id": old + new, "study_id": 0, "subject_id": 0, "view": "PA", "path": paths}
        self.write("images", images | {"rows": None, "columns": None, "official_split": None})
        self.first_stage, self.unet = model / "vae", model / "unet"

    def write(self, name: str, columns: dict[str, object]) -> None:
        tables.write(self.work / f"{name}.parquet", name, pd.DataFrame(columns))

    def settings(self, steps: int) -> str:
        run = {"data": "triples", "start": None, "prior": "unregistered", "writer": "rules", "text": "description"}
        run |= {"directions": ["forward"], "steps": steps, "batch_size": BATCH}
        train = {"learning_rate": 1e-4, "warmup_steps": 500, "decay": 0.0, "ema_decay": 0.9999}
        train |= {"timestep_power": 1.0, "log_every": 1, "checkpoint_every": 500, "runs": {"pairs": run}}
        schedule = {"beta_schedule": "scaled_linear", "zero_terminal_snr": False, "prediction_type": "epsilon"}
        overlay = {
            "data": {"images": "/"},
            "preprocess": {"size": SIZE},
            "text": {"max_tokens": TOKENS},
            "encode": {"batch_size": BATCH},
            "diffusion": {"unet": {"weights": str(self.unet)}, "schedule": schedule},
            "train": train,
        }
        return json.dumps(overlay)

    def command(self, *words: str, steps: int = 1) -> float:
        """The processor's seconds of one command."""
        configs = ["--config", "config.yaml", "--config", self.settings(steps)]
        return seconds(["biomedjourney", *words, *configs], words[0])

    def path(self, name: str) -> str:
        return str(self.work / f"{name}.parquet")

    def encode(self) -> dict[str, float]:
        """Preprocesses and encodes everything; seconds of each command."""
        inputs = [f"--{name}={self.path(name)}" for name in ("singles", "pairs", "images")]
        first_stage, text_tower = f"--first-stage={self.first_stage}", f"--text-tower={self.text_tower}"
        pixels = f"--pictures={self.path('pixels')}"
        latents, texts = f"--out={self.path('latents')}", f"--out={self.path('texts')}"
        words = {
            "preprocess": ["preprocess", *inputs, f"--out={self.path('pixels')}"],
            "encode pictures": ["encode", "pictures", pixels, first_stage, latents],
            "encode texts": ["encode", "texts", f"--singles={self.path('singles')}", text_tower, texts],
        }
        return {name: self.command(*arguments) for name, arguments in words.items()}

    def train(self, steps: int) -> float:
        """Trains from the start; seconds of the command."""
        checkpoints, out = self.work / "checkpoints", self.work / "model"
        shutil.rmtree(checkpoints, ignore_errors=True)
        inputs = [f"--{name}={self.path(name)}" for name in ("triples", "latents", "texts")]
        outputs = [f"--checkpoints={checkpoints}", f"--out={out}", f"--training={self.path('training')}"]
        return self.command("train", "--run=pairs", *inputs, *outputs, steps=steps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("script", help="diffusers' train_instruct_pix2pix.py")
    parser.add_argument("--pairs", type=int, default=64, help="of films, for the end-to-end part; 0: leave it out")
    parser.add_argument("--steps", type=int, default=8, help="by which the long run of the bare step is longer")
    parser.add_argument("--rounds", type=int, default=3, help="turns of the bare step")
    arguments = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        model, text_tower = work / "pipeline", work / "biomedclip"
        parameters = write_pipeline(model)
        write_text_tower(text_tower)
        print(f"UNet {parameters:,} parameters, {SIZE} px, batch {BATCH}, float32, one thread", flush=True)

        small = write_films(work / "png", 16, (SIZE, SIZE), "png")
        write_image_folder(work / "png", small)
        ours = Ours(work / "small", model, text_tower, work / "png", small)
        ours.encode()

        def script_of(steps: int) -> float:
            return script_seconds(arguments.script, model, work / "png", work, f"--max_train_steps={steps}")

        turns = []
        for _ in range(arguments.rounds):
            script, our = ((run(2 + arguments.steps) - run(2)) / arguments.steps for run in (script_of, ours.train))
            turns.append((script / our, script, our))
            print(f"bare step: the script {script:.2f} s, ours {our:.2f} s, {script / our:.2f} times", flush=True)
        print(f"bare step, median of {len(turns)} turns: {np.median([turn[0] for turn in turns]):.2f} times")
        if not arguments.pairs:
            return

        large = write_films(work / "jpg", arguments.pairs, FILM, "jpg")
        write_image_folder(work / "jpg", large)
        ours = Ours(work / "large", model, text_tower, work / "jpg", large)
        script = script_seconds(arguments.script, model, work / "jpg", work, f"--num_train_epochs={EPOCHS}")
        parts = ours.encode() | {"train": ours.train(EPOCHS * -(-arguments.pairs // BATCH))}
        our = sum(parts.values())
        spelled = ", ".join(f"{name} {taken:.0f}" for name, taken in parts.items())
        print(f"{EPOCHS} epochs of {arguments.pairs} pairs from JPEG files of {FILM[0]} x {FILM[1]}:")
        print(f"  the script {script:.0f} s, ours {our:.0f} s ({spelled}): {script / our:.2f} times")


if __name__ == "__main__":
    main()
