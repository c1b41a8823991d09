"""The learning rate of all parts that are trained in miniature."""

from typing import Any

import torch


def one_cycle(optimiser: torch.optim.Optimizer, settings: dict[str, Any], rise: float) -> Any:
    """The rate rises to ``learning_rate`` over about the share ``rise`` of the ``steps`` and then falls to almost zero.

    This is torch's `OneCycleLR` (Smith and Topin, 2018). It divides by zero if the rise takes exactly one step, so the
    share is then made a little larger.
    """
    steps = settings["steps"]
    share = rise if rise * steps != 1 else 1.1 * rise
    return torch.optim.lr_scheduler.OneCycleLR(optimiser, settings["learning_rate"], steps, pct_start=share)
