"""The loop: what changes its speed and not what it learns, what it refuses to save, whom it tells of its course."""

import functools
import os
import signal
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from biomedjourney import config, sampling
from biomedjourney.errors import UserError
from biomedjourney.examples import Conditions, Targets
from biomedjourney.train import batches, loop, model
from biomedjourney.train.ranks import Ranks
from tests.helpers import tiny
from tests.helpers.fabricated import settings as default

BATCH = 5
SETTINGS = default("train", train={"warmup_steps": 2, "log_every": 2, "checkpoint_every": 2})
SCHEDULE = SETTINGS["diffusion"]["schedule"]


def next_batch(step: int, **changed: Any) -> batches.Batch:
    prior, current, told = tiny.toy(12)
    states = [tiny.states(text) for text in tiny.TEXTS]
    own = np.arange(12)
    problem = Targets(current, np.full_like(current, 0.05), own, 0.5), Conditions(prior, own, states, told, tiny.TOKENS)
    given = {"settings": SETTINGS, "run": "run", "batch_size": BATCH, "timesteps": SCHEDULE["steps"]}
    return batches.batch(*problem, step, **given | changed)


def train(steps: int = 4, unet: Any = None, batch: Callable[[int], batches.Batch] = next_batch, **changed: Any) -> Any:
    """Trains the tiny model; it, the rows and the saved states (of which each keeps its own tensors)."""
    unet = model.build(tiny.UNET, tiny.SHAPE, tiny.WIDTH, 0) if unet is None else unet
    others = {name: changed.pop(name) for name in ("restored", "watch", "save") if name in changed}
    saved: list[dict[str, Any]] = []
    keep = others.pop("save", lambda state: saved.append(copied(state)))
    settings = SETTINGS["train"] | changed
    rows = loop.train(unet, sampling.scheduler(SCHEDULE), batch, steps, settings, save=keep, title="tiny", **others)
    return SimpleNamespace(unet=unet, rows=rows, saved=saved)


def copied(state: Any) -> Any:
    if isinstance(state, dict):
        return {key: copied(value) for key, value in state.items()}
    if isinstance(state, list):
        return [copied(value) for value in state]
    return state.clone() if isinstance(state, torch.Tensor) else state


class Watch:
    """One that does nothing."""

    def logged(self, row: dict[str, Any]) -> None:
        pass

    def validate(self, step: int, unet: Any) -> dict[str, Any]:
        return {}


def losses(trained: Any) -> list[float]:
    return [row["loss"] for row in trained.rows[1:]]


def same_weights(first: Any, second: Any) -> bool:
    pairs = zip(first.unet.state_dict().items(), second.unet.state_dict().items(), strict=True)
    return all(name == other_name and torch.equal(a, b) for (name, a), (other_name, b) in pairs)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def plain() -> Any:
    return train()


