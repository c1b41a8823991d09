"""The judging classifiers: torchxrayvision's published ones, or small DenseNets trained on real pictures."""

import json
import os
import pickle
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from biomedjourney import pixels, progress, sums
from biomedjourney.errors import UserError, brief, raise_unless_damage
from biomedjourney.pretrain.schedule import one_cycle
from biomedjourney.tables import RACES
from biomedjourney.weights import refuse_pointer

ARCHITECTURE: dict[str, Any] = {"growth_rate": 12, "block_config": [3, 4, 4], "num_init_features": 24}
# Of the second set: wider and shallower, so that it does not make the mistakes of the first.
SECOND_ARCHITECTURE: dict[str, Any] = {"growth_rate": 16, "block_config": [2, 3, 3], "num_init_features": 32}
KINDS = ("pathology", "race", "age")
PUBLISHED_NAMES = {"Effusion": "pleural_effusion", "Pleural_Thickening": "pleural_other"}
PUBLISHED_FILES = {
    "race": "resnet_race_detection_val-loss_0.157_mimic_public.pt",
    "age": "baseline_models_riken_xray_age_every_model_age_senet154_v2_tl_26_ft_7_fp32.pt",
    "organs": "pspnet_chestxray_best_model_4.pth",  # of `segmenter`
}
DOWNLOADS = "https://github.com/mlmed/torchxrayvision/releases"
# What a pickled network is made of: layers, and values that are safe to build; __builtin__ is Python 2's name.
PICKLED_NETWORKS = ("torch.nn.modules.", "torchvision.models.", "torchxrayvision.models")
PICKLED_VALUES = {
    *(("collections", "OrderedDict"), ("__builtin__", "set"), ("builtins", "set"), ("torch", "Size")),
    *(("torch._utils", "_rebuild_tensor"), ("torch._utils", "_rebuild_tensor_v2")),
    *(("torch._utils", "_rebuild_parameter"), ("torch.nn.parameter", "Parameter")),
    *(("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")),
    *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
}
AGE_SCALE = 20.0  # years: an age is this times the output of the network, plus the mean age of the training patients
SHIFT = 3  # largest shift in augmentation: pixels of a picture with 64 pixels per side


@dataclass(frozen=True)
class Judges:
    """The three classifiers. Pictures are float32 (n, rows, columns) in [0, 1]."""

    labels: tuple[str, ...]
    _pathology: Callable[[torch.Tensor], torch.Tensor]
    _race: Callable[[torch.Tensor], torch.Tensor]
    _age: Callable[[torch.Tensor], torch.Tensor]
    _features: Callable[[torch.Tensor], torch.Tensor]

    def pathology(self, pictures: np.ndarray) -> np.ndarray:
        """Probabilities (n, labels) in the order of ``labels``."""
        return _run(self._pathology, pictures)

    def race(self, pictures: np.ndarray) -> np.ndarray:
        """Probabilities (n, 3) in the order of `tables.RACES`."""
        return _run(self._race, pictures)

    def age(self, pictures: np.ndarray) -> np.ndarray:
        """Estimates (n,), years."""
        return _run(self._age, pictures)

    def features(self, pictures: np.ndarray) -> np.ndarray:
        """What the last layer of the pathology classifier sees, (n, width): its maps, averaged over the picture."""
        return _run(self._features, pictures)


@torch.no_grad()
def _run(judge: Callable[[torch.Tensor], torch.Tensor], pictures: np.ndarray) -> np.ndarray:
    x = torch.from_numpy(pixels.to_torchxrayvision(pictures.astype(np.float32)))[:, None]
    result: np.ndarray = judge(x).float().cpu().numpy()
    return result


def network(outputs: int, architecture: dict[str, Any] = ARCHITECTURE) -> Any:
    """A small torchxrayvision DenseNet with this number of outputs; its channels are last, which is faster on a CPU."""
    import torchxrayvision as xrv

    model = xrv.models.DenseNet(**architecture, num_classes=outputs)
    model.features.conv0 = nn.Conv2d(1, architecture["num_init_features"], 5, stride=2, padding=2, bias=False)
    return model.to(memory_format=torch.channels_last)


