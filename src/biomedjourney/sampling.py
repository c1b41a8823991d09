"""The noise schedule, keyed randomness, guidance, the sampler and the decoded picture, for every use of a model."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from biomedjourney import pixels, weights
from biomedjourney.errors import UserError

# What draws, by its name in the configuration: diffusers' class, and what it is told beside the noise schedule.
SOLVERS: dict[str, tuple[str, dict[str, Any]]] = {
    "ddim": ("DDIMScheduler", {}),
    "dpm-solver++": (
        "DPMSolverMultistepScheduler",
        {"algorithm_type": "dpmsolver++", "solver_order": 2, "final_sigmas_type": "zero"},
    ),
}


def scheduler(schedule: dict[str, Any]) -> Any:
    """diffusers' `DDIMScheduler` for the section ``diffusion.schedule``; it adds noise and removes it.

    Timesteps are trailing, so sampling begins at the noisiest one, and nothing is clipped (Lin et al., 2024). Raises
    UserError for zero_terminal_snr with epsilon: at the last step the input is pure noise, and so is epsilon.
    """
    from diffusers import DDIMScheduler

    if schedule["zero_terminal_snr"] and schedule["prediction_type"] == "epsilon":
        raise UserError(
            "configuration, diffusion.schedule: with zero_terminal_snr the last step is pure noise, and epsilon says "
            "nothing about the picture: set prediction_type to v_prediction or zero_terminal_snr to false"
        )
    return DDIMScheduler(
        num_train_timesteps=schedule["steps"],
        beta_schedule=schedule["beta_schedule"],
        beta_start=schedule["beta_start"],
        beta_end=schedule["beta_end"],
        prediction_type=schedule["prediction_type"],
        rescale_betas_zero_snr=schedule["zero_terminal_snr"],
        timestep_spacing="trailing",
        clip_sample=False,
    )


def solver(name: str, schedule: Mapping[str, Any]) -> Any:
    """diffusers' scheduler for a solver of `SOLVERS`, with the noise schedule of another one.

    ``schedule``: the configuration of a scheduler, as diffusers stores it. DDIM (Song et al., 2021) is of first order.
    DPM-Solver++ (Lu et al., 2022) is of second order and uses the prediction of the step before. It counts in
    logarithms of the noise level, which is infinite at zero terminal SNR: diffusers begins at 4096 times the signal.
    """
    import diffusers

    class_name, options = SOLVERS[name]
    return getattr(diffusers, class_name).from_config(dict(schedule), **options)


def solver_of(schedule: Mapping[str, Any]) -> str:
    """The name of the solver whose configuration diffusers has stored. Raises LookupError for another class."""
    return {class_name: name for name, (class_name, _) in SOLVERS.items()}[schedule["_class_name"]]


def keyed(*key: int | str) -> np.random.Generator:
    """A counter-based generator (Philox). Its numbers depend only on the key, not on what was drawn before."""
    digest = hashlib.sha256("\0".join(str(part) for part in key).encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))


def noise(seed: int, names: list[str], shape: tuple[int, ...]) -> torch.Tensor:
    """Standard normal float32 noise (len(names), *shape). Each row depends only on the seed and its name."""
    rows = [keyed("sampling", seed, name).standard_normal(shape, dtype=np.float32) for name in names]
    return torch.from_numpy(np.stack(rows))


def guidance_terms(text_scale: float, image_scale: float, prior: bool) -> list[tuple[float, bool, bool]]:
    """The evaluations that guidance needs: (weight, with the prior, with the text). Those of weight zero are left out.

    With a prior: e(0,0) + s_I (e(I,0) - e(0,0)) + s_T (e(I,T) - e(I,0)), as in InstructPix2Pix (Brooks et al., 2023).
    Without one: e(0) + s_T (e(T) - e(0)) (Ho and Salimans, 2022). The weights add up to one.
    """
    if prior:
        terms = [(1 - image_scale, False, False), (image_scale - text_scale, True, False), (text_scale, True, True)]
    else:
        terms = [(1 - text_scale, False, False), (text_scale, False, True)]
    return [term for term in terms if term[0] != 0]


def guided(
    predict: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor],
    latents: torch.Tensor,
    prior_latents: torch.Tensor | None,
    text_states: torch.Tensor,
    text_scale: float,
    image_scale: float,
) -> torch.Tensor:
    """The guided prediction for noisy ``latents`` (n, c, h, w), from one batch with all evaluations that are needed.

    ``predict`` maps (latents, prior latents, text states (n, tokens, width)) to a prediction with the shape of the
    latents. The null prior is a zero latent, the null text is all-zero states. ``prior_latents`` None: the model has no
    prior, and ``image_scale`` has no effect.
    """
    terms = guidance_terms(text_scale, image_scale, prior_latents is not None)
    null_prior, null_text = torch.zeros_like(latents), torch.zeros_like(text_states)
    prior = null_prior if prior_latents is None else prior_latents
    predictions = predict(
        torch.cat([latents] * len(terms)),
        torch.cat([prior if keeps_prior else null_prior for _, keeps_prior, _ in terms]),
        torch.cat([text_states if keeps_text else null_text for _, _, keeps_text in terms]),
    ).chunk(len(terms))
    return sum(
        (weight * part for (weight, _, _), part in zip(terms, predictions, strict=True)), torch.zeros_like(latents)
    )


@torch.no_grad()
def sample(
    unet: Any,
    scheduler: Any,
    steps: int,
    noise: torch.Tensor,
    prior_latents: torch.Tensor | None,
    text_states: torch.Tensor,
    text_scale: float,
    image_scale: float,
) -> torch.Tensor:
    """Scaled latents (n, c, h, w), drawn from ``noise`` of that shape in ``steps`` steps of a `solver`.

    ``prior_latents`` are unscaled and joined to the noisy ones along the channels; None: the model has no prior.
    """
    scheduler.set_timesteps(steps)
    latents = noise * scheduler.init_noise_sigma
    for timestep in scheduler.timesteps:

        def predict(
            noisy: torch.Tensor, prior: torch.Tensor, states: torch.Tensor, at: torch.Tensor = timestep
        ) -> torch.Tensor:
            return unet(torch.cat([noisy, prior], dim=1), at, encoder_hidden_states=states).sample

        prediction = guided(predict, latents, prior_latents, text_states, text_scale, image_scale)
        latents = scheduler.step(prediction, timestep, latents).prev_sample
    return latents


@torch.no_grad()
def decode(first_stage: Any, latents: torch.Tensor) -> torch.Tensor:
    """Grey pictures, float32 (n, rows, columns) in [0, 1], of scaled latents (n, c, h, w), as `sample` gives them."""
    decoded = first_stage.decode(latents / first_stage.config.scaling_factor).sample
    pictures: torch.Tensor = pixels.from_first_stage(decoded.float())
    return pictures


def load_unet(folder: Path) -> Any:
    """The UNet of a folder in diffusers' format, in float32. Raises UserError as `weights.load` does."""
    from diffusers import UNet2DConditionModel

    return weights.load(folder, weights.UNET, UNet2DConditionModel)