@pytest.mark.parametrize("size", [1, 2, 5, 7])
def test_micro_batches_have_the_loss_and_the_gradients_of_the_whole_batch(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The micro-batches of 2 are of unequal size: 2, 2 and 1."""
    seen: list[torch.Tensor] = []
    most: list[int] = []
    clip, loss = torch.nn.utils.clip_grad_norm_, loop.loss

    def noted_clip(parameters: Any, length: float) -> torch.Tensor:
        seen.append(torch.cat([parameter.grad.flatten() for parameter in parameters]))
        return clip(parameters, length)

    def noted_loss(unet: Any, batch: batches.Batch, *others: Any) -> torch.Tensor:
        most.append(len(batch))
        return loss(unet, batch, *others)

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", noted_clip)
    whole = train(1)
    monkeypatch.setattr(loop, "loss", noted_loss)
    parts = train(1, micro_batch_size=size)
    assert sum(most) == BATCH
    assert max(most) == min(size, BATCH)
    assert losses(parts) == pytest.approx(losses(whole), rel=1e-5)
    torch.testing.assert_close(seen[1], seen[0], rtol=1e-3, atol=1e-6)


def test_checkpointing_deterministic_kernels_and_compiling_change_nothing_but_speed(plain: Any) -> None:
    class Seeing(Watch):
        deterministic = False

        def validate(self, step: int, unet: Any) -> dict[str, Any]:
            self.deterministic = torch.are_deterministic_algorithms_enabled()
            return {}

    unet, watch = model.build(tiny.UNET, tiny.SHAPE, tiny.WIDTH, 0), Seeing()
    compiled: list[str] = []

    def compile_eagerly() -> None:
        compiled.append("eager")
        torch.nn.Module.compile(unet, backend="eager")

    unet.compile = compile_eagerly
    fast = train(
        unet=unet, gradient_checkpointing=True, compile=True, deterministic=True, validate_every=4, watch=watch
    )
    assert compiled == ["eager"]
    assert unet.is_gradient_checkpointing
    assert watch.deterministic
    assert not torch.are_deterministic_algorithms_enabled()
    assert losses(fast) == losses(plain)
    assert same_weights(fast, plain)


def test_a_compiler_that_fails_is_one_line_that_says_what_to_set() -> None:
    unet = model.build(tiny.UNET, tiny.SHAPE, tiny.WIDTH, 0)

    def broken(graph: Any, inputs: Any) -> Any:
        raise RuntimeError("no C compiler\nin sight")

    unet.compile = functools.partial(torch.nn.Module.compile, unet, backend=broken)
    with pytest.raises(UserError, match=r"^tiny: torch.compile failed .*train.compile to false") as caught:
        train(unet=unet, compile=True)
    assert "\n" not in str(caught.value)


def test_bf16_computes_in_bfloat16_and_keeps_weights_average_and_state_in_float32(plain: Any) -> None:
    unet = model.build(tiny.UNET, tiny.SHAPE, tiny.WIDTH, 0)
    computed: set[torch.dtype] = set()
    unet.conv_in.register_forward_hook(lambda module, inputs, output: computed.add(output.dtype))
    trained = train(unet=unet, precision="bf16")
    assert computed == {torch.bfloat16}
    state = trained.saved[-1]
    kept = [*state["unet"].values(), *state["average"]["shadow_params"]]
    kept += [value for values in state["optimiser"]["state"].values() for value in values.values()]
    assert {tensor.dtype for tensor in kept} == {torch.float32}
    assert losses(trained) != losses(plain)
    assert losses(trained) == pytest.approx(losses(plain), rel=0.05)


def test_too_little_memory_says_what_to_set() -> None:
    unet = model.build(tiny.UNET, tiny.SHAPE, tiny.WIDTH, 0)

    def full(*given: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    unet.conv_in.register_forward_pre_hook(full)
    with pytest.raises(
        UserError, match=r"memory of cpu is too small for 3 examples at once: set train.micro_batch_size"
    ):
        train(unet=unet, micro_batch_size=3)


class Worse(torch.nn.Module):
    """A model of one weight that goes wrong at a step: by what is added to its answer, or in its gradient alone."""

    device = torch.device("cpu")

    def __init__(self, step: int, fault: str) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(0.5))
        self.left, self.fault = step, fault

    def forward(self, inputs: torch.Tensor, timesteps: torch.Tensor, encoder_hidden_states: torch.Tensor) -> Any:
        self.left -= 1
        answer = inputs[:, :4] * 0 + self.weight * 1.0
        if self.left == 0 and self.fault == "gradient":
            answer.register_hook(lambda gradient: gradient * torch.inf)
        elif self.left == 0:
            answer = answer + float(self.fault)
        return SimpleNamespace(sample=answer)


def test_a_state_is_saved_when_the_last_one_is_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step takes a minute here."""
    now = 0.0
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: now))

    def take_a_minute(*given: Any) -> None:
        nonlocal now
        now += 60

    unet = model.build(tiny.UNET, tiny.SHAPE, tiny.WIDTH, 0)
    unet.register_forward_pre_hook(take_a_minute)
    steps = [state["step"] for state in train(11, unet, checkpoint_every=8, checkpoint_minutes=2.5).saved]
    assert steps == [3, 6, 8, 11]


