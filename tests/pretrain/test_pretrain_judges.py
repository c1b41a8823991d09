from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from biomedjourney.errors import UserError
from biomedjourney.pretrain import judges, load_judges
from biomedjourney.pretrain.targets import binary_labels
from biomedjourney.tables import RACES
from tests.helpers import REPOSITORY, exported
from tests.helpers.published import AGE, PATHOLOGY, RACE, torchxrayvision

SETTINGS: dict[str, Any] = {"steps": 3, "batch_size": 4, "learning_rate": 1e-3}
LABELS = ["pneumothorax", "edema", "cardiomegaly"]


def pictures(count: int, side: int = 32) -> np.ndarray:
    return np.random.default_rng(0).random((count, side, side), dtype=np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    exported.judges(tmp_path, LABELS)
    return tmp_path


def test_labels_and_outputs_keep_their_order(tmp_path: Path) -> None:
    models = exported.judges(tmp_path, LABELS)
    loaded, samples = load_judges(tmp_path), pictures(5)
    x = torch.from_numpy(samples * 2048 - 1024)[:, None]
    with torch.no_grad():
        raw = {kind: judges.logits(model, x).numpy() for kind, model in models.items()}
    assert loaded.labels == tuple(LABELS)
    np.testing.assert_allclose(loaded.pathology(samples), 1 / (1 + np.exp(-raw["pathology"])), atol=1e-5)
    powers = np.exp(raw["race"])
    np.testing.assert_allclose(loaded.race(samples), powers / powers.sum(axis=1, keepdims=True), atol=1e-5)
    np.testing.assert_allclose(loaded.age(samples), 60 + 20 * raw["age"][:, 0], atol=1e-3)


def test_pictures_of_another_size_are_resized(folder: Path) -> None:
    large = torch.from_numpy(pictures(3, side=64))
    small = torch.nn.functional.interpolate(large[:, None], (32, 32), mode="bilinear", antialias=True)[:, 0]
    loaded = load_judges(folder)
    for judge in (loaded.pathology, loaded.race, loaded.age):
        np.testing.assert_allclose(judge(large.numpy()), judge(small.numpy()), rtol=1e-4)


def test_a_missing_or_damaged_judge_is_named(folder: Path) -> None:
    (folder / "race" / "weights.pt").write_bytes(b"half")
    with pytest.raises(UserError, match=r"race.weights.pt: the weights cannot be read"):
        load_judges(folder)
    (folder / "race" / "judge.json").unlink()
    with pytest.raises(UserError, match="no judge of race"):
        load_judges(folder)


def test_an_unknown_label_gives_no_gradient_and_does_not_weigh() -> None:
    output = torch.tensor([[0.3, -1.0], [2.0, 0.5]], requires_grad=True)
    target = torch.tensor([[1.0, float("nan")], [float("nan"), 0.0]])
    loss = judges.pathology_loss(output, target)
    loss.backward()
    assert output.grad is not None
    assert torch.equal(output.grad != 0, ~torch.isnan(target))
    assert loss.item() == pytest.approx((np.log1p(np.exp(-0.3)) + np.log1p(np.exp(0.5))) / 2, rel=1e-5)
    nothing = judges.pathology_loss(output, torch.full((2, 2), float("nan")))
    assert nothing.item() == 0


def test_augmentation_never_mirrors_and_stays_in_range() -> None:
    x = torch.zeros(200, 1, 64, 64)
    x[:, :, 8:30, 8:24] = 1.0  # upper left
    x[:, :, 40:50, 40:50] = 0.6  # lower right
    generator = torch.Generator().manual_seed(0)
    moved = judges.recoloured(judges.moved(x, generator), generator)
    assert moved.shape == x.shape
    assert 0 <= moved.min() <= moved.max() <= 1
    quarters = torch.stack([moved[:, 0, a : a + 32, b : b + 32].mean(dim=(1, 2)) for a in (0, 32) for b in (0, 32)], 1)
    assert (quarters.argmax(dim=1) == 0).all()
    assert (quarters[:, 3] > quarters[:, 1]).all()
    assert (quarters[:, 3] > quarters[:, 2]).all()
    assert (moved[0] - moved[1]).abs().max() > 0.1


@pytest.mark.parametrize(
    ("kind", "targets"),
    [
        ("pathology", np.array([[1, 0, np.nan]] * 4 + [[0, np.nan, 1]] * 4)),
        ("race", np.arange(8) % 3),
        ("age", np.linspace(-1, 1, 8)),
    ],
)
def test_training_repeats_itself(kind: str, targets: np.ndarray) -> None:
    samples = np.rint(pictures(8) * 255).astype(np.uint8)
    one, two = (judges.train(kind, samples, targets, SETTINGS, 0) for _ in range(2))
    other = judges.train(kind, samples, targets, SETTINGS, 1)
    assert torch.equal(one.classifier.weight, two.classifier.weight)
    assert not torch.equal(one.classifier.weight, other.classifier.weight)
    assert all(torch.isfinite(parameter).all() for parameter in one.parameters())
    assert not one.training


@pytest.mark.parametrize("kind", ["pathology", "race", "age"])
def test_how_bright_the_left_half_is_can_be_learned(kind: str) -> None:
    rng = np.random.default_rng(0)
    level = rng.integers(0, 3 if kind == "race" else 2, 64)
    targets = {"pathology": level[:, None].astype(float), "race": level, "age": 2.0 * level - 1.0}[kind]
    samples = rng.integers(0, 60, (64, 32, 32))
    samples[:, :, :16] += 80 * level[:, None, None]
    model = judges.train(kind, samples.astype(np.uint8), targets, SETTINGS | {"steps": 25, "batch_size": 16}, 0)
    x = torch.from_numpy(samples).float()[:, None] / 255 * 2048 - 1024
    with torch.no_grad():
        output = judges.logits(model, x).numpy()
    if kind == "race":
        assert (output.argmax(axis=1) == level).mean() > 0.8
    else:
        assert output[level == 1, 0].mean() > output[level == 0, 0].mean() + 0.5


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return torchxrayvision(tmp_path_factory.mktemp("published"))


def test_published_weights_are_copied_and_load(
    published: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torchxrayvision as xrv

    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(xrv.utils, "download", lambda *_: pytest.fail("a download was tried"))
    judges.copy_published({kind: str(path) for kind, path in published.items()}, tmp_path / "judges")
    loaded = load_judges(tmp_path / "judges")
    assert not (tmp_path / "home").exists()
    assert loaded.labels[:4] == ("atelectasis", "consolidation", "pneumothorax", "edema")
    assert "pleural_effusion" in loaded.labels
    assert "" not in loaded.labels
    samples = pictures(2, side=64)
    probabilities = loaded.pathology(samples)
    assert probabilities.shape == (2, len(loaded.labels))
    assert np.isfinite(probabilities).all()
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    assert loaded.features(samples).shape == (2, 1024)  # what the last layer of DenseNet-121 sees
    assert (loaded.features(samples) >= 0).all()
    assert np.ptp(loaded.features(samples), axis=0).max() > 0
    assert loaded.race(samples).shape == (2, 3)
    np.testing.assert_allclose(loaded.race(samples).sum(axis=1), 1, atol=1e-5)
    assert loaded.age(samples).shape == (2,)
    assert (np.abs(loaded.age(samples) - 50) < 3).all()


def test_the_race_model_s_outputs_are_in_the_order_of_races(published: dict[str, Path]) -> None:
    import torchxrayvision as xrv

    samples = pictures(2, side=320)
    judge, names, _ = judges._published(published["race"], "race")
    with judges._home_with(published["race"]):
        model = xrv.baseline_models.emory_hiti.RaceModel().eval()
    x = torch.from_numpy(samples * 2048 - 1024)[:, None]
    with torch.no_grad():
        expected = torch.exp(model(x))
        output = judge(x).cpu()
    assert names == list(RACES)
    for i, race in enumerate(RACES):
        torch.testing.assert_close(output[:, i], expected[:, model.targets.index(race)])


@pytest.mark.parametrize(("kind", "expected"), [("pathology", PATHOLOGY), ("race", RACE), ("age", AGE)])
def test_wrong_names_and_missing_files_are_refused_with_the_expected_name(
    published: dict[str, Path], tmp_path: Path, kind: str, expected: str
) -> None:
    weights = {name: str(path) for name, path in published.items()}
    with pytest.raises(UserError, match=f"renamed.pt.*expected a file named .*{expected}"):
        judges.copy_published(weights | {kind: str(tmp_path / "renamed.pt")}, tmp_path / "out")
    with pytest.raises(UserError, match=f"{expected}: the weights of the judge of {kind} are missing"):
        judges.copy_published(weights | {kind: str(tmp_path / expected)}, tmp_path / "out")
    folder = published[kind].parent
    with pytest.raises(UserError, match=f"^{folder}: a folder, but .* are a file: give {folder / expected}$"):
        judges.copy_published(weights | {kind: str(folder)}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_damaged_published_weights_are_a_user_error(published: dict[str, Path], tmp_path: Path) -> None:
    for kind, path in published.items():
        (tmp_path / path.name).write_bytes(b"half")
        with pytest.raises(UserError, match="the weights cannot be read") as refused:
            judges._published(tmp_path / path.name, kind)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("new_format", [True, False])
def test_a_pickled_model_is_read_in_torch_s_old_format_too_and_cannot_run_code(
    published: dict[str, Path], tmp_path: Path, new_format: bool
) -> None:
    network = torch.load(published["pathology"], weights_only=False)
    network.labels = np.array(["edema", "effusion"])
    torch.save(network, tmp_path / PATHOLOGY, _use_new_zipfile_serialization=new_format)
    judge = judges._published(tmp_path / PATHOLOGY, "pathology").output
    expected = judges._published(published["pathology"], "pathology").output
    x = torch.from_numpy(pictures(1, side=64))[:, None] * 2048 - 1024
    torch.testing.assert_close(judge(x), expected(x))

    class Harmful:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "harm",)

    network.features.extra = Harmful()
    torch.save(network, tmp_path / PATHOLOGY, _use_new_zipfile_serialization=new_format)
    with pytest.raises(UserError, match=r"the weights cannot be read .*it holds .*, which is no part of a network"):
        judges._published(tmp_path / PATHOLOGY, "pathology")
    assert not (tmp_path / "harm").exists()


def test_the_configuration_of_the_paper_names_the_published_files() -> None:
    paper = yaml.safe_load((REPOSITORY / "workflow" / "configs" / "paper.yaml").read_text())
    files = {kind: Path(path).name for kind, path in paper["pretrain"]["judges"]["weights"].items()}
    assert files == {"pathology": PATHOLOGY, "race": RACE, "age": AGE}
    second = paper["pretrain"]["second_judges"]["weights"]
    assert judges._pathology_files()[Path(second["pathology"]).name] == "densenet121-res224-mimic_ch"
    assert {kind: Path(second[kind]).name for kind in ("race", "age")} == {"race": RACE, "age": AGE}


@pytest.mark.parametrize(
    ("blank", "uncertain", "expected"),
    [
        ("negative", "masked", [[1, 0], [0, 0], [np.nan, 0], [0, 0]]),
        ("masked", "negative", [[1, np.nan], [0, 0], [0, np.nan], [0, 0]]),
        ("masked", "positive", [[1, np.nan], [0, 0], [1, np.nan], [0, 0]]),
    ],
)
def test_labels_become_targets_as_configured(blank: str, uncertain: str, expected: list[list[float]]) -> None:
    label_columns = {
        "edema": [1, 0, -1, None],
        "pneumothorax": [None, 0, None, None],
        "no_finding": [None, None, None, 1],
    }
    studies = pd.DataFrame({name: pd.array(values, dtype="Int8") for name, values in label_columns.items()})
    settings = {"findings": ["edema", "pneumothorax"], "blank": blank, "uncertain": uncertain}
    np.testing.assert_array_equal(binary_labels(studies, settings), expected)
