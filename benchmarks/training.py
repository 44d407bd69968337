"""What the training loop costs beside a plain PyTorch loop of the same steps.

Network, data, batches, loss and optimiser are the same: 343 pixels to four labels with their scatters, normal log
density, AdamW. Two plain loops: one with AdamW as torch builds it by default and batches picked by row numbers, and
one with its fused form, which ours uses. A third takes its batches from a DataLoader, as tutorials do. Epochs
take turns and the median counts, since the machine may be busy. After the same seed, the weights of ours and of the fused plain loop are
compared before anything is timed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.measurement import DisagreementError, machine
from statml.neural import Training, isolated_random, train

PIXELS, LABELS, HIDDEN = 343, 4, (256, 128)
TARGET = 1.05  # of a plain loop's time
AGREE = 1e-5


def _network() -> nn.Module:
    layers: list[nn.Module] = []
    width = PIXELS
    with isolated_random(0):
        for size in HIDDEN:
            layers += [nn.Linear(width, size), nn.SiLU()]
            width = size
        return nn.Sequential(*layers, nn.Linear(width, 2 * LABELS))


def _loss(module: nn.Module, batch: tuple[Tensor, ...], random: Any) -> Tensor:
    mean, log_variance = module(batch[0]).chunk(2, dim=1)
    return 0.5 * ((batch[1] - mean) ** 2 * torch.exp(-log_variance) + log_variance).mean()


def _data(n: int) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(1)
    x = torch.randn(n, PIXELS, generator=random)
    return x, x[:, :LABELS] + 0.1 * torch.randn(n, LABELS, generator=random)


def _settings(epochs: int, batch: int) -> Training:
    return Training(
        epochs=epochs, batch_size=batch, learning_rate=1e-3, weight_decay=0.0, schedule="constant"
    )


def _ours(n: int, epochs: int, batch: int) -> nn.Module:
    module = _network()
    train(module, _loss, _data(n), settings=_settings(epochs, batch), rng=0)
    return module


def _plain(n: int, epochs: int, batch: int, batches: Callable[..., Iterable[Any]], fused: bool) -> nn.Module:
    module, data = _network(), _data(n)
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3, weight_decay=0.0, fused=fused)
    order = torch.Generator().manual_seed(int(np.random.default_rng(0).integers(2**62)))
    for _ in range(epochs):
        for rows in batches(data, batch, order):
            loss = _loss(module, rows, None)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
    return module


def _by_rows(data: tuple[Tensor, Tensor], batch: int, order: torch.Generator) -> Iterable[Any]:
    for index in torch.randperm(len(data[0]), generator=order).split(batch):
        yield tuple(values[index] for values in data)


def _loader(data: tuple[Tensor, Tensor], batch: int, order: torch.Generator) -> Iterable[Any]:
    return DataLoader(TensorDataset(*data), batch_size=batch, shuffle=True, generator=order)


COMPETITORS: dict[str, Callable[[int, int, int], nn.Module]] = {
    "statml train": _ours,
    "plain loop": lambda n, epochs, batch: _plain(n, epochs, batch, _by_rows, False),
    "plain loop, fused AdamW": lambda n, epochs, batch: _plain(n, epochs, batch, _by_rows, True),
    "plain loop, DataLoader": lambda n, epochs, batch: _plain(n, epochs, batch, _loader, False),
}


def _check(n: int, batch: int) -> float:
    """Largest difference of the weights after two epochs, ours against the fused plain loop's."""
    ours, plain = (COMPETITORS[name](n, 2, batch) for name in ("statml train", "plain loop, fused AdamW"))
    gap = max(float((a - b).detach().abs().max()) for a, b in zip(ours.parameters(), plain.parameters()))
    if not gap <= AGREE:
        raise DisagreementError(f"weights differ by {gap:.1e} after two epochs; accepted is {AGREE:.0e}")
    return gap


def benchmark(n: int, batches: list[int], epochs: int, repeats: int) -> dict[str, Any]:
    """Seconds of an epoch for each batch size, the competitors taking turns."""
    where = machine()
    measurements = []
    for batch in batches:
        gap = _check(min(n, 4 * batch), batch)
        seconds: dict[str, list[float]] = {name: [] for name in COMPETITORS}
        for _ in range(repeats):
            for name, run in COMPETITORS.items():
                _data(n)  # touched before the clock starts, by all alike
                begin = time.process_time()
                run(n, epochs, batch)
                seconds[name].append((time.process_time() - begin) / epochs)
        # Of the same turn, so that what else the machine did falls on both.
        ratios = {
            name: float(np.median(np.array(seconds["statml train"]) / np.array(seconds[name])))
            for name in COMPETITORS
        }
        costs = {name: float(np.median(values)) for name, values in seconds.items()}
        measurements.append(
            {"batch": batch, "cpu_s_an_epoch": costs, "ratio_to": ratios, "weights_differ_by": gap}
        )
    return {
        "family": "training",
        "machine": where,
        "threads": torch.get_num_threads(),
        "n": n,
        "epochs": epochs,
        "repeats": repeats,
        "target": TARGET,
        "measurements": measurements,
        "gpu": "not measured",
    }


def tables(record: dict[str, Any]) -> str:
    """The record as text."""
    where = record["machine"]
    lines = [
        f"training: {record['n']:,} rows of {PIXELS}, {PIXELS}-{'-'.join(map(str, HIDDEN))}-{2 * LABELS}, "
        f"{record['threads']} thread(s), processor time of an epoch, median of {record['repeats']} turns",
        f"{where['cpu']}, {where['cores']} cores, load before {where['load_before']}, {where['date']}",
    ]
    for entry in record["measurements"]:
        lines += ["", f"batches of {entry['batch']}: ours / theirs (target at most {record['target']})"]
        for name, cost in entry["cpu_s_an_epoch"].items():
            lines.append(f"  {name:28s} {cost:9.4f} s   {entry['ratio_to'][name]:6.3f}")
    return "\n".join([*lines, "", f"GPU: {record['gpu']}"])


def draw(record: dict[str, Any], path: Any) -> None:
    """Ratios against the batch size."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    sizes = [entry["batch"] for entry in record["measurements"]]
    for name, colour in zip(list(COMPETITORS)[1:], ("#c8553d", "#1b4f9c", "#e0a030")):
        axes.plot(
            sizes, [e["ratio_to"][name] for e in record["measurements"]], "o-", color=colour, label=name
        )
    axes.axhline(record["target"], color="0.5", lw=0.8)
    axes.set(xscale="log", xlabel="rows of a batch", ylabel="time of ours / theirs")
    axes.legend(frameon=False, fontsize=9)
    figure.savefig(path, dpi=130)
