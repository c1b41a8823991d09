"""The learning rate of everything that is pretrained in miniature."""

from typing import Any

import torch


def one_cycle(optimiser: torch.optim.Optimizer, settings: dict[str, Any], rise: float) -> Any:
    """The rate rises to ``learning_rate`` over about the share ``rise`` of ``steps`` and falls to nothing.

    torch's `OneCycleLR` (Smith and Topin, 2018), which divides by zero where the rise takes exactly one step.
    """
    steps = settings["steps"]
    share = rise if rise * steps != 1 else 1.1 * rise
    return torch.optim.lr_scheduler.OneCycleLR(optimiser, settings["learning_rate"], steps, pct_start=share)
