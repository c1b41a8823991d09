"""What is seen of a run while it goes on: the files, also after a kill, and that watching changes nothing learned."""

import dataclasses
import io
import math
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from biomedjourney import config, examples, progress, sampling, tables
from biomedjourney.errors import UserError
from biomedjourney.examples import Conditions, Inputs, Targets
from biomedjourney.pretrain import load_first_stage
from biomedjourney.train import batches, loop, model, validation, watch
from biomedjourney.train.command import command
from biomedjourney.train.validation import PANEL, Validation
from tests.helpers import tiny, training_jobs
from tests.helpers.fabricated import config_text
from tests.helpers.fabricated import settings as default
from tests.helpers.full_disk import largest_file

TRIPLES = ("triples", "prior_latents", "latents", "texts", "first_stage")
WATCHED = {
    "train": {
        **{"log_every": 1, "validate_every": 3, "validation": {"examples": 3, "pictures": 2}, "tensorboard": True},
        "runs": {"alone": {"steps": 8}},
    }
}


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return tiny.write(tmp_path_factory.mktemp("tables"))


def arguments(folder: Path, paths: dict[str, Path], overlay: dict[str, Any], run: str = "alone") -> list[str]:
    wanted = TRIPLES if run != "stage1" else ("singles", "latents", "texts", "first_stage")
    names = [name for name in wanted if name in paths]
    settings = config_text(**config.merge(tiny.OVERLAY, overlay))
    outputs = ["--out", str(folder / run), "--training", str(folder / f"{run}.parquet")]
    inputs = tiny.flags(
        {name: path for name, path in paths.items() if name in names}, *(n for n in names if n in paths)
    )
    return ["--config", settings, "--run", run, *inputs, "--checkpoints", str(folder / "checkpoints"), *outputs]


def train(folder: Path, paths: dict[str, Path], overlay: dict[str, Any], run: str = "alone") -> tuple[Path, str]:
    """Runs the command in this process: where its checkpoints lie, and what it said."""
    result = CliRunner().invoke(command, arguments(folder, paths, overlay, run), catch_exceptions=False)
    [checkpoints] = (folder / "checkpoints").glob(f"{run}-*")
    return checkpoints, result.stderr


def weights(folder: Path) -> bytes:
    return (folder / "alone" / "unet" / "diffusion_pytorch_model.safetensors").read_bytes()


def parts(checkpoints: Path) -> pd.DataFrame:
    """All rows of the closed parts, as DuckDB and pandas read them."""
    pattern = f"{checkpoints}/training/*.parquet"
    by_duckdb = duckdb.sql(f"select step, loss, validation_loss from '{pattern}' order by step").df()
    rows = pd.read_parquet(checkpoints / "training").sort_values("step", ignore_index=True)
    pd.testing.assert_frame_equal(by_duckdb, rows[list(by_duckdb)], check_exact=True)
    return rows


def events(checkpoints: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(checkpoints / "tensorboard"), size_guidance={"scalars": 0, "images": 0})
    accumulator.Reload()
    return accumulator


def drawn(checkpoints: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(checkpoints.glob("pictures/*"))}


