"""The rates beside what they stand for: operations of the published networks, and runs that were measured."""

from collections.abc import Callable
from pathlib import Path

import pytest

from biomedjourney.plan.counts import Counts
from biomedjourney.plan.rates import RATES
from tests.helpers import published
from tests.helpers.plans import plan_of, settings_of
from tests.helpers.workflow_runs import TABLES

PHANTOM = Counts(
    patients=1500, studies=4570, images=5728, singles=4200, test_singles=604,
    pairs={"train": 2077, "validation": 236, "test": 395}, source="", paired_by="",
)  # fmt: skip

# Seconds by the clock of the longest job of a step, in the default run on two idle cores (bench/RESULTS.md)
DEFAULT_RUN = {
    **{"draw_phantom": 60, "register_priors": 123, "pretrain_first_stage": 26, "pretrain_text_tower": 51},
    **{"pretrain_judges": 128, "train_stage stage1": 69, "train_stage stage2": 430, "generate_pictures": 36},
}
# Seconds of the processor of all jobs of a step, in `make tables` with one seed of noise, on two busy cores
TABLES_RUN = {
    **{"draw_phantom": 89, "rewrite_reports rules": 30, "register_priors": 269, "pretrain_text_tower": 46},
    **{"pretrain_judges": 185, "pretrain_second_judges": 157, "train_stage stage1": 351, "train_stage stage2": 3133},
    **{"train_stage text-only": 3450, "train_stage one-stage": 1003, "train_stage no-registration": 867},
    **{"train_stage impression-text": 865, "train_stand_in": 270, "generate_sweep": 333, "generate_samplers": 366},
    **{"generate_pictures": 371, "generate_soundness": 63, "evaluate_scores": 137, "evaluate_systems": 45},
}


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_default_run_took_what_is_planned_within_a_factor_of_two() -> None:
    plan = plan_of(settings_of(), PHANTOM)
    ratios = {name: 60 * plan[name].minutes / seconds for name, seconds in DEFAULT_RUN.items()}
    assert all(0.5 < ratio < 2 for ratio in ratios.values()), ratios
    at_least = sum(step.core_hours() for step in plan.values()) / 2 * 60
    assert 14 < at_least < 17, "it took 17 minutes on two cores"


def test_the_long_run_took_what_is_planned_within_a_factor_of_two() -> None:
    plan = plan_of(settings_of(TABLES, {"generate": {"seeds": [0]}}), PHANTOM)
    ratios = {name: 3600 * plan[name].core_hours() / seconds for name, seconds in TABLES_RUN.items()}
    assert all(0.5 < ratio < 2 for ratio in ratios.values()), ratios
    assert sum(step.core_hours() for step in plan.values()) == pytest.approx(243 / 60, rel=0.25)


def test_the_operations_of_the_published_networks_are_counted() -> None:
    import torch
    import torchxrayvision
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from torch.utils.flop_counter import FlopCounterMode
    from torchxrayvision.baseline_models.chestx_det import PSPNet
    from torchxrayvision.baseline_models.chestx_det.ptsemseg.pspnet import pspnet
    from transformers import BertConfig, BertModel

    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(published.TRUE_SIZE | {"in_channels": 8})
        vae = AutoencoderKL.from_config(published.TRUE_SIZE_VAE)
        bert = BertModel(BertConfig(vocab_size=30_522)).eval()
        segmenter, film = pspnet(len(PSPNet.targets)).eval(), torch.zeros(1, 3, 512, 512)
        judge, square = torchxrayvision.models.DenseNet(num_classes=18).eval(), torch.zeros(1, 1, 224, 224)
        latent, picture, states = torch.zeros(1, 8, 32, 32), torch.zeros(1, 3, 256, 256), torch.zeros(1, 256, 768)
        large, large_picture = torch.zeros(1, 8, 64, 64), torch.zeros(1, 3, 512, 512)
        tokens, timestep = torch.zeros(1, 256, dtype=torch.long), torch.zeros(1, dtype=torch.long)
    parts: dict[str, Callable[[], object]] = {
        "UNet": lambda: unet(latent, timestep, encoder_hidden_states=states),
        "encoder": lambda: vae.encode(picture),
        "decoder": lambda: vae.decode(latent[:, :4]),
        "published text tower": lambda: bert(tokens),
        "published segmenter": lambda: segmenter(film),
        "pathology judge": lambda: judge.features2(square),
        "large UNet": lambda: unet(large, timestep, encoder_hidden_states=states[:, :77]),
        "large encoder": lambda: vae.encode(large_picture),
        "large decoder": lambda: vae.decode(large[:, :4]),
    }
    assert set(parts) == {name for name, rate in RATES.items() if rate.unit == "TFLOP"}
    for name, run in parts.items():
        with FlopCounterMode(display=False) as counter:
            run()
        assert RATES[name].value == pytest.approx(counter.get_total_flops() / 1e12, rel=0.01), name
