"""Learning rate, average, loss and batches: known values and properties."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from biomedjourney import config, sampling
from biomedjourney.examples import Conditions, Targets, pad
from biomedjourney.train import batches, loop
from tests.helpers import tiny

TRAIN = {"learning_rate": 1.0, "warmup_steps": 4, "decay": 0.5}
SHARES = {"text": 0.05, "image": 0.05, "both": 0.05}
SETTINGS = {"seed": 0, "train": {"dropout": SHARES, "timestep_power": 1.0}}


def problem(count: int = 10, scaling_factor: float = 1.0) -> tuple[Targets, Conditions]:
    prior, current, told = tiny.toy(count)
    std = np.full_like(current, 0.05)
    states = [tiny.states(text) for text in tiny.TEXTS]
    own = np.arange(count)
    return Targets(current, std, own, scaling_factor), Conditions(prior, own, states, told, tiny.TOKENS)


def test_learning_rate_rises_stays_and_falls() -> None:
    rates = [loop.learning_rate(step, 20, TRAIN) for step in range(20)]
    assert rates[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert rates[4:10] == [1.0] * 6
    assert rates[10:] == pytest.approx([1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])
    constant = TRAIN | {"warmup_steps": 0, "decay": 0.0}
    assert {loop.learning_rate(step, 20, constant) for step in range(20)} == {1.0}


class Slope(torch.nn.Module):
    """A model of one weight that is always drawn upwards, and that remembers which weights it had."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.course: list[float] = []

    def forward(self, inputs: torch.Tensor, timesteps: torch.Tensor, encoder_hidden_states: torch.Tensor) -> Any:
        self.course.append(self.weight.item())
        return type("Output", (), {"sample": inputs[:, :4] * 0 + self.weight})


def climbed(steps: int, **changed: Any) -> tuple[list[float], float, list[dict[str, Any]]]:
    """The weight before each step, the weight of the trained model, and the rows."""
    schedule = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "steps": 1000}
    scheduler = sampling.scheduler(schedule | {"zero_terminal_snr": False, "prediction_type": "epsilon"})
    settings = {"learning_rate": 0.1, "warmup_steps": 0, "decay": 0.0, "weight_decay": 0.0, "ema_decay": 0.3}
    settings |= {"min_snr_gamma": None, "gradient_norm": 1.0, "log_every": 1, "checkpoint_every": 10}
    unet = Slope()
    batch = batches.batch(*problem(), 0, SETTINGS, "run", 4, 1000)
    batch = dataclasses.replace(batch, noise=torch.full_like(batch.noise, 100.0))
    rows = loop.train(unet, scheduler, lambda step: batch, steps, settings | changed)
    return unet.course, float(unet.weight.detach()), rows


def test_the_trained_model_is_the_moving_average_of_the_weights() -> None:
    """Each step moves the weight by the learning rate, since Adam's first steps have that length."""
    course, trained, _ = climbed(5)
    assert course == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4], abs=1e-4)
    average = 0.0
    for i, value in enumerate([*course[1:], 0.5]):
        decay = min(0.3, (1 + i) / (10 + i)) if i else 0.0
        average = decay * average + (1 - decay) * value
    assert trained == pytest.approx(average, abs=1e-4)
    assert trained < 0.49


def test_a_step_has_the_learning_rate_and_the_weight_decay_of_its_place() -> None:
    course, _, rows = climbed(10, **TRAIN, weight_decay=0.1)
    rates = [loop.learning_rate(step, 10, TRAIN) for step in range(10)]
    assert len(set(rates)) > 5
    assert [row["learning_rate"] for row in rows[1:]] == rates
    weight = 0.0
    for rate, reached in zip(rates, course[1:], strict=False):
        weight = weight * (1 - 0.1 * rate) + rate
        assert reached == pytest.approx(weight, abs=1e-4)


def test_long_gradients_are_cut() -> None:
    """So short a gradient is no longer much longer than what Adam adds to its divisor, 1e-8."""
    course, _, _ = climbed(2, gradient_norm=1e-9)
    assert course[1] == pytest.approx(0.1 * 1 / 11, rel=1e-3)


def test_each_error_has_the_weight_of_its_timestep() -> None:
    schedule = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "steps": 1000}
    scheduler = sampling.scheduler(schedule | {"zero_terminal_snr": False, "prediction_type": "epsilon"})
    batch = batches.batch(*problem(), 0, SETTINGS, "run", 4, 1000)

    def off_by_two(inputs: torch.Tensor, timesteps: torch.Tensor, encoder_hidden_states: torch.Tensor) -> Any:
        return type("Output", (), {"sample": batch.noise + 2})

    weights = torch.arange(1000.0)
    expected = 4 * float(batch.timesteps.float().mean())
    assert float(loop.loss(off_by_two, batch, scheduler, weights)) == pytest.approx(expected, rel=1e-5)
    _, _, rows = climbed(1, min_snr_gamma=0.5)
    _, _, unweighted = climbed(1)
    snr = scheduler.alphas_cumprod / (1 - scheduler.alphas_cumprod)
    share = float((snr.clamp(max=0.5) / snr)[batch.timesteps].mean())
    assert rows[1]["loss"] == pytest.approx(share * unweighted[1]["loss"], rel=1e-4)


