"""The training loop: the same weights for the same seed, after a kill too, and nothing touched that is not its own."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from statml.errors import InputError, InputTypeError
from statml.neural.checkpoint import Checkpoint
from statml.neural.schedule import relative_rate
from statml.neural.training import Training, isolated_random, train

# Everything that has a state: dropout, the loss's own draws, an average, a schedule, validation.
x = torch.linspace(-2, 2, 150)[:, None]
data = (x, torch.sin(2 * x))
settings = Training(epochs=8, batch_size=32, schedule="one_cycle", validation=0.2, ema=0.95, clip=1.0)


def network():
    with isolated_random(1):
        return nn.Sequential(
            nn.Linear(1, 16), nn.SiLU(), nn.Dropout(0.2), nn.BatchNorm1d(16), nn.Linear(16, 1)
        )


def straight_line():
    with isolated_random(2):
        return nn.Linear(1, 1)


class Loss:
    def __init__(self, kill_at=None):
        self.calls, self.kill_at = 0, kill_at

    def __call__(self, module, batch, random):
        self.calls += 1
        if self.calls == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        noise = 0.1 * torch.randn(batch[0].shape, generator=random)
        return (module(batch[0] + noise) - batch[1]).square().mean()


def squares(module, batch, random):
    return (module(batch[0]) - batch[1]).square().mean()


def same(first, second):
    assert first.state_dict().keys() == second.state_dict().keys()
    return all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values()))


def test_a_killed_run_ends_with_the_same_weights_bit_by_bit(tmp_path):
    path = tmp_path / "run.pt"
    whole = network()
    expected = train(whole, Loss(), data, settings=settings, rng=7)
    child = subprocess.run([sys.executable, __file__, str(path)], check=False, capture_output=True)
    assert child.returncode == -signal.SIGKILL, child.stderr
    assert len(torch.load(path, weights_only=True)["losses"]) in range(1, 7)
    resumed, loss = network(), Loss()
    history = train(resumed, loss, data, settings=settings, rng=7, checkpoint=path)
    assert 0 < loss.calls < 8 * 5 and history == expected
    assert same(whole, resumed)
    # Called once more, there is nothing left to do.
    again, loss = network(), Loss()
    assert train(again, loss, data, settings=settings, rng=7, checkpoint=path) == expected
    assert loss.calls == 0 and same(whole, again)


def test_same_seed_same_weights_and_the_global_generator_is_left_alone():
    runs = []
    for global_seed in (1, 2):
        torch.manual_seed(global_seed)
        before = torch.get_rng_state()
        runs.append(network())
        train(runs[-1], Loss(), data, settings=settings, rng=3)
        assert torch.equal(torch.get_rng_state(), before)
    assert same(*runs)
    other = network()
    train(other, Loss(), data, settings=settings, rng=4)
    assert not same(runs[0], other)


@pytest.mark.parametrize("change", ["seed", "data", "learning_rate", "network", "not a checkpoint"])
def test_another_checkpoint_is_refused(tmp_path, change):
    path, few = tmp_path / "run.pt", Training(epochs=1)
    train(network(), squares, data, settings=few, rng=0, checkpoint=path)
    module = straight_line() if change == "network" else network()
    rows = (x, 2 * data[1]) if change == "data" else data
    chosen = Training(epochs=1, learning_rate=1.0) if change == "learning_rate" else few
    if change == "not a checkpoint":
        path.write_bytes(b"something else")
    with pytest.raises(InputError, match=f"checkpoint.*{change.split()[-1]}.*accepted") as caught:
        train(module, squares, rows, settings=chosen, rng=int(change == "seed"), checkpoint=path)
    assert "\n" not in str(caught.value)


def test_a_run_without_a_seed_goes_on_with_its_own(tmp_path):
    path = tmp_path / "run.pt"
    first, second = network(), network()
    history = train(first, Loss(), data, settings=settings, checkpoint=path)
    assert train(second, Loss(), data, settings=settings, checkpoint=path) == history
    assert same(first, second)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "run.pt"
    train(network(), squares, data, settings=Training(epochs=1), rng=0, checkpoint=path)
    before = path.read_bytes()

    def fails(*args):
        raise OSError("no space left on device")

    monkeypatch.setattr("torch.save", fails)
    with pytest.raises(OSError, match="space"):
        train(network(), squares, data, settings=Training(epochs=1), rng=0, checkpoint=tmp_path / "other.pt")
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["run.pt"]


def test_ctrl_c_keeps_the_best_weights_so_far():
    def interrupted(module, batch, random):
        interrupted.calls += 1
        if interrupted.calls == 23:
            raise KeyboardInterrupt
        return squares(module, batch, random)

    interrupted.calls = 0
    module = network()
    with pytest.warns(UserWarning, match=r"stopped in epoch \d of 8; the best weights so far are kept"):
        history = train(module, interrupted, data, settings=settings, rng=7)
    assert history.stopped == "interrupted" and 1 <= len(history.validation) < 8
    assert history.best_epoch == min(range(len(history.validation)), key=history.validation.__getitem__)
    assert all(torch.isfinite(p).all() for p in module.parameters())


def test_the_best_epoch_is_kept_and_patience_stops():
    """With a huge rate a line overshoots more and more: the first epochs are the best."""
    line = straight_line()
    chosen = Training(epochs=50, batch_size=150, learning_rate=0.3, schedule="constant", patience=3)
    seen = []

    def loss(module, batch, random):
        # Data that become worse with time, as overfitting would make them.
        if module.training:
            seen.append(1)
            return (module(batch[0]) - len(seen)).square().mean()
        return squares(module, batch, random)

    history = train(line, loss, data, settings=chosen, validation=data, rng=0)
    assert history.stopped == "patience" and len(history.validation) == history.best_epoch + 4 < 50
    assert history.validation[history.best_epoch] == min(history.validation)
    assert squares(line, data, None).item() == pytest.approx(min(history.validation), rel=1e-6)


def test_schedules_are_those_of_torch():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1.0, total_steps=40, pct_start=0.3, cycle_momentum=False
    )
    for step in range(40):
        assert relative_rate("one_cycle", step, 40, 0.3) == pytest.approx(cycle.get_last_lr()[0], abs=1e-12)
        if step < 39:
            optimizer.step()
            cycle.step()
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 40)
    for step in range(40):
        assert relative_rate("cosine", step, 40, 0.0) == pytest.approx(cosine.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        cosine.step()
    assert [relative_rate("constant", step, 10, 0.3) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]


def test_a_plain_loop_gives_the_same_weights():
    """The same steps by hand, with torch's own pieces."""
    ours, plain = network(), network()
    train(ours, squares, data, settings=Training(epochs=3, batch_size=150, weight_decay=0.0), rng=0)
    optimizer = torch.optim.AdamW(plain.parameters(), lr=2e-3, weight_decay=0.0, fused=True)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 3)
    seed = int(np.random.default_rng(0).integers(2**62))
    order = torch.Generator().manual_seed(seed)
    with isolated_random(seed):
        for _ in range(3):
            index = torch.randperm(150, generator=order)
            loss = squares(plain, [values[index] for values in data], None)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
    for a, b in zip(ours.parameters(), plain.parameters()):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-8)