@pytest.fixture(scope="module")
def whole(paths: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was watched from its beginning to its end."""
    folder = tmp_path_factory.mktemp("whole")
    train(folder, paths, WATCHED)
    return folder


def checkpoints_of(folder: Path) -> Path:
    [checkpoints] = (folder / "checkpoints").iterdir()
    return checkpoints


def test_the_course_lies_in_closed_parts_and_in_the_table(whole: Path) -> None:
    table, checkpoints = tables.read(whole / "alone.parquet", "training"), checkpoints_of(whole)
    assert table["step"].tolist() == list(range(9))
    pd.testing.assert_frame_equal(parts(checkpoints), table, check_exact=True)
    for path in checkpoints.glob("training/*.parquet"):
        tables.read(path, "training")
    assert table.index[table["validation_loss"].notna()].tolist() == [3, 6, 8]
    assert list(drawn(checkpoints)) == ["00000003.png", "00000006.png", "00000008.png"]


def test_tensorboard_reads_the_same_figures_and_pictures(whole: Path) -> None:
    table, read = tables.read(whole / "alone.parquet", "training"), events(checkpoints_of(whole))
    for column in ("loss", "learning_rate", "validation_loss"):
        known = table.dropna(subset=[column])
        scalars = read.Scalars(column)
        assert [event.step for event in scalars] == known["step"].tolist()
        assert [event.value for event in scalars] == pytest.approx(known[column].tolist(), rel=1e-6)
    images = read.Images("validation")
    assert [image.step for image in images] == [3, 6, 8]
    with Image.open(io.BytesIO(images[-1].encoded_image_string)) as shown:
        stored = Image.open(io.BytesIO(drawn(checkpoints_of(whole))["00000008.png"]))
        assert np.array_equal(np.asarray(shown.convert("L")), np.asarray(stored))


def test_a_killed_run_can_be_read_and_goes_on_with_the_same_curves(
    whole: Path, paths: dict[str, Path], tmp_path: Path
) -> None:
    """It is killed at step 4 and goes on from step 2: what it had shown of steps 3 and 4 is shown once in the end."""
    program = [sys.executable, "-c", training_jobs.WAITS_AT_STEP_4, "train", *arguments(tmp_path, paths, WATCHED)]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "step 4\n"
        seen = parts(checkpoints_of(tmp_path))
        assert seen["step"].tolist() == [0, 1, 2, 3, 4]
        assert list(drawn(checkpoints_of(tmp_path))) == ["00000003.png"]
        assert [event.step for event in events(checkpoints_of(tmp_path)).Scalars("loss")] == [1, 2, 3, 4]
        process.kill()
    assert process.returncode == -signal.SIGKILL

    checkpoints, said = train(tmp_path, paths, WATCHED)
    assert "from step 2" in said
    assert weights(tmp_path) == weights(whole)
    unhurt = tables.read(whole / "alone.parquet", "training")
    timed = ["seconds", "images_per_second", "memory_mb"]
    for rows in (parts(checkpoints), tables.read(tmp_path / "alone.parquet", "training")):
        pd.testing.assert_frame_equal(rows.drop(columns=timed), unhurt.drop(columns=timed), check_exact=True)
    assert drawn(checkpoints) == drawn(checkpoints_of(whole))
    for tag in ("loss", "learning_rate", "validation_loss"):
        before, after = (events(folder).Scalars(tag) for folder in (checkpoints_of(whole), checkpoints))
        assert [(event.step, event.value) for event in after] == [(event.step, event.value) for event in before]
    assert [image.step for image in events(checkpoints).Images("validation")] == [3, 6, 8]


def test_a_run_that_is_not_watched_learns_the_same_and_has_the_same_checkpoint(
    whole: Path, paths: dict[str, Path], tmp_path: Path
) -> None:
    unwatched = {"train": {"validate_every": None, "tensorboard": False, "runs": {"alone": {"steps": 8}}}}
    checkpoints, said = train(tmp_path, paths, unwatched)
    assert weights(tmp_path) == weights(whole)
    assert checkpoints.name == checkpoints_of(whole).name
    assert {path.name for path in checkpoints.iterdir()} == {"training", "state-8.pt"}
    assert tables.read(tmp_path / "alone.parquet", "training")["validation_loss"].isna().all()
    assert f"seen while it runs: {checkpoints}/training/*.parquet; no validation: train.validate_every is null" in said
    assert "tensorboard" not in said


@pytest.mark.parametrize(
    ("overlay", "without", "reason"),
    [
        ({"report": {"show_patients": False}}, (), "report.show_patients is false"),
        ({"train": {"validation": {"pictures": 0}}}, (), "train.validation.pictures is 0"),
        ({}, ("first_stage",), "--first-stage is not given"),
    ],
)
def test_no_picture_is_drawn_where_none_may_be_seen(
    overlay: dict[str, Any], without: tuple[str, ...], reason: str, paths: dict[str, Path], tmp_path: Path
) -> None:
    two_steps = config.merge(WATCHED, {"train": {"runs": {"alone": {"steps": 2}}}})
    given = {name: path for name, path in paths.items() if name not in without}
    checkpoints, said = train(tmp_path, given, config.merge(two_steps, overlay))
    assert f"validation: the loss of 3 examples, none drawn ({reason})" in said
    assert f"tensorboard --logdir {tmp_path / 'checkpoints'}\n" in said
    assert not [path for path in checkpoints.rglob("*") if path.suffix == ".png"]
    assert events(checkpoints).Tags()["images"] == []
    assert tables.read(tmp_path / "alone.parquet", "training")["validation_loss"].notna().tolist() == [
        False,
        False,
        True,
    ]


def test_a_run_on_singles_is_watched_on_validation_singles(paths: dict[str, Path], tmp_path: Path) -> None:
    singles = tables.read(paths["singles"], "singles")
    count = int((singles["split"] == "validation").sum())
    overlay = {"train": {"validation": {"examples": 99, "pictures": 1}, "runs": {"stage1": {"steps": 1}}}}
    checkpoints, said = train(tmp_path, paths, overlay, "stage1")
    assert f"the loss of {count} examples, 1 drawn in pictures/" in said
    [png] = drawn(checkpoints).values()
    assert Image.open(io.BytesIO(png)).width == 2 * (PANEL + 4) + 2 * PANEL, "drawn, true and text: there is no prior"


def test_without_validation_patients_a_run_learns_all_the_same(paths: dict[str, Path], tmp_path: Path) -> None:
    triples = tables.read(paths["triples"], "triples")
    tables.write(tmp_path / "triples.parquet", "triples", triples[triples["split"] != "validation"])
    overlay = config.merge(WATCHED, {"train": {"runs": {"alone": {"steps": 1}}}})
    _, said = train(tmp_path, paths | {"triples": tmp_path / "triples.parquet"}, overlay)
    assert "or there are no validation examples" in said
    assert tables.read(tmp_path / "alone.parquet", "training")["validation_loss"].isna().all()


def test_another_first_stage_than_that_of_the_latents_is_named(paths: dict[str, Path], tmp_path: Path) -> None:
    stage = load_first_stage(paths["first_stage"])
    stage.register_to_config(scaling_factor=0.7)
    stage.save_pretrained(tmp_path / "other")
    with pytest.raises(UserError, match=rf"^{tmp_path}/other: .* 4 channels, scaled by 0.7, but .* by 0.5: give"):
        train(tmp_path, paths | {"first_stage": tmp_path / "other"}, WATCHED)


# The parts, without the command


def problem(ids: list[str], seed: int = 0, **how: Any) -> Validation:
    """Validation examples whose latents and text follow from their id; pictures need a first stage."""
    numbers = [int(name) for name in ids]
    prior, current, told = tiny.toy(10)
    places = np.arange(len(ids))
    settings = default("train", seed=seed)
    return Validation(
        ids,
        [f"text {name}" for name in ids],
        Targets(current[numbers], np.full_like(current[numbers], 0.05), places, tiny.SCALING_FACTOR),
        Conditions(prior[numbers], places, [tiny.states(text) for text in tiny.TEXTS], told[numbers], tiny.TOKENS),
        settings,
        **({"batch_size": 4, "loss_count": len(ids), "picture_count": 0, "first_stage": None, "no_pictures": ""} | how),
    )


def test_noise_and_timestep_belong_to_the_seed_and_the_example() -> None:
    """Whatever the run, the other examples, their order and the size of a batch."""
    first = problem(["1", "2", "3"])._batch([0, 1, 2])
    second = problem(["7", "3", "1"])._batch([2, 1])
    for field in dataclasses.fields(batches.Batch):
        one, other = getattr(first, field.name), getattr(second, field.name)
        assert torch.equal(one[[0, 2]], other), field.name
    assert not torch.equal(first.noise[0], first.noise[1])
    assert len(set(first.timesteps.tolist())) == 3
    another_seed = problem(["1", "2", "3"], seed=1)._batch([0, 1, 2])
    assert not torch.equal(first.noise, another_seed.noise)
    assert not torch.equal(first.timesteps, another_seed.timesteps)
    assert not torch.equal(first.noise, torch.zeros_like(first.noise))
    for part in (first.prior, first.states):
        assert (part.flatten(1).abs().sum(dim=1) > 0).all(), "nothing is dropped"


def test_timesteps_are_drawn_as_in_training() -> None:
    many = Validation(**{**vars(problem(["0"] * 2000)), "ids": [str(i) for i in range(2000)]})
    times = many._batch(list(range(2000))).timesteps.numpy()
    assert many.settings["train"]["timestep_power"] == 0.5
    assert float(np.mean(times < 500)) == pytest.approx(0.25, abs=0.03), "u ** 0.5 is below 1/2 where u is below 1/4"


def test_the_loss_is_the_mean_over_examples_of_the_training_loss() -> None:
    watched = problem([str(i) for i in range(7)])
    schedule = sampling.scheduler(watched.settings["diffusion"]["schedule"])
    seen: list[int] = []

    class Answer:
        """Off by 0 for the first four examples, by 1 for the three of the second batch."""

        device = torch.device("cpu")

        def __call__(self, inputs: torch.Tensor, timesteps: torch.Tensor, encoder_hidden_states: torch.Tensor) -> Any:
            places = list(range(len(seen), len(seen) + len(inputs)))
            batch, off = watched._batch(places), float(len(seen) > 0)
            seen.extend(places)
            right = schedule.get_velocity(batch.target, batch.noise, timesteps)
            return type("Output", (), {"sample": right + off})

    assert watched.loss(Answer()) == pytest.approx(3 / 7, abs=1e-5)
    assert seen == list(range(7))
    few = dataclasses.replace(watched, loss_count=4)
    seen.clear()
    assert few.loss(Answer()) == pytest.approx(0.0, abs=1e-9)


def test_more_examples_keep_the_first_ones_and_runs_share_them() -> None:
    ids = [f"{i}-{i + 1}" for i in range(50)]
    few, more = (validation.chosen(ids, count, 3) for count in (5, 20))
    assert more[:5] == few
    assert len(set(more)) == 20
    turned = [ids[::-1][place] for place in validation.chosen(ids[::-1], 5, 3)]
    assert turned == [ids[place] for place in few]
    assert validation.chosen(ids, 5, 4) != few
    assert sorted(validation.chosen(ids, 99, 3)) == list(range(50))


def test_only_validation_patients_are_watched_and_every_writer_has_the_same_pairs(paths: dict[str, Path]) -> None:
    triples = tables.read(paths["triples"], "triples")
    inputs = Inputs(singles=[paths["singles"]], triples=[paths["triples"], paths["backward_triples"]])
    expected = sorted(triples.loc[triples["compared"] & (triples["split"] == "validation"), "pair_id"])
    assert len(expected) > 1
    rows = examples.validation_examples(tiny.TRIPLES, inputs)
    assert rows["id"].tolist() == expected
    assert rows["prior"].tolist() == expected
    unregistered = examples.validation_examples(tiny.TRIPLES | {"prior": "unregistered"}, inputs)
    assert unregistered["id"].tolist() == expected
    singles = tables.read(paths["singles"], "singles")
    alone = examples.validation_examples(tiny.SINGLES, inputs)
    assert set(alone["id"]) == set(singles.loc[singles["split"] == "validation", "dicom_id"])
    assert alone["prior"].isna().all()


def test_the_model_that_is_validated_has_the_averaged_weights_and_gets_its_own_back() -> None:
    schedule = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "steps": 1000}
    scheduler = sampling.scheduler(schedule | {"zero_terminal_snr": False, "prediction_type": "epsilon"})

    class Slope(torch.nn.Module):
        device = torch.device("cpu")

        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(()))
            self.course: list[tuple[float, bool]] = []

        def forward(self, inputs: torch.Tensor, timesteps: torch.Tensor, encoder_hidden_states: torch.Tensor) -> Any:
            self.course.append((self.weight.item(), self.training))
            return type("Output", (), {"sample": inputs[:, :4] * 0 + self.weight})

    class Seen:
        def __init__(self) -> None:
            self.weights: list[tuple[float, bool]] = []
            self.rows: list[dict[str, Any]] = []

        def logged(self, row: dict[str, Any]) -> None:
            self.rows.append(row)

        def validate(self, step: int, unet: Any) -> dict[str, Any]:
            self.weights.append((unet.weight.item(), unet.training))
            return {"validation_loss": float(step)}

    settings = {"learning_rate": 0.1, "warmup_steps": 0, "decay": 0.0, "weight_decay": 0.0, "ema_decay": 0.3}
    settings |= {"min_snr_gamma": None, "gradient_norm": 1.0, "log_every": 2, "checkpoint_every": 10}
    batch = problem(["1", "2"])._batch([0, 1])
    batch = dataclasses.replace(batch, noise=torch.full_like(batch.noise, 100.0))
    alone, watched, seen = Slope(), Slope(), Seen()
    for unet, watcher in ((alone, None), (watched, seen)):
        loop.train(unet, scheduler, lambda step: batch, 5, settings | {"validate_every": 3}, watch=watcher)
    assert watched.course == alone.course, "also in training mode again"
    assert watched.weight.item() == alone.weight.item()
    raw = [weight for weight, _ in watched.course[1:]]
    average = 0.0
    for i, weight in enumerate(raw[:3]):
        decay = min(0.3, (1 + i) / (10 + i)) if i else 0.0
        average = decay * average + (1 - decay) * weight
    (at_step_3, training), (at_the_end, _) = seen.weights
    assert at_step_3 == pytest.approx(average, abs=1e-5)
    assert abs(at_step_3 - raw[2]) > 0.005
    assert not training
    assert at_the_end == watched.weight.item()
    assert [row["step"] for row in seen.rows] == [0, 2, 3, 4, 5]
    assert [row.get("validation_loss") for row in seen.rows] == [None, None, 3.0, None, 5.0]


def test_the_grid_shows_prior_drawn_and_true_picture_and_the_text(tmp_path: Path) -> None:
    stage = load_first_stage(tiny.first_stage(tmp_path))
    watched = problem(["4", "2"], picture_count=2, first_stage=stage)
    watched.settings["generate"] |= {"steps": 3, "guidance": {"text_scale": 2.0, "image_scale": 1.5}}
    unet = model.build(tiny.UNET, tiny.SHAPE, tiny.WIDTH, 0).eval()
    state, generator = torch.get_rng_state(), np.random.get_state()[1].copy()
    shown = watched.pictures(unet)
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(np.random.get_state()[1], generator)

    schedule = sampling.scheduler(watched.settings["diffusion"]["schedule"])
    priors, states = (torch.from_numpy(part([0, 1])) for part in (watched.conditions.priors, watched.conditions.states))
    noise = sampling.noise(0, ["4", "2"], tiny.SHAPE)
    latents = sampling.sample(unet, schedule, 3, noise, priors, states, 2.0, 1.5)
    true = torch.from_numpy(watched.targets.posterior([0, 1])[0])
    scaled = (priors * tiny.SCALING_FACTOR, latents, true * tiny.SCALING_FACTOR)
    decoded = [sampling.decode(stage, part).numpy() for part in scaled]
    enlarged = PANEL // 16
    for column, pictures in enumerate(decoded):
        for row, picture in enumerate(pictures):
            top, left = 18 + row * (PANEL + 4), column * (PANEL + 4)
            panel = shown[top : top + PANEL, left : left + PANEL]
            small = panel[::enlarged, ::enlarged]
            assert np.array_equal(panel, small.repeat(enlarged, 0).repeat(enlarged, 1))
            assert np.abs(small / 255 - picture).max() < 0.01, (row, column)
    for row in range(2):
        top = 18 + row * (PANEL + 4)
        assert (shown[top : top + PANEL, 3 * (PANEL + 4) :] < 128).sum() > 20, "the text"
    assert (shown[:18] < 128).any(), "the titles"


@pytest.mark.parametrize(("side", "expected"), [(16, 128), (64, 128), (100, 200), (128, 128), (256, 256)])
def test_small_pictures_are_enlarged_by_a_whole_factor_and_long_texts_stay_inside(side: int, expected: int) -> None:
    rows = [[np.full((side, side), value, np.float32) for value in (0.2, 0.6)] for _ in range(2)]
    shown = validation.grid(rows, ["word " * 400, ""], ("drawn", "true"))
    assert shown.dtype == np.uint8
    assert shown.shape == (18 + 2 * (expected + 4), 2 * (expected + 4) + 2 * expected)
    assert set(np.unique(shown[18 : 18 + expected, :expected])) == {51}
    assert set(np.unique(shown[18 + expected + 4 :, expected + 4 : 2 * expected + 4][:expected])) == {153}
    assert set(np.unique(shown[18 + expected + 4 :, 2 * (expected + 4) :])) == {255}, "the second text is empty"


def test_a_row_of_an_earlier_version_is_shown_without_what_it_lacks(tmp_path: Path) -> None:
    old = {"step": 5, "images_seen": 20, "loss": 0.5, "learning_rate": 0.1, "seconds": 1.0}
    (tmp_path / "training").mkdir()
    (tmp_path / "pictures").mkdir()
    (tmp_path / "training" / "00000007.parquet").write_bytes(b"of a part that is taken back")
    for name in ("00000005.png", "00000006.png"):
        (tmp_path / "pictures" / name).write_bytes(b"a picture")
    watcher = watch.Watch(tmp_path, "run", 2, [old | {"step": 0, "loss": None}, old], None, tensorboard=False)
    watcher.logged(old | {"step": 6, "images_per_second": 12.5, "memory_mb": 900.0})
    rows = parts(tmp_path)
    assert rows["step"].tolist() == [0, 5, 6]
    assert rows["images_per_second"].isna().tolist() == [True, True, False]
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == ["00000005.png"]
    assert watcher.validate(6, None) == {}


def test_the_progress_line_says_what_is_known() -> None:
    rows = [{"step": 0, "loss": None}, {"step": 1, "loss": 0.25, "validation_loss": 0.5}]
    assert loop.in_words(rows) == "loss 0.2500, validation 0.5000"
    rows.append({"step": 2, "loss": 0.125, "images_per_second": 83.21, "memory_mb": 3071.6})
    assert loop.in_words(rows) == "loss 0.1250, validation 0.5000, 83.2 images/s, 3,072 MB"
    assert loop.in_words([{"step": 1, "loss": math.pi}]) == "loss 3.1416"


def test_a_full_disk_is_one_line_also_where_tensorboard_meets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda args: None)  # its writer is a thread, which fails first
    watcher = watch.Watch(tmp_path, "run", 2, [], None, tensorboard=True)

    def log() -> None:
        for step in range(200):
            watcher.logged({"step": step, "images_seen": 1, "loss": 0.5, "learning_rate": 0.1, "seconds": 1.0})

    with largest_file(8_000), pytest.raises(UserError, match=r"/tensorboard: cannot be written \(.*space left") as e:
        log()
    assert "\n" not in str(e.value)


def test_time_left_is_reckoned_from_what_was_done_since_the_start() -> None:
    with progress.bar(100, "run", done=90) as bar:
        bar.update(1)
        said = bar.format_meter(
            **bar.format_dict | {"elapsed": 10.0, "rate": None, "bar_format": "{n_fmt} {remaining}"}
        )
    assert said == "91 01:30", "one in ten seconds; nine are left"


def test_a_compiled_model_is_not_compiled_again_for_validation(tmp_path: Path) -> None:
    def refuses(*arguments: Any) -> Any:
        raise AssertionError("compiled")

    unet = model.build(tiny.UNET, tiny.SHAPE, tiny.WIDTH, 0).eval()
    unet.compile(backend=refuses)
    watched = problem(["1", "2"])
    figures = watch.Watch(tmp_path, "run", 2, [], watched, tensorboard=False).validate(1, unet)
    assert figures == {
        "validation_loss": pytest.approx(watched.loss(model.build(tiny.UNET, tiny.SHAPE, tiny.WIDTH, 0)))
    }