@pytest.mark.parametrize(("log_every", "checkpoint_every"), [(1, 1), (2, 5), (10, 2), (100, 100), (4, 1), (1, 4)])
@pytest.mark.parametrize("fault", ["nan", "inf", "1e20", "gradient"])
def test_what_is_not_finite_is_never_saved(fault: str, log_every: int, checkpoint_every: int) -> None:
    """The square of 1e20 is no longer finite, but its gradient is."""
    saved: list[int] = []

    def save(state: dict[str, Any]) -> None:
        saved.append(state["step"])
        assert all(tensor.isfinite().all() for tensor in (*state["unet"].values(), *state["average"]["shadow_params"]))

    what = {"gradient": "gradient is not finite", "1e20": "loss is inf"}.get(fault, f"loss is {fault}")
    with pytest.raises(UserError, match=rf"^tiny: the {what} at step 3; .*lower train.learning_rate") as caught:
        train(8, Worse(3, fault), save=save, log_every=log_every, checkpoint_every=checkpoint_every)
    assert all(step < 3 for step in saved)
    assert saved == [step for step in (1, 2) if step % checkpoint_every == 0]
    kept = f"checkpoint of step {saved[-1]} is kept" if saved else "no checkpoint was saved"
    assert kept in str(caught.value)


def test_weights_that_overflow_after_a_good_loss_are_not_saved() -> None:
    with pytest.raises(UserError, match="weights are no longer finite after step 1"):
        train(1, learning_rate=3e38, warmup_steps=0, decay=0.0, save=lambda state: pytest.fail("saved"))


def test_a_state_goes_on_bit_for_bit_and_gives_its_tensors_up(plain: Any) -> None:
    state = copied(plain.saved[0])
    assert state["step"] == 2
    tensors = {id(value): value for value in state["unet"].values()}
    continued = train(restored=state)
    assert same_weights(continued, plain)
    assert losses(continued) == losses(plain)
    assert not [name for name, value in state.items() if isinstance(value, torch.Tensor | dict)]
    assert all(
        torch.equal(value, plain.saved[0]["unet"][name])
        for name, value in zip(plain.saved[0]["unet"], tensors.values(), strict=True)
    ), "training wrote into the state that it was given"