def logits(model: Any, x: torch.Tensor) -> torch.Tensor:
    """The raw outputs (n, outputs) of a classifier for pictures (n, 1, h, w) in [-1024, 1024]."""
    return model.classifier(pooled(model, x))


def pooled(model: Any, x: torch.Tensor) -> torch.Tensor:
    """The features (n, width) that the last layer of a classifier sees, for pictures as in `logits`."""
    return torch.relu(model.features(x / 1024.0)).mean(dim=(2, 3))


def pathology_loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy over the known labels; NaN in the target is an unknown label and has no weight."""
    is_known = ~torch.isnan(target)
    loss = nn.functional.binary_cross_entropy_with_logits(output, torch.nan_to_num(target), reduction="none")
    return (loss * is_known).sum() / is_known.sum().clamp(min=1)


def race_loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the group, given as its index in `tables.RACES`."""
    return nn.functional.cross_entropy(output, target.long())


def age_loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Smooth absolute error of the standardised age."""
    return nn.functional.smooth_l1_loss(output[:, 0], target)


LOSSES = {"pathology": pathology_loss, "race": race_loss, "age": age_loss}


def moved(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Pictures (n, channels, h, w), slightly moved, scaled and rotated; not mirrored, since sides matter."""
    angle, scale = _uniform(x, 0.09, generator), 1 + _uniform(x, 0.07, generator)
    cos, sin = scale * torch.cos(angle), scale * torch.sin(angle)
    shift = torch.stack([_uniform(x, 2 * SHIFT / 64, generator) for _ in range(2)], dim=1)
    matrix = torch.stack([torch.stack([cos, -sin, shift[:, 0]], 1), torch.stack([sin, cos, shift[:, 1]], 1)], 1)
    grid = nn.functional.affine_grid(matrix, list(x.shape), align_corners=False)
    return nn.functional.grid_sample(x, grid, align_corners=False)


def recoloured(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Pictures (n, 1, h, w) in [0, 1], slightly changed in contrast and brightness."""
    bright, contrast = _uniform(x, 0.08, generator), 1 + _uniform(x, 0.12, generator)
    return ((x - 0.5) * contrast[:, None, None, None] + 0.5 + bright[:, None, None, None]).clamp(0, 1)


def _uniform(x: torch.Tensor, spread: float, generator: torch.Generator) -> torch.Tensor:
    """A number from -spread to spread for each picture."""
    return (torch.rand(len(x), generator=generator) * 2 - 1) * spread


def train(
    kind: str,
    pictures: np.ndarray,
    targets: np.ndarray,
    settings: dict[str, Any],
    seed: int,
    architecture: dict[str, Any] = ARCHITECTURE,
) -> Any:
    """One small judge trained on uint8 pictures (n, h, w).

    ``targets``: labels (n, labels) for pathology, indices (n,) for race, standardised ages (n,) for age.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 3, KINDS.index(kind)])
    generator = torch.Generator().manual_seed(seed)
    model = network({"pathology": targets.shape[-1], "race": len(RACES), "age": 1}[kind], architecture)
    optimiser = torch.optim.AdamW(model.parameters(), settings["learning_rate"], weight_decay=0.01)
    schedule = one_cycle(optimiser, settings, 0.2)
    all_targets = torch.from_numpy(targets.astype(np.float32))
    model.train()
    for _ in progress.track(range(settings["steps"]), f"judge of {kind}", unit="step"):
        rows = rng.choice(len(pictures), settings["batch_size"])
        x = torch.from_numpy(pictures[rows])[:, None].float() / 255
        x = recoloured(moved(x, generator), generator)
        loss = LOSSES[kind](logits(model, pixels.to_torchxrayvision(x)), all_targets[rows])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
    return model.eval()


def save(folder: Path, kind: str, model: Any, description: dict[str, Any]) -> None:
    """Writes the weights of a trained judge and what is needed to load and read it, its ``architecture`` too."""
    (folder / kind).mkdir()
    torch.save(model.state_dict(), folder / kind / "weights.pt")
    (folder / kind / "judge.json").write_text(json.dumps(description, indent=2))


