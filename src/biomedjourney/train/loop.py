"""The training loop, the same for every stage and size."""

import math
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch

from biomedjourney import progress
from biomedjourney.errors import UserError, brief
from biomedjourney.train.batches import Batch, ahead
from biomedjourney.train.ranks import ALONE, Ranks, one_reason

Rows = list[dict[str, Any]]

# What decides speed and memory, where ``settings`` leaves it out.
PLAIN: dict[str, Any] = {
    "precision": "float32",
    "compile": False,
    "micro_batch_size": None,
    "gradient_checkpointing": False,
    "deterministic": False,
    "validate_every": None,
    "checkpoint_minutes": math.inf,
}
SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
DUE = 1  # stands among them for a state that is to be saved because the last one is old
NEVER = 2**62  # a step that no run reaches
MB = 2**20


class Stopped(Exception):
    """A signal asked for the end of the run; the state after ``step`` steps is saved."""

    def __init__(self, number: int, step: int) -> None:
        super().__init__(number, step)
        self.signal, self.step = signal.Signals(number).name, step


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
    ranks: Ranks = ALONE,
) -> Rows:
    """Trains ``unet`` in place and leaves the moving average of its weights in it.

    ``next_batch``: step to this process's share of the batch, the same whenever it is asked. ``settings``: the section
    ``train``; what `PLAIN` holds may be absent. ``restored``: a state that ``save`` was given, from which the run goes
    on bit for bit; its tensors are taken out of it. ``save`` is given the state at intervals, at the end and when a
    signal of `SIGNALS` comes. ``watch``: None, or one whose ``logged(row)`` takes each new row, and whose
    ``validate(step, unet)`` is given the averaged model every ``validate_every`` steps and at the end; what it returns
    is added to that step's row. Of several processes the main one calls ``save`` and ``watch``. Returns rows of the
    table `training` without ``run`` and ``stage``, the first one at step 0. The average keeps little of the first
    steps, (1 + step) / (10 + step) up to ``ema_decay``, so that the untrained weights are soon forgotten.

    Raises `Stopped` after a signal, and UserError where the loss, its gradient or the weights are not finite; such a
    state is never saved.
    """
    from diffusers.training_utils import EMAModel

    settings, device = PLAIN | settings, unet.device
    watch = watch if ranks.is_main else None
    on_gpu, in_bf16 = device.type == "cuda", settings["precision"] == "bf16"
    if on_gpu:
        unet.to(memory_format=torch.channels_last)
    if settings["gradient_checkpointing"]:
        unet.enable_gradient_checkpointing()
    parameters = list(unet.parameters())
    optimiser = torch.optim.AdamW(
        parameters, settings["learning_rate"], weight_decay=settings["weight_decay"], fused=True
    )
    weights = loss_weight(scheduler.alphas_cumprod, scheduler.config.prediction_type, settings["min_snr_gamma"])
    weights = weights.to(device)
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.to(device)
    average = EMAModel(parameters, decay=settings["ema_decay"], foreach=True)
    summed = torch.zeros((), device=device)
    first_step, images_seen, seconds = 0, 0, 0.0
    rows: Rows = [{"step": 0, "images_seen": 0, "loss": None, "learning_rate": None, "seconds": 0.0}]
    if restored is not None:
        _restore(restored, unet, optimiser, average)
        rows = restored["rows"]
        first_step, images_seen, seconds = restored["step"], restored["images_seen"], restored["seconds"]
        summed_before = restored.pop("summed").to(device)
        if ranks.is_main:  # the sum over all processes, from here on in one of them
            summed += summed_before
    elif watch is not None:
        watch.logged(rows[0])
    bad = torch.tensor([NEVER, 0.0], dtype=torch.float64, device=device)  # the first bad step, and its loss
    last_saved = first_step
    unet.train()
    if settings["compile"]:
        unet.compile()
    model = ranks.wrapped(unet)
    began = row_began = saved_at = time.monotonic()
    began -= seconds
    images_timed, batch_size = 0, None

    def check() -> None:
        """Raises UserError where a step since the last check went wrong. Waits for the GPU."""
        first = ranks.least(bad[0])
        bad_loss = ranks.total(torch.where(bad[0] == first, bad[1], 0.0))
        finite = torch.stack(torch._foreach_norm(parameters)).isfinite().all()
        if first < NEVER or not finite:
            raise UserError(_diverged(title, int(first), bad_loss.item(), steps_done, last_saved, in_bf16))

    with (
        _kernels(settings, on_gpu),
        _noted_signals(together=ranks.count > 1) as noted,
        progress.bar(steps, title, unit="step", done=first_step, shown=ranks.is_main) as bar,
        closing(ahead(next_batch, range(first_step, steps), device)) as prepared,
        one_reason() if ranks.count > 1 else nullcontext(),
    ):
        for step, batch in prepared:
            if batch_size is None:
                batch_size = int(ranks.total(torch.tensor(len(batch), device=device)))
            rate = learning_rate(step, steps, settings)
            for group in optimiser.param_groups:
                group["lr"] = rate
            with _explained(title, device, min(len(batch), settings["micro_batch_size"] or batch_size)):
                step_loss = torch.zeros((), device=device)
                parts = batch.split(settings["micro_batch_size"])
                for part in parts:
                    # the gradients travel between processes once per step, with the last part
                    with model.no_sync() if ranks.count > 1 and part is not parts[-1] else nullcontext():
                        with torch.autocast(device.type, torch.bfloat16, enabled=in_bf16):
                            part_loss = loss(model, part, scheduler, weights) * (len(part) / batch_size)
                        (part_loss * ranks.count).backward()  # of which the mean over the processes is taken
                    step_loss += part_loss.detach()
            norm = torch.nn.utils.clip_grad_norm_(parameters, settings["gradient_norm"])
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)  # before the average, which needs as much memory for a moment
            average.step(parameters)
            summed += step_loss
            steps_done = step + 1
            is_bad = ~(step_loss.isfinite() & norm.isfinite()) & (bad[0] == NEVER)
            bad = torch.where(is_bad, torch.stack([torch.full_like(step_loss, steps_done), step_loss]).double(), bad)
            images_seen += batch_size
            images_timed += batch_size
            bar.update()
            last, every = steps_done == steps, settings["validate_every"]
            validates = every is not None and (last or steps_done % every == 0)
            if last or validates or steps_done % settings["log_every"] == 0:
                check()
                now = time.monotonic()
                row: dict[str, Any] = {"step": steps_done, "images_seen": images_seen, "learning_rate": rate}
                row["loss"] = ranks.total(summed).item() / (steps_done - rows[-1]["step"])
                row["images_per_second"] = images_timed / max(now - row_began, 1e-9)
                row["memory_mb"] = _memory_mb(device)
                if validates and watch is not None:
                    with _averaged(unet, average, parameters):
                        row |= watch.validate(steps_done, unet)
                images_timed, row_began = 0, time.monotonic()
                rows.append(row | {"seconds": row_began - began})
                summed.zero_()
                bar.set_postfix_str(in_words(rows), refresh=False)
                if watch is not None:
                    watch.logged(rows[-1])
            is_due = ranks.is_main and time.monotonic() - saved_at >= 60 * settings["checkpoint_minutes"]
            asked = ranks.largest(noted[0] if noted else DUE if is_due else 0)
            if last or asked or steps_done % settings["checkpoint_every"] == 0:
                check()
                paused = time.monotonic()
                state = {"unet": unet.state_dict(), "optimiser": optimiser.state_dict()}
                state |= {"average": average.state_dict(), "summed": ranks.total(summed), "rows": rows}
                state |= {"step": steps_done, "images_seen": images_seen, "seconds": paused - began}
                if ranks.is_main:
                    save(state)
                last_saved, saved_at = steps_done, time.monotonic()
                row_began += saved_at - paused
                if asked > DUE and not last:
                    raise Stopped(asked, steps_done)
    average.copy_to(parameters)
    unet.to(memory_format=torch.contiguous_format)  # in which safetensors stores weights
    return rows


