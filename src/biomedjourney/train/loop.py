"""The training loop, the same for every stage and size."""

import math
import time
from collections.abc import Callable
from typing import Any

import torch

from biomedjourney import progress
from biomedjourney.errors import UserError
from biomedjourney.train.batches import Batch

Rows = list[dict[str, Any]]


def learning_rate(step: int, steps: int, settings: dict[str, Any]) -> float:
    """Linear warm-up, constant, and a linear fall to zero over the last share ``decay`` of the steps."""
    rising = (step + 1) / max(settings["warmup_steps"], 1)
    falling = (steps - step) / max(settings["decay"] * steps, 1)
    return settings["learning_rate"] * min(1.0, rising, falling)


def loss_weight(alphas_cumprod: torch.Tensor, prediction_type: str, gamma: float | None) -> torch.Tensor:
    """The min-SNR weight of each timestep's squared error (Hang et al., 2023); all ones where gamma is None."""
    if gamma is None:
        return torch.ones_like(alphas_cumprod)
    snr = alphas_cumprod / (1 - alphas_cumprod)
    return snr.clamp(max=gamma) / (snr + 1 if prediction_type == "v_prediction" else snr)


def loss(unet: Any, batch: Batch, scheduler: Any, weights: torch.Tensor) -> torch.Tensor:
    """The weighted mean squared error of the prediction of noise or velocity, a scalar."""
    noisy = scheduler.add_noise(batch.target, batch.noise, batch.timesteps)
    goal = batch.noise
    if scheduler.config.prediction_type == "v_prediction":
        goal = scheduler.get_velocity(batch.target, batch.noise, batch.timesteps)
    inputs = torch.cat([noisy, batch.prior], dim=1)
    prediction = unet(inputs, batch.timesteps, encoder_hidden_states=batch.states).sample
    error = (prediction.float() - goal).square().mean(dim=(1, 2, 3))
    return (weights[batch.timesteps] * error).mean()


def in_words(rows: Rows) -> str:
    """The last row's figures for the progress line, with the last validation loss; what is not known is left out."""
    losses = [row["validation_loss"] for row in rows if row.get("validation_loss") is not None]
    figures = rows[-1] | {"validation_loss": losses[-1] if losses else None}
    texts = {
        "loss": "loss {:.4f}",
        "validation_loss": "validation {:.4f}",
        "images_per_second": "{:.3g} images/s",
        "memory_mb": "{:,.0f} MB",
    }
    return ", ".join(text.format(figures[key]) for key, text in texts.items() if figures.get(key) is not None)


def train(
    unet: Any,
    scheduler: Any,
    next_batch: Callable[[int], Batch],
    steps: int,
    settings: dict[str, Any],
    restored: dict[str, Any] | None = None,
    save: Callable[[dict[str, Any]], None] = lambda state: None,
    title: str = "train",
    watch: Any = None,
) -> Rows:
    """Trains ``unet`` in place and leaves the moving average of its weights in it.

    ``next_batch``: step to batch, the same whenever it is asked. ``settings``: the section ``train``. ``restored``: a
    state that ``save`` was given, from which the run goes on bit for bit. ``save`` is given the state at intervals
    and at the end. ``watch``: None, or a `watch.Watch`, which sees every row, and the averaged model at intervals and
    at the end. Returns rows of the table `training` without ``run`` and ``stage``, the first one at step 0.
    The average keeps little of the first steps, (1 + step) / (10 + step) up to ``ema_decay``, so that the untrained
    weights are soon forgotten.
    """
    from diffusers.training_utils import EMAModel

    device = unet.device
    optimiser = torch.optim.AdamW(
        unet.parameters(), settings["learning_rate"], weight_decay=settings["weight_decay"], fused=True
    )
    weights = loss_weight(scheduler.alphas_cumprod, scheduler.config.prediction_type, settings["min_snr_gamma"])
    weights = weights.to(device)
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.to(device)
    parameters = list(unet.parameters())
    average = EMAModel(parameters, decay=settings["ema_decay"], foreach=True)
    summed = torch.zeros((), device=device)
    first_step, images_seen, seconds = 0, 0, 0.0
    rows: Rows = [{"step": 0, "images_seen": 0, "loss": None, "learning_rate": None, "seconds": 0.0}]
    if restored is not None:
        unet.load_state_dict(restored["unet"])
        optimiser.load_state_dict(restored["optimiser"])
        average.load_state_dict(restored["average"])
        summed, rows = restored["summed"], restored["rows"]
        first_step, images_seen, seconds = restored["step"], restored["images_seen"], restored["seconds"]
    elif watch is not None:
        watch.logged(rows[0])
    validate_every = settings["validate_every"] if watch is not None else None
    unet.train()
    began = time.monotonic() - seconds
    with progress.bar(steps, title, unit="step", done=first_step) as bar:
        for step in range(first_step, steps):
            batch = next_batch(step).to(device)
            rate = learning_rate(step, steps, settings)
            for group in optimiser.param_groups:
                group["lr"] = rate
            batch_loss = loss(unet, batch, scheduler, weights)
            optimiser.zero_grad(set_to_none=True)
            batch_loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, settings["gradient_norm"])
            optimiser.step()
            average.step(parameters)
            summed += batch_loss.detach()
            images_seen += len(batch.target)
            bar.update()
            steps_done = step + 1
            last = steps_done == steps
            validates = validate_every is not None and (steps_done % validate_every == 0 or last)
            if steps_done % settings["log_every"] == 0 or validates or last:
                mean = summed.item() / (steps_done - rows[-1]["step"])
                if not math.isfinite(mean):
                    raise UserError(f"{title}: the loss is {mean} by step {steps_done}: lower train.learning_rate")
                row = {"step": steps_done, "images_seen": images_seen, "loss": mean, "learning_rate": rate}
                if validates:
                    average.store(parameters)
                    average.copy_to(parameters)
                    row |= watch.validate(steps_done, unet.eval())
                    average.restore(parameters)
                    unet.train()
                rows.append(row | {"seconds": time.monotonic() - began})
                if watch is not None:
                    watch.logged(rows[-1])
                bar.set_postfix_str(in_words(rows), refresh=False)
                summed.zero_()
            if steps_done % settings["checkpoint_every"] == 0 or last:
                state = {"unet": unet.state_dict(), "optimiser": optimiser.state_dict()}
                state |= {"average": average.state_dict(), "summed": summed, "rows": rows}
                state |= {"step": steps_done, "images_seen": images_seen, "seconds": time.monotonic() - began}
                save(state)
    average.copy_to(parameters)
    return rows