def copy_published(weights: dict[str, str], out: Path) -> None:
    """Copies published weights, one file per judge, after checking that torchxrayvision opens them."""
    sources = {kind: Path(weights[kind]) for kind in KINDS}
    for kind, source in sources.items():
        _check_published(source, kind)
    with sums.model_folder(out) as folder:
        for kind, source in sources.items():
            (folder / kind).mkdir()
            shutil.copy2(source, folder / kind / source.name)
            (folder / kind / "judge.json").write_text(json.dumps({"published": source.name}, indent=2))
        load(folder)


def check(weights: Path, kind: str, findings: list[str]) -> None:
    """Raises UserError where published weights do not load, judge something else, or do not know all of the findings.

    They are loaded as for use, since they are small, and judge one picture.
    """
    judge, names, _ = _published(weights, kind)
    with _readable(weights):
        shape = tuple(judge(torch.linspace(-1024, 1024, 320 * 320).reshape(1, 1, 320, 320)).shape)
    expected = (1,) if kind == "age" else (1, len(names))
    if shape != expected:
        raise UserError(
            f"{weights}: not the judge of {kind}: for one picture it gives values of shape {shape} in place of "
            f"{expected}: download it from {DOWNLOADS}"
        )
    if kind == "pathology" and (unknown := [finding for finding in findings if finding not in names]):
        raise UserError(
            f"{weights}: the pathology classifier does not know {unknown[0]!r} of labels.findings; "
            f"it knows {', '.join(names)}: change labels.findings or give other weights"
        )


def url(weights: Path, kind: str) -> str:
    """Where torchxrayvision publishes the file of this name. Raises UserError for a name that it does not publish."""
    _check_name(weights, kind)
    return f"{DOWNLOADS}/download/v1/{weights.name}"


def load(folder: Path) -> Judges:
    """The judges of a folder. Raises UserError if one is missing or torchxrayvision does not know its weights."""
    folder = Path(folder)
    sums.verify(folder)
    loaded = {kind: _load(folder / kind, kind) for kind in KINDS}
    pathology = loaded["pathology"]
    race, age = loaded["race"].output, loaded["age"].output
    return Judges(tuple(pathology.names), pathology.output, race, age, pathology.features)


class _Loaded(NamedTuple):
    """A judge, and the names of its outputs. ``features``: what the last layer sees; the output for race and age."""

    output: Callable[[torch.Tensor], torch.Tensor]
    names: list[str]
    features: Callable[[torch.Tensor], torch.Tensor]


