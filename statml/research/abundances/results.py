"""The paper's numbers beside ours, computed when asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from astropy import units as u
from scipy import optimize

from statml.errors import DataNotFoundError
from statml.headline import Row
from statml.research.abundances.channels import CCSN, load_elements
from statml.research.abundances.correlation import CorrelationMatrix, correlation_matrix
from statml.research.abundances.covariance import scatter_dex
from statml.research.abundances.environment import Environment
from statml.research.abundances.kernel import kernel
from statml.research.abundances.r_process import PARAMETERS, infer_r_process
from statml.research.abundances.samples import SAMPLES, load_sample
from statml.research.abundances.stellar import difference, predictions, scores, without_each
from statml.research.abundances.trials import known_element_trials, verdicts

COMMAND = "statml abundances results"
# rho of the released kernel at the released parameters, from the tables released with arXiv:2507.14572
RELEASED = {
    ("O", "Mg"): 0.7443,
    ("Mg", "Si"): 0.9157,
    ("O", "Fe"): 0.5095,
    ("Fe", "Mn"): 0.9036,
    ("O", "Ba"): 0.1050,
    ("Y", "Ba"): 0.1747,
}
UNKNOWN = "the paper's number was not available to us"
AGAINST = (
    ("isotropic", "released kernel"),
    ("full delays", "isotropic"),
    ("isotropic", "cosine"),
    ("full delays", "cosine"),
)


def headline() -> list[Row]:
    """Compute all rows; those that need third-party tables say so where these are not there.

    Examples
    --------
    >>> from statml.headline import table
    >>> print(table(headline()))  # doctest: +SKIP
    """
    rows = [*_matrices(), *_scales()]
    for part in (_stars, _r_process):
        rows += _with_tables(part)
    return rows


def _matrices() -> Iterator[Row]:
    elements, env = load_elements(), Environment.fiducial()
    released = correlation_matrix(elements, env, drift="aligned")
    ours = correlation_matrix(elements, env)
    for (x, y), value in RELEASED.items():
        yield _row(f"rho({x}, {y}), released kernel", value, released[x, y], "synthetic")
    yield _row(
        "participation ratio of 42 elements, released kernel",
        None,
        released.participation_ratio,
        "synthetic",
        UNKNOWN,
    )
    yield _row(
        "participation ratio, isotropic", None, ours.participation_ratio, "synthetic", "our derivation"
    )
    yield _row(
        "largest difference of the two kernels", None, _largest(ours, released), "synthetic", "our derivation"
    )


def _largest(a: CorrelationMatrix, b: CorrelationMatrix) -> float:
    return float(np.abs(a.values - b.values).max())


def _scales() -> Iterator[Row]:
    """What the first paper says of one element: supernova metals, 60 pc wide, 10 Myr late."""
    env, delay = Environment.fiducial(), 10 * u.Myr

    def correlated(level: float, unit: u.Unit, name: str) -> float:
        def excess(log_value: float) -> float:
            there = kernel(CCSN, delay, CCSN, delay, env, **{name: np.exp(log_value) * unit})
            return float(there / kernel(CCSN, delay, CCSN, delay, env) - level)

        return float(np.exp(optimize.brentq(excess, 0, np.log(1e4))))

    first = "arXiv:1708.06853, abstract"
    yield _row(
        "separation [pc] at which supernova metals correlate to 0.5",
        "500-1000",
        correlated(0.5, u.pc, "r"),
        "synthetic",
        first,
    )
    yield _row("the same for 0.3", "500-1000", correlated(0.3, u.pc, "r"), "synthetic", first)
    yield _row(
        "time [Myr] after which they correlate to 0.5",
        "100-300",
        correlated(0.5, u.Myr, "lag"),
        "synthetic",
        first,
    )
    (oxygen,) = load_elements(["O"])
    note = f"not reproduced with these parameters; {first}"
    yield _row("scatter of oxygen [dex]", "~0.1", scatter_dex(oxygen, env), "synthetic", note)


def _stars() -> Iterator[Row]:
    for name in SAMPLES:
        sample = load_sample(name)
        scored = {}
        for each in scores(sample):
            scored[each.prediction] = each.r
            published = None if each.prediction == "released kernel" else "-"
            note = f"rank {each.rank:.2f}, rms {each.rms:.3f} +- {each.rms_err:.3f}, bias {each.bias:+.3f}, p {each.p:.3f}"
            if published is None:
                note += f"; {UNKNOWN}"
            yield _row(
                f"r({name}), {each.prediction}, {each.pairs} pairs",
                published,
                each.r,
                "real",
                note,
                each.r_err,
            )
        known, predicted = predictions(sample)
        yield _most_influential(name, without_each(known, predicted["isotropic"]), scored["isotropic"])
        for first, second in AGAINST:
            found = difference(known, first, second, predicted)
            note = f"rms {found.rms:+.3f} +- {found.rms_err:.3f}; {found.verdict}"
            yield _row(f"r({name}): {first} - {second}", "-", found.r, "real", note, found.r_err)


def _most_influential(name: str, left_out: dict[str, float], r: float) -> Row:
    symbol = max(left_out, key=lambda each: abs(left_out[each] - r))
    return _row(
        f"r({name}), isotropic, without {symbol}",
        "-",
        left_out[symbol],
        "real",
        "the element on which r depends most",
    )


def _r_process() -> Iterator[Row]:
    sample = load_sample("mead25")
    posterior = infer_r_process(sample, "Eu")
    trials = known_element_trials(sample)
    for trial in trials:
        for parameter, truth in (("delay", f"{trial.delay:.0f} Myr"), ("width", f"{trial.width:.0f} pc")):
            quantity = f"{trial.posterior.symbol} treated as unknown: {parameter}"
            inside = "holds" if getattr(trial, f"contains_{parameter}") else "misses"
            note = f"the 95 % interval {inside} the truth ({trial.channel}), which stands under 'published'"
            yield _row(quantity, truth, trial.posterior.statement(parameter), "real", note)
    for parameter, said in verdicts(trials).items():
        counts, label = said.split(": ")
        yield _row(f"{parameter} of an unknown element", None, label, "real", counts)
    for parameter in PARAMETERS:
        note = f"68 % interval over that of the prior: {posterior.shrinkage(parameter):.2f}"
        yield _row(f"{parameter} of Eu", None, posterior.statement(parameter), "real", note)


def _with_tables(part: Callable[[], Iterator[Row]]) -> list[Row]:
    try:
        return list(part())
    except DataNotFoundError as error:
        name = {"_stars": "correlations of stars", "_r_process": "r-process from the row of Eu"}[
            part.__name__
        ]
        return [Row(name, None, None, None, "real", COMMAND, f"not computed: {error}")]


def _row(
    quantity: str,
    published: float | str | None,
    ours: float | str,
    tier: str,
    note: str = "",
    error: float | None = None,
) -> Row:
    return Row(quantity, published, ours, error, tier, COMMAND, note)