def test_rows_tell_speed_without_saving_and_validation_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step takes 2 seconds, saving 100 and validation 50."""
    now = [0.0]

    class Slow(Worse):
        def forward(self, *given: Any, **named: Any) -> Any:
            now[0] += 2.0
            return super().forward(*given, **named)

    class Seeing(Watch):
        def validate(self, step: int, unet: Any) -> dict[str, Any]:
            now[0] += 50.0
            return {}

    def save(state: dict[str, Any]) -> None:
        now[0] += 100.0

    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: now[0]))
    trained = train(6, Slow(100, "nan"), save=save, watch=Seeing(), checkpoint_every=1, validate_every=3)
    assert [row["step"] for row in trained.rows] == [0, 2, 3, 4, 6]
    assert [row["images_per_second"] for row in trained.rows[1:]] == [BATCH / 2] * 4
    seconds = [0, 2 * 2 + 100, 3 * 2 + 2 * 100 + 50, 4 * 2 + 3 * 100 + 50, 6 * 2 + 5 * 100 + 2 * 50]
    assert [row["seconds"] for row in trained.rows] == seconds
    assert all(50 < row["memory_mb"] < 50_000 for row in trained.rows[1:])


def test_the_watch_sees_each_row_and_the_averaged_weights_and_changes_nothing(plain: Any) -> None:
    class Seeing(Watch):
        def __init__(self) -> None:
            self.rows: list[dict[str, Any]] = []
            self.seen: dict[int, dict[str, torch.Tensor]] = {}

        def logged(self, row: dict[str, Any]) -> None:
            self.rows.append(row)

        def validate(self, step: int, unet: Any) -> dict[str, Any]:
            assert not unet.training
            self.seen[step] = copied(unet.state_dict())
            return {"validation_loss": float(step)}

    watch = Seeing()
    trained = train(watch=watch, validate_every=3, checkpoint_every=1)
    assert watch.rows == trained.rows
    assert [row["step"] for row in trained.rows] == [0, 2, 3, 4], "one more row for a validation, and one at the end"
    assert [row.get("validation_loss") for row in trained.rows] == [None, None, 3.0, 4.0]
    of_3, of_4 = losses(trained)[1:]
    assert [losses(trained)[0], (of_3 + of_4) / 2] == pytest.approx(losses(plain), rel=1e-6)
    assert same_weights(trained, plain)
    assert trained.unet.training
    names = [name for name, _ in trained.unet.named_parameters()]
    for step, seen in watch.seen.items():
        state = trained.saved[step - 1]
        assert state["step"] == step
        averaged = dict(zip(names, state["average"]["shadow_params"], strict=True))
        assert all(torch.equal(seen[name], averaged[name]) for name in names)
        assert not all(torch.equal(seen[name], state["unet"][name]) for name in names)

    watch = Seeing()
    continued = train(watch=watch, restored=trained.saved[2], validate_every=3)
    assert watch.rows == continued.rows[3:], "rows before the kill are not new"


@pytest.fixture
def _signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in loop.SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_signals")
@pytest.mark.parametrize("number", loop.SIGNALS)
def test_a_signal_ends_the_run_after_its_step_with_a_state_that_goes_on(number: int, plain: Any) -> None:
    def signalled() -> Any:
        """The model, in whose third step the signal comes."""
        unet = model.build(tiny.UNET, tiny.SHAPE, tiny.WIDTH, 0)
        steps: list[None] = []
        unet.conv_in.register_forward_pre_hook(
            lambda *given: steps.append(None) or (os.kill(os.getpid(), number) if len(steps) == 3 else None)
        )
        return unet

    saved: list[dict[str, Any]] = []
    with pytest.raises(loop.Stopped) as stop:
        train(unet=signalled(), save=lambda state: saved.append(copied(state)))
    assert (stop.value.step, stop.value.signal) == (3, signal.Signals(number).name)
    assert [state["step"] for state in saved] == [2, 3]
    continued = train(restored=saved[-1])
    assert same_weights(continued, plain)
    assert losses(continued) == losses(plain)
    assert train(3, signalled()).rows[-1]["step"] == 3, "a run that is at its end ends well"


def test_batches_come_in_order_and_wait_ahead() -> None:
    asked: list[int] = []

    def ask(step: int) -> batches.Batch:
        asked.append(step)
        return next_batch(step)

    prepared = batches.ahead(ask, range(3, 20), torch.device("cpu"))
    step, batch = next(prepared)
    assert step == 3
    for name in batch.__dataclass_fields__:
        assert torch.equal(getattr(batch, name), getattr(next_batch(3), name).to(getattr(batch, name).dtype))
    assert batch.states.dtype == torch.float32
    limit = time.monotonic() + 60
    while len(asked) < batches.AHEAD and time.monotonic() < limit:
        time.sleep(0.01)
    assert sorted(asked) == list(range(3, 3 + batches.AHEAD))
    assert [step for step, _ in prepared] == list(range(4, 20))
    assert sorted(asked) == list(range(3, 20))

    prepared = batches.ahead(ask, range(1000), torch.device("cpu"))
    next(prepared)
    prepared.close()
    assert len(asked) < 17 + 2 * batches.AHEAD


def test_a_batch_that_cannot_be_made_ends_the_run_with_its_error() -> None:
    def torn(step: int) -> batches.Batch:
        if step == 2:
            raise UserError("latents.parquet: the disk is gone")
        return next_batch(step)

    with pytest.raises(UserError, match=r"^latents.parquet: the disk is gone"):
        train(batch=torn)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_the_shares_of_all_processes_are_the_whole_batch(count: int) -> None:
    whole = next_batch(7)
    shares = [next_batch(7, places=Ranks(index, count).share(BATCH)) for index in range(count)]
    assert min(map(len, shares)) >= BATCH // count
    for name in whole.__dataclass_fields__:
        assert torch.equal(torch.cat([getattr(share, name) for share in shares]), getattr(whole, name))


def test_a_batch_too_small_for_the_processes_is_refused() -> None:
    with pytest.raises(UserError, match="batch_size: 5 examples per step cannot be shared by 6 processes"):
        Ranks(2, 6).share(5)


def test_noise_is_drawn_for_each_sample_and_not_twice() -> None:
    settings = config.merge(SETTINGS, {"train": {"dropout": {"text": 0.0, "image": 0.0, "both": 0.0}}})
    drawn = next_batch(0, settings=settings)
    rows = batches.order(settings["seed"], "run", 12, 0, BATCH)
    _, current, _ = tiny.toy(12)
    of_target = (drawn.target / 0.5 - torch.from_numpy(current[rows].astype(np.float32))) / 0.05
    for noise in (drawn.noise, of_target):
        assert torch.corrcoef(noise.flatten(1)).sub(torch.eye(BATCH)).abs().max() < 0.3
    assert torch.corrcoef(torch.stack([drawn.noise.flatten(), of_target.flatten()]))[0, 1].abs() < 0.1