def _restore(restored: dict[str, Any], unet: Any, optimiser: Any, average: Any) -> None:
    """Copies the tensors of a state to where the model's are, and takes them out of it, so that they can be freed."""
    unet.load_state_dict(restored.pop("unet"))
    optimiser.load_state_dict(restored.pop("optimiser"))
    for parameter, state in optimiser.state.items():
        for name, value in state.items():  # in memory of its own, not in the file's, laid out as the parameter is
            state[name] = torch.empty_like(parameter if value.shape == parameter.shape else value).copy_(value)
    saved = restored.pop("average")
    average.load_state_dict(saved | {"shadow_params": None})
    for shadow, value in zip(average.shadow_params, saved["shadow_params"], strict=True):
        shadow.copy_(value)


@contextmanager
def _explained(title: str, device: torch.device, examples: int) -> Iterator[None]:
    """Turns what a GPU or a compiler cannot do for so many ``examples`` at once into a UserError."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise UserError(
            f"{title}: the memory of {device} is too small for {examples} examples at once: set train.micro_batch_size "
            "to fewer, or train.gradient_checkpointing to true; neither changes what is learned"
        ) from None
    except Exception as error:
        if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise
        raise UserError(
            f"{title}: torch.compile failed ({brief(error)}): set train.compile to false, which changes the speed alone"
        ) from error


@contextmanager
def _averaged(unet: Any, average: Any, parameters: list[Any]) -> Iterator[None]:
    """Puts the averaged weights into the UNet, in evaluation mode, for the length of the block."""
    mode = unet.training
    average.store(parameters)
    average.copy_to(parameters)
    unet.eval()
    try:
        yield
    finally:
        average.restore(parameters)
        unet.train(mode)


@contextmanager
def _kernels(settings: dict[str, Any], on_gpu: bool) -> Iterator[None]:
    """How torch computes during the block: in TF32 or not, and by deterministic kernels or the fastest."""
    deterministic = torch.are_deterministic_algorithms_enabled()
    if on_gpu:
        tf32 = settings["precision"] != "float32"
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
        torch.backends.cudnn.benchmark = not settings["deterministic"]
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # deterministic cuBLAS asks for it
    torch.use_deterministic_algorithms(settings["deterministic"])
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(deterministic)


@contextmanager
def _noted_signals(together: bool) -> Iterator[list[int]]:
    """The numbers of the `SIGNALS` that came during the block, which do not end the process.

    Once one came, later ones are ignored: the process is about to end. So are they once an error ends the block in one
    of several processes that train ``together``: their launcher sends SIGTERM to all when the first one has ended, and
    the one that lives has still to tell why.
    """
    noted: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield noted  # Python sets handlers in the main thread alone
        return
    before = {number: signal.signal(number, lambda number, frame: noted.append(number)) for number in SIGNALS}
    about_to_end = False
    try:
        yield noted
    except Exception:
        about_to_end = together
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if noted or about_to_end else handler)


def _diverged(title: str, bad_step: int, bad_loss: float, step: int, last_saved: int, in_bf16: bool) -> str:
    """What is said where the first bad step and its loss, or weights that are not finite, were found at ``step``."""
    what = f"the weights are no longer finite after step {step}"
    if bad_step < NEVER:
        what = "gradient is not finite" if math.isfinite(bad_loss) else f"loss is {bad_loss}"
        what = f"the {what} at step {bad_step}"
    kept = f"the checkpoint of step {last_saved} is kept" if last_saved else "no checkpoint was saved before"
    precision = ", or set train.precision to float32" if in_bf16 else ""
    return f"{title}: {what}; {kept}: lower train.learning_rate or lengthen train.warmup_steps{precision}"


def _memory_mb(device: torch.device) -> float:
    """The largest memory so far: what this process took of its GPU, or of the machine where it computes there."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device) / MB
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MB
    # not that of getrusage, which counts what the parent had before this program began
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / MB for line in lines if line.startswith("VmHWM"))
