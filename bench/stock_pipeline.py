"""`edit` against diffusers' own InstructPix2Pix pipeline: python bench/stock_pipeline.py FOLDER FILM

FOLDER: an exported model with a prior; FILM: a frontal film. Prints the largest difference of the two pictures, in
shares of the range, at several guidance scales.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionInstructPix2PixPipeline

from biomedjourney import edit, examples, preprocess, pretrain, sampling
from biomedjourney.generate.card import stock_scales

TEXT = "new small left pleural effusion"

folder, film = Path(sys.argv[1]), Path(sys.argv[2])
described = json.loads((folder / "model.json").read_text())
pipeline = StableDiffusionInstructPix2PixPipeline.from_pretrained(
    folder, text_encoder=None, tokenizer=None, trust_remote_code=True
)
tower = pretrain.load_text_tower(folder / "text_tower", described["max_tokens"])
states = torch.from_numpy(examples.pad(tower.states([TEXT]), described["max_tokens"]))
prior = torch.from_numpy(preprocess.load(film, described["size"]).picture)[None, None]
config = pipeline.unet.config
for scales in ((1.0, 1.0), (1.0, 2.0), (2.0, 1.0), (3.0, 2.0), (7.5, 1.5)):
    theirs = pipeline(
        image=prior.expand(-1, pipeline.vae.config.in_channels, -1, -1),
        prompt_embeds=states,
        negative_prompt_embeds=torch.zeros_like(states),
        latents=sampling.noise(0, ["edit"], (config.out_channels, config.sample_size, config.sample_size)),
        num_inference_steps=described["steps"],
        **dict(zip(("guidance_scale", "image_guidance_scale"), stock_scales(*scales, True), strict=True)),
        output_type="np",
    ).images[0]
    ours = edit(film, TEXT, folder, text_scale=scales[0], image_scale=scales[1], raw=True)
    print(f"text {scales[0]:g}, prior {scales[1]:g}: {np.abs(theirs.mean(axis=2) - ours).max():.1e}")
