"""The processes that train a run together, one for each GPU, as `accelerate launch` or torchrun starts them.

A run in one process is a run of one rank: it goes the same way and waits for nobody.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import distributed

from biomedjourney.errors import UserError, brief


@dataclass(frozen=True)
class Ranks:
    """This process among those of the run: its place ``index`` of ``count``, and the device that it computes on.

    ``control``: the group over which the processes talk on the CPU, beside the gradients; None where there is one.
    """

    index: int = 0
    count: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    control: Any = None

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.index == 0

    def share(self, batch_size: int) -> range:
        """The places of a batch that this process computes. Raises UserError where some process would have none."""
        if batch_size < self.count:
            raise UserError(
                f"batch_size: {batch_size} examples per step cannot be shared by {self.count} processes: set a larger "
                "batch_size in train.runs, or start fewer processes (resources.train.gpus)"
            )
        return range(batch_size * self.index // self.count, batch_size * (self.index + 1) // self.count)

    def wrapped(self, unet: Any) -> Any:
        """The UNet whose backward pass also averages the gradients over all processes."""
        if self.count == 1:
            return unet
        devices = [self.device] if self.device.type == "cuda" else None
        return torch.nn.parallel.DistributedDataParallel(
            unet, device_ids=devices, broadcast_buffers=False, gradient_as_bucket_view=True
        )

    def total(self, value: torch.Tensor) -> torch.Tensor:
        """The sum of a tensor over all processes, in new memory."""
        return self._reduced(value, distributed.ReduceOp.SUM)

    def least(self, value: torch.Tensor) -> torch.Tensor:
        """The least value of a tensor over all processes, in new memory."""
        return self._reduced(value, distributed.ReduceOp.MIN)

    def largest(self, value: int) -> int:
        """The largest value over all processes, which do not wait for their GPUs to learn it."""
        if self.count == 1:
            return value
        result = torch.tensor(value)
        distributed.all_reduce(result, distributed.ReduceOp.MAX, group=self.control)
        return int(result)

    def of_main(self, value: Any) -> Any:
        """What the main process gives for ``value``."""
        if self.count == 1:
            return value
        values = [value]
        distributed.broadcast_object_list(values, src=0, group=self.control)
        return values[0]

    def _reduced(self, value: torch.Tensor, how: Any) -> torch.Tensor:
        value = value.clone()
        if self.count > 1:
            distributed.all_reduce(value, how)
        return value


ALONE = Ranks()


def start() -> Ranks:
    """Joins the processes that the environment tells of, each on a GPU of its own, or on the CPU with none at hand."""
    from accelerate import PartialState

    state = PartialState(cpu=not torch.cuda.is_available())
    control = distributed.new_group(backend="gloo") if state.num_processes > 1 else None
    return Ranks(state.process_index, state.num_processes, state.device, control)


@contextmanager
def one_reason() -> Iterator[None]:
    """Turns the failure that follows in this process when another one has ended into a UserError."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, distributed.DistError) and "onnection" not in str(error):
            raise
        raise UserError(
            f"another process of this run has ended ({brief(error)[:120]}): if no line above tells why, it was most "
            "likely killed for want of memory (resources.train.mem_mb)"
        ) from error