def unet_config(folder: Path) -> Any:
    """The configuration of the UNet in a folder, from its files' headers. Raises UserError as `weights.check` does."""
    from diffusers import UNet2DConditionModel

    return weights.check(folder, weights.UNET, UNet2DConditionModel)


def check_conditions(folder: Path, config: Any, channels: int, text_width: int) -> None:
    """Raises UserError where a published UNet is made for other latents or other conditions than ours.

    The size of the latents for which it was published (``sample_size``) does not count: it takes those of any size.
    """
    if config.in_channels not in (channels, 2 * channels) or config.out_channels != channels:
        raise UserError(
            f"{folder}: a UNet from {config.in_channels} to {config.out_channels} channels does not fit latents of "
            f"{channels} channels: give a UNet and a first stage that were published together"
        )
    if config.encoder_hid_dim not in (None, text_width):
        raise UserError(
            f"{folder}: a UNet for text states of width {config.encoder_hid_dim}, but the texts have {text_width}: "
            "give it the text tower that it was trained with, or another UNet"
        )
    conditions = [config.class_embed_type, config.num_class_embeds, config.addition_embed_type]
    conditions += [not isinstance(config.cross_attention_dim, int)]
    if any(conditions) or config.encoder_hid_dim_type not in (None, "text_proj"):
        raise UserError(
            f"{folder}: a UNet that needs other conditions than a text and a prior image, as Stable Diffusion XL's "
            "does: give that of Stable Diffusion 1 or 2, or of InstructPix2Pix"
        )