def test_mixed_precision_trains():
    line = straight_line()
    chosen = Training(epochs=200, learning_rate=0.1, mixed_precision=True, progress=True)
    history = train(line, squares, (x, 2 * x + 1), settings=chosen, rng=0)
    assert line.weight.dtype == torch.float32
    assert history.training[-1] < 1e-3 < history.training[0]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there():
    with pytest.raises(InputError, match="no CUDA device; accepted here is 'cpu'"):
        train(straight_line(), squares, data, settings=Training(device="cuda"))
    train(straight_line(), squares, data, settings=Training(epochs=1, device="auto"))


WRONG = {
    "epochs": 0,
    "batch_size": 0.5,
    "learning_rate": -1.0,
    "weight_decay": -1.0,
    "schedule": "linear",
    "warmup": 1.0,
    "validation": 1.0,
    "patience": 0,
    "ema": -0.1,
    "clip": 0.0,
    "device": "tpu",
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_settings(name):
    for wrong in (WRONG[name], "much"):
        with pytest.raises(InputError, match=f"{name} is .*accepted"):
            Training(**{name: wrong})


def test_whole_numbers_of_numpy_are_whole_numbers():
    assert Training(epochs=np.int64(3)).epochs == 3


def test_wrong_calls():
    line, few = straight_line(), Training(epochs=1)
    with pytest.raises(InputError, match="rows; accepted"):
        train(line, squares, (x, x[1:]), settings=few)
    with pytest.raises(InputTypeError, match=r"data holds.*accepted"):
        train(line, squares, (x, None), settings=few)
    with pytest.raises(InputError, match="patience is given without validation"):
        train(line, squares, data, settings=Training(patience=3))
    with pytest.raises(InputError, match=r"validation is 0.001 of 150 rows"):
        train(line, squares, data, settings=Training(validation=0.001))
    with pytest.raises(InputTypeError, match=r"shape \(32, 1\); accepted is a scalar"):
        train(line, lambda m, b, r: m(b[0]) - b[1], data, settings=Training(batch_size=32))
    with pytest.raises(InputError, match="the loss became nan in epoch 0"):
        train(line, squares, (x, torch.nan * x), settings=few)


if __name__ == "__main__":  # killed in the middle of the fifth epoch
    train(network(), Loss(23), data, settings=settings, rng=7, checkpoint=Checkpoint(sys.argv[1], 0))
