import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from hypothesis import given
from hypothesis import strategies as st

from biomedjourney import pixels, sampling
from biomedjourney.errors import UserError

COSINE = {
    "beta_schedule": "squaredcos_cap_v2",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "steps": 1000,
    "zero_terminal_snr": True,
    "prediction_type": "v_prediction",
}
STABLE_DIFFUSION = COSINE | {
    "beta_schedule": "scaled_linear",
    "zero_terminal_snr": False,
    "prediction_type": "epsilon",
}
SHAPE = (3, 4, 8, 8)


class Oracle:
    """Knows the clean latents and answers as a perfectly trained UNet would; counts the rows it is asked for."""

    def __init__(self, clean: torch.Tensor, scheduler: Any) -> None:
        self.clean, self.scheduler, self.rows = clean, scheduler, 0

    def __call__(self, inputs: torch.Tensor, timestep: torch.Tensor, encoder_hidden_states: torch.Tensor) -> Any:
        self.rows += len(inputs)
        alpha = self.scheduler.alphas_cumprod[timestep]
        noisy, clean = inputs[:, :4], self.clean.repeat(len(inputs) // len(self.clean), 1, 1, 1)
        noise = (noisy - alpha.sqrt() * clean) / (1 - alpha).sqrt()
        velocity = alpha.sqrt() * noise - (1 - alpha).sqrt() * clean
        predicts_noise = self.scheduler.config.prediction_type == "epsilon"
        return type("Output", (), {"sample": noise if predicts_noise else velocity})


def test_stable_diffusion_schedule_has_its_published_values() -> None:
    alphas = sampling.scheduler(STABLE_DIFFUSION).alphas_cumprod
    assert float(alphas[0]) == pytest.approx(1 - 0.00085, abs=1e-7)
    betas = np.linspace(math.sqrt(0.00085), math.sqrt(0.012), 1000) ** 2
    assert float(alphas[-1]) == pytest.approx(float(np.prod(1 - betas)), rel=1e-4)
    assert float(alphas[-1]) == pytest.approx(0.0047, abs=1e-4)


def test_zero_terminal_snr_ends_in_pure_noise_and_keeps_the_first_step() -> None:
    rescaled = sampling.scheduler(COSINE).alphas_cumprod
    plain = sampling.scheduler(COSINE | {"zero_terminal_snr": False}).alphas_cumprod
    assert float(rescaled[-1]) == 0.0
    assert float(plain[-1]) > 0.0
    assert float(rescaled[0]) == pytest.approx(float(plain[0]), abs=1e-6)
    assert bool((rescaled[1:] < rescaled[:-1]).all())


def test_sampling_begins_at_the_noisiest_timestep() -> None:
    scheduler = sampling.scheduler(COSINE)
    scheduler.set_timesteps(10)
    assert scheduler.timesteps.tolist() == [999, 899, 799, 699, 599, 499, 399, 299, 199, 99]


def test_epsilon_from_pure_noise_is_refused() -> None:
    with pytest.raises(UserError, match="v_prediction"):
        sampling.scheduler(COSINE | {"prediction_type": "epsilon"})


@pytest.mark.parametrize("schedule", [COSINE, STABLE_DIFFUSION])
@pytest.mark.parametrize("solver", sampling.SOLVERS)
@pytest.mark.parametrize("steps", [1, 10, 50])
def test_perfect_oracle_recovers_the_clean_latents(schedule: dict[str, Any], solver: str, steps: int) -> None:
    scheduler = sampling.solver(solver, sampling.scheduler(schedule).config)
    clean = torch.from_numpy(np.random.default_rng(0).normal(size=SHAPE).astype(np.float32))
    noise = sampling.noise(0, ["a", "b", "c"], SHAPE[1:])
    states = torch.zeros(3, 2, 5)
    drawn = sampling.sample(Oracle(clean, scheduler), scheduler, steps, noise, torch.zeros(SHAPE), states, 3.0, 1.5)
    assert torch.allclose(drawn, clean, atol=2e-3)


class Normal:
    """Answers as a perfectly trained UNet would where clean latents are normal with a standard deviation of 0.3."""

    spread = 0.3

    def __call__(self, inputs: torch.Tensor, timestep: torch.Tensor, encoder_hidden_states: torch.Tensor) -> Any:
        alpha, noisy = sampling.scheduler(COSINE).alphas_cumprod[timestep], inputs[:, :4]
        clean = alpha.sqrt() * self.spread**2 * noisy / (alpha * self.spread**2 + 1 - alpha)
        noise = (noisy - alpha.sqrt() * clean) / (1 - alpha).sqrt()
        return type("Output", (), {"sample": alpha.sqrt() * noise - (1 - alpha).sqrt() * clean})


def test_each_solver_follows_the_known_path_from_pure_noise_with_its_order() -> None:
    """For normal latents the path of the flow is a scaling: noise z ends at 0.3 z."""
    noise = sampling.noise(0, ["a", "b", "c"], SHAPE[1:])

    def error(solver: str, steps: int) -> float:
        scheduler = sampling.solver(solver, sampling.scheduler(COSINE).config)
        states = torch.zeros(3, 2, 5)
        drawn = sampling.sample(Normal(), scheduler, steps, noise, torch.zeros(SHAPE), states, 1.0, 1.0)
        return float((drawn - Normal.spread * noise).square().mean().sqrt())

    first, second = ({steps: error(solver, steps) for steps in (20, 40, 100)} for solver in sampling.SOLVERS)
    assert first[20] / first[40] == pytest.approx(2, rel=0.1), "of first order: half the step, half the error"
    assert second[20] / second[40] > 4, "of second order"
    assert second[20] < first[20] / 3
    assert max(first[100], second[100]) < 0.01


def test_ddim_draws_bit_for_bit_as_the_schedule_that_training_stores() -> None:
    stored = sampling.scheduler(COSINE)
    inputs = (5, sampling.noise(0, ["a", "b", "c"], SHAPE[1:]), torch.zeros(SHAPE), torch.zeros(3, 2, 5), 3.0, 1.5)
    drawn = (sampling.sample(Normal(), one, *inputs) for one in (stored, sampling.solver("ddim", stored.config)))
    assert torch.equal(*drawn)


def test_a_solver_is_known_by_what_diffusers_stores_and_gives_the_noise_schedule_back(tmp_path: Path) -> None:
    schedule = sampling.scheduler(COSINE)
    for name, timesteps in (("ddim", [999, 749, 499, 249]), ("dpm-solver++", [999, 749, 499, 249])):
        solver = sampling.solver(name, schedule.config)
        solver.save_pretrained(tmp_path)
        stored = json.loads((tmp_path / "scheduler_config.json").read_text())
        assert sampling.solver_of(stored) == name
        again = sampling.solver(name, stored)
        again.set_timesteps(4)
        assert again.timesteps.tolist() == timesteps
        assert torch.equal(sampling.solver("ddim", stored).alphas_cumprod, schedule.alphas_cumprod)
        trained_on = DDIMScheduler.from_pretrained(tmp_path)  # as the card says
        assert torch.equal(trained_on.alphas_cumprod, schedule.alphas_cumprod)
        assert (trained_on.config.prediction_type, trained_on.config.clip_sample) == ("v_prediction", False)
    with pytest.raises(LookupError):
        sampling.solver_of({"_class_name": "PNDMScheduler"})


@pytest.mark.parametrize(
    ("text_scale", "image_scale", "prior", "evaluations"),
    [
        (3.0, 1.5, True, 3),
        (1.5, 1.5, True, 2),
        (3.0, 1.0, True, 2),
        (1.0, 1.0, True, 1),
        (0.0, 1.0, True, 1),
        (0.0, 0.0, True, 1),
        (3.0, 1.5, False, 2),
        (1.0, 1.5, False, 1),
        (0.0, 1.5, False, 1),
    ],
)
def test_evaluations_that_the_scales_make_redundant_are_left_out(
    text_scale: float, image_scale: float, prior: bool, evaluations: int
) -> None:
    scheduler = sampling.scheduler(COSINE)
    oracle = Oracle(torch.zeros(SHAPE), scheduler)
    priors = torch.ones(SHAPE) if prior else None
    states = torch.ones(3, 2, 5)
    sampling.sample(oracle, scheduler, 2, torch.ones(SHAPE), priors, states, text_scale, image_scale)
    assert oracle.rows == 2 * 3 * evaluations


def linear(noisy: torch.Tensor, prior: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
    """e(I, T) = 0.5 z + 2 I + 3 I T + 5 T, with T the first value of the first token."""
    told = states[:, 0, 0].reshape(-1, 1, 1, 1)
    return 0.5 * noisy + 2 * prior + 3 * prior * told + 5 * told


def test_guidance_by_hand() -> None:
    noisy, prior, states = torch.full((1, 1, 1, 1), 2.0), torch.full((1, 1, 1, 1), 0.5), torch.full((1, 1, 1), 0.4)
    # e(0,0) = 1, e(I,0) = 2, e(I,T) = 2 + 0.6 + 2 = 4.6; 1 + 1.5 * 1 + 7.5 * 2.6 = 22
    assert float(sampling.guided(linear, noisy, prior, states, 7.5, 1.5)) == pytest.approx(22.0)
    # without a prior e(0) = 1, e(T) = 3; 1 + 7.5 * 2 = 16
    assert float(sampling.guided(linear, noisy, None, states, 7.5, 1.5)) == pytest.approx(16.0)


@given(st.floats(0, 10), st.floats(0, 10))
def test_guidance_is_the_published_formula_at_any_scale(text_scale: float, image_scale: float) -> None:
    rng = np.random.default_rng(0)
    noisy, prior = (torch.from_numpy(rng.normal(size=(2, 4, 3, 3))) for _ in range(2))
    states, no_prior, no_text = torch.ones(2, 1, 1).double(), torch.zeros_like(prior), torch.zeros(2, 1, 1).double()
    nothing, image, both = (linear(noisy, *given) for given in ((no_prior, no_text), (prior, no_text), (prior, states)))
    expected = nothing + image_scale * (image - nothing) + text_scale * (both - image)
    assert torch.allclose(sampling.guided(linear, noisy, prior, states, text_scale, image_scale), expected)


def test_noise_is_keyed_by_seed_and_name_not_by_the_batch() -> None:
    together = sampling.noise(1, ["a", "b"], (4, 8, 8))
    assert torch.equal(together[1], sampling.noise(1, ["b"], (4, 8, 8))[0])
    assert not torch.equal(together[0], together[1])
    assert not torch.equal(together, sampling.noise(2, ["a", "b"], (4, 8, 8)))
    many = sampling.noise(0, [str(i) for i in range(200)], (4, 8, 8))
    assert abs(float(many.mean())) < 0.01
    assert float(many.std()) == pytest.approx(1.0, abs=0.01)


def test_key_parts_do_not_run_together() -> None:
    draws = {sampling.keyed(*key).random() for key in [("a", 12), ("a", 1, 2), ("a1", 2), ("a", 12, "")]}
    assert len(draws) == 4
    assert sampling.keyed("a", 12).random() == sampling.keyed("a", 12).random()


class Colours:
    """A first stage that decodes a latent of three channels, as it is, to a picture of three colours."""

    config = SimpleNamespace(scaling_factor=0.18215)

    def decode(self, z: torch.Tensor) -> Any:
        return SimpleNamespace(sample=z)


def test_latents_are_unscaled_then_decoded_then_each_colour_is_clipped() -> None:
    one, other = [[[0.5, -1.0]], [[-0.25, -1.0]], [[3.0, 1.0]]], [[[0.0, -7.0]], [[0.0, 1.0]], [[0.0, 0.0]]]
    decoded = torch.tensor([one, other])
    pictures = sampling.decode(Colours(), 0.18215 * decoded)
    assert pictures.dtype == torch.float32
    # (0.75 + 0.375 + 1) / 3 and (0 + 0 + 1) / 3; 0.5 and (0 + 1 + 0.5) / 3
    assert pictures.flatten().tolist() == pytest.approx([2.125 / 3, 1 / 3, 0.5, 0.5])
    assert pictures.shape == (2, 1, 2)


def test_a_range_is_undone_by_its_inverse() -> None:
    grey = np.random.default_rng(0).random((2, 1, 3, 4), dtype=np.float32)
    there = pixels.to_first_stage(grey)
    assert (float(pixels.to_first_stage(np.float32(0))), float(pixels.to_first_stage(np.float32(1)))) == (-1.0, 1.0)
    np.testing.assert_allclose(pixels.from_first_stage(there), grey[:, 0], atol=1e-6)
    with pytest.raises(ValueError, match="four dimensions, not 3"):
        pixels.from_first_stage(there[0])