def test_min_snr_weights_by_hand() -> None:
    alphas = torch.tensor([0.9, 0.5, 0.0])  # SNR 9, 1, 0
    assert loop.loss_weight(alphas, "v_prediction", 5.0).tolist() == pytest.approx([5 / 10, 1 / 2, 0.0])
    assert loop.loss_weight(alphas[:2], "epsilon", 5.0).tolist() == pytest.approx([5 / 9, 1.0])
    assert loop.loss_weight(alphas, "v_prediction", None).tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_loss_is_zero_for_the_right_answer_and_one_for_an_answer_off_by_one(prediction_type: str) -> None:
    schedule = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "steps": 1000}
    scheduler = sampling.scheduler(schedule | {"zero_terminal_snr": False, "prediction_type": prediction_type})
    batch = batches.batch(*problem(), 0, SETTINGS, "run", 4, 1000)
    alpha = scheduler.alphas_cumprod[batch.timesteps].reshape(-1, 1, 1, 1)
    right = batch.noise
    if prediction_type == "v_prediction":
        right = alpha.sqrt() * batch.noise - (1 - alpha).sqrt() * batch.target

    def unet(off: float) -> Any:
        def answer(inputs: torch.Tensor, timesteps: torch.Tensor, encoder_hidden_states: torch.Tensor) -> Any:
            noisy = alpha.sqrt() * batch.target + (1 - alpha).sqrt() * batch.noise
            assert torch.allclose(inputs, torch.cat([noisy, batch.prior], dim=1), atol=1e-6)
            assert torch.equal(encoder_hidden_states, batch.states)
            return type("Output", (), {"sample": right + off})

        return answer

    weights = torch.ones(1000)
    assert float(loop.loss(unet(0.0), batch, scheduler, weights)) == pytest.approx(0.0, abs=1e-9)
    assert float(loop.loss(unet(1.0), batch, scheduler, weights)) == pytest.approx(1.0, abs=1e-5)


@given(st.integers(1, 30), st.integers(1, 12), st.integers(0, 5))
def test_every_epoch_takes_each_example_once(examples: int, batch_size: int, seed: int) -> None:
    steps = -(-2 * examples // batch_size)
    drawn = [row for step in range(steps) for row in batches.order(seed, "run", examples, step, batch_size)]
    for epoch in range(2):
        assert sorted(drawn[epoch * examples : (epoch + 1) * examples]) == list(range(examples))


def test_conditions_are_dropped_as_often_as_configured() -> None:
    assert [batches.dropped(draw, SHARES) for draw in (0.0, 0.049, 0.051, 0.099, 0.101, 0.149, 0.151, 0.999)] == [
        *[(True, False)] * 2,
        *[(False, True)] * 2,
        *[(True, True)] * 2,
        *[(False, False)] * 2,
    ]
    settings = config.merge(SETTINGS, {"train": {"dropout": {"text": 0.2, "image": 0.3, "both": 0.1}}})
    seen = [batches.batch(*problem(), step, settings, "run", 32, 10) for step in range(40)]
    no_text = torch.cat([batch.states.abs().sum(dim=(1, 2)) == 0 for batch in seen])
    no_prior = torch.cat([batch.prior.abs().sum(dim=(1, 2, 3)) == 0 for batch in seen])
    assert float(no_text.float().mean()) == pytest.approx(0.3, abs=0.05)
    assert float(no_prior.float().mean()) == pytest.approx(0.4, abs=0.05)
    assert float((no_text & no_prior).float().mean()) == pytest.approx(0.1, abs=0.04)


@pytest.mark.parametrize("power", [1.0, 0.5])
def test_timesteps_are_a_power_of_a_uniform_draw(power: float) -> None:
    settings = config.merge(SETTINGS, {"train": {"timestep_power": power}})
    drawn = torch.cat([batches.batch(*problem(), step, settings, "run", 50, 1000).timesteps for step in range(40)])
    assert 0 <= int(drawn.min()) <= int(drawn.max()) <= 999
    assert stats.kstest((drawn.numpy() + 0.5) / 1000, lambda share: share ** (1 / power)).pvalue > 0.01


def test_batch_depends_on_seed_run_and_step_alone() -> None:
    def drawn(step: int = 7, run: str = "run", seed: int = 0) -> batches.Batch:
        return batches.batch(*problem(), step, SETTINGS | {"seed": seed}, run, 4, 1000)

    first, again = drawn(), drawn()
    assert all(torch.equal(getattr(first, name), getattr(again, name)) for name in first.__dataclass_fields__)
    for other in (drawn(step=8), drawn(run="other"), drawn(seed=1)):
        assert not torch.equal(first.noise, other.noise)
    assert not torch.equal(first.noise[0], first.noise[1])


def test_target_is_sampled_and_scaled_and_prior_is_not() -> None:
    settings = config.merge(SETTINGS, {"train": {"dropout": dict.fromkeys(SHARES, 0.0)}})
    targets, conditions = problem(scaling_factor=0.5)
    rows = batches.order(0, "run", 10, 3, 4)
    batch = batches.batch(targets, conditions, 3, settings, "run", 4, 1000)
    residual = (batch.target / 0.5 - torch.from_numpy(targets.means[rows].astype(np.float32))) / 0.05
    assert float(residual.std()) == pytest.approx(1.0, abs=0.1)
    assert torch.equal(batch.prior, torch.from_numpy(conditions.prior_means[rows].astype(np.float32)))
    assert batch.states.shape == (4, tiny.TOKENS, tiny.WIDTH)


def test_texts_are_padded_with_zero_rows() -> None:
    padded = pad([np.ones((2, 3), np.float16), np.ones((4, 3), np.float16)], 5)
    assert padded.dtype == np.float32
    assert padded.sum(axis=(1, 2)).tolist() == [6.0, 12.0]
    assert not padded[0, 2:].any()