def _load(folder: Path, kind: str) -> _Loaded:
    try:
        description = json.loads((folder / "judge.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{folder}: no judge of {kind} ({error}): run pretrain judges") from None
    if "published" in description:
        return _published(folder / description["published"], kind)
    return _trained(folder, kind, description)


def _trained(folder: Path, kind: str, description: dict[str, Any]) -> _Loaded:
    """A judge that `train` made."""
    model = network(description["outputs"], description["architecture"])
    with _readable(folder / "weights.pt"):
        model.load_state_dict(torch.load(folder / "weights.pt", map_location="cpu", weights_only=True))
    device = _device()
    model.to(device).requires_grad_(False).eval()

    def features(x: torch.Tensor) -> torch.Tensor:
        size = (description["size"], description["size"])
        if x.shape[-2:] != size:
            x = nn.functional.interpolate(x, size, mode="bilinear", antialias=True)
        return pooled(model, x.to(device))

    def judge(x: torch.Tensor) -> torch.Tensor:
        output = model.classifier(features(x))
        if kind == "pathology":
            return torch.sigmoid(output)
        return torch.softmax(output, dim=1) if kind == "race" else output[:, 0] * AGE_SCALE + description["mean_age"]

    return _Loaded(judge, description["names"], features)


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def _home_with(weights: Path) -> Iterator[None]:
    """Sets HOME to a temporary folder with the weights: torchxrayvision's race and age models read them only there."""
    old_home = os.environ.get("HOME")
    with tempfile.TemporaryDirectory() as home:
        models_folder = Path(home) / ".torchxrayvision" / "models_data"
        models_folder.mkdir(parents=True)
        (models_folder / weights.name).symlink_to(weights.resolve())
        os.environ["HOME"] = home
        try:
            yield
        finally:
            if old_home is None:
                del os.environ["HOME"]
            else:
                os.environ["HOME"] = old_home


@contextmanager
def _readable(weights: Path) -> Iterator[None]:
    """Turns the errors of reading weights into a UserError."""
    try:
        refuse_pointer(weights)
        yield
    except Exception as error:  # whatever reading zip files and pickles raises
        raise_unless_damage(error, weights)
        raise UserError(
            f"{weights}: the weights cannot be read ({brief(error)}): download or train them again"
        ) from None


def _pathology_files() -> dict[str, str]:
    """The name that torchxrayvision gives each of its DenseNets, by the name of the published file."""
    import torchxrayvision as xrv

    urls = {name: entry["weights_url"] for name, entry in xrv.models.model_urls.items()}
    return {Path(url).name: name for name, url in urls.items() if name.startswith("densenet")}


def _check_name(weights: Path, kind: str) -> None:
    """Raises UserError, with the expected name, for a file of another name and for a folder."""
    expected = sorted(_pathology_files()) if kind == "pathology" else [PUBLISHED_FILES[kind]]
    if weights.is_dir():
        inside = next((weights / name for name in expected if (weights / name).is_file()), "the file itself")
        raise UserError(f"{weights}: a folder, but the weights of the judge of {kind} are a file: give {inside}")
    if weights.name not in expected:
        raise UserError(
            f"{weights}: torchxrayvision has no weights of {kind} with this name: "
            f"expected a file named {' or '.join(expected)}: download it from {DOWNLOADS}"
        )


def _check_published(weights: Path, kind: str) -> None:
    """Raises UserError, with the expected name, if the file has another name or is missing."""
    _check_name(weights, kind)
    if not weights.is_file():
        raise UserError(f"{weights}: the weights of the judge of {kind} are missing: download them from {DOWNLOADS}")


class _NetworkUnpickler(pickle.Unpickler):
    """Unpickles networks and nothing else. torch's own ``weights_only`` refuses whole models in torch's old format."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in PICKLED_VALUES:
            return super().find_class(module, name)
        if module.startswith(PICKLED_NETWORKS):
            found = super().find_class(module, name)
            if isinstance(found, type) and issubclass(found, nn.Module):
                return found
        raise pickle.UnpicklingError(f"it holds {module}.{name}, which is no part of a network")


def _check_pickle(weights: Path) -> None:
    """Raises UnpicklingError where a pickled model could run code: torchxrayvision opens it without a check."""
    checked: Any = ModuleType("checked")
    checked.Unpickler = _NetworkUnpickler
    checked.load = lambda file, **options: _NetworkUnpickler(file, **options).load()
    torch.load(weights, map_location="meta", weights_only=False, pickle_module=checked)


def _published(weights: Path, kind: str) -> _Loaded:
    """A model of torchxrayvision (Cohen et al., 2022) from a local file. No downloads."""
    import torchxrayvision as xrv

    _check_published(weights, kind)
    device = _device()
    if kind == "pathology":
        with _readable(weights):
            _check_pickle(weights)
            name = _pathology_files()[weights.name]
            model = xrv.models.DenseNet(weights=name, cache_dir=str(weights.parent)).to(device).eval()
        kept = [i for i, target in enumerate(model.targets) if target]  # an output without a name is not trained
        targets = [model.targets[i] for i in kept]

        def resized(x: torch.Tensor) -> torch.Tensor:
            return nn.functional.interpolate(x, (224, 224), mode="bilinear", antialias=True).to(device)

        names = [PUBLISHED_NAMES.get(target, target.lower().replace(" ", "_")) for target in targets]
        return _Loaded(lambda x: model(resized(x))[:, kept], names, lambda x: model.features2(resized(x)))
    with _home_with(weights), _readable(weights):
        if kind == "race":
            model = xrv.baseline_models.emory_hiti.RaceModel().to(device).eval()
            order = [model.targets.index(race) for race in RACES]

            def judge(x: torch.Tensor) -> torch.Tensor:
                return torch.exp(model(x.to(device)))[:, order]

            return _Loaded(judge, list(RACES), judge)
        model = xrv.baseline_models.riken.AgeModel().to(device).eval()

        def age(x: torch.Tensor) -> torch.Tensor:
            return model(x.to(device))[:, 0]

        return _Loaded(age, ["age"], age)
