import pytest
import torch

from biomedjourney.pretrain.schedule import one_cycle


@pytest.mark.parametrize("rise", [0.1, 0.2])
@pytest.mark.parametrize("steps", [1, 2, 5, 10, 11, 100])
def test_the_rate_ends_near_zero_after_any_number_of_steps(steps: int, rise: float) -> None:
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 1.0)
    schedule = one_cycle(optimiser, {"steps": steps, "learning_rate": 0.5}, rise)
    rates = []
    for _ in range(steps):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
    assert max(rates) <= 0.5
    assert rates[-1] < 0.001
    if steps >= 10:
        assert max(rates) == pytest.approx(0.5, rel=0.1)
