r"""Neural posterior estimation: Bayes' theorem from simulations alone.

Parameters from the prior and data simulated from them are draws of p(theta, x). A
conditional flow q(theta | x), fitted to them by

    max  mean log q(theta_i | x_i)

has its maximum at the posterior, for every x at once: no likelihood is written down, and a
new observation costs one pass of a network. Bounds of the prior are bounds of the flow
(`statml.neural.flows.Support`), so that no probability leaks out of it.

What it cannot know is whether the simulator is right. Two checks go with it:
simulation-based calibration over new simulations (`NeuralPosterior.check`), also of the
joint density, and the typicality of the observed x among simulated ones
(`NeuralPosterior.typicality`); far from all of them a network extrapolates.

References: Papamakarios & Murray (2016), arXiv:1605.06376; Greenberg, Nonnenmacher &
Macke (2019), arXiv:1905.07488; Talts et al. (2018), arXiv:1804.06788; Hermans et al.
(2022), arXiv:2110.06581, for coverage of the joint; arXiv:2506.12230, chapter 17.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from scipy.spatial import cKDTree
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from statml.compute import generator, spread
from statml.errors import InputError, InputTypeError
from statml.neural.flows import (
    Affine,
    Flow,
    Monotone,
    Spline,
    Standardisation,
    Support,
    autoregressive_flow,
    coupling_flow,
)
from statml.neural.settings import check_widths
from statml.neural.training import History, Training, isolated_random, train
from statml.sampling.chain import Chain
from statml.uncertainty.measurement import refuse_quantities
from statml.uncertainty.simulation import SimulationReport, rank_among, simulation_report

Array = np.ndarray
Simulator = Callable[[Array, np.random.Generator], Array]
# Simulations among which an observation's neighbours are looked for, and the neighbour that counts.
REFERENCE = 5000
NEIGHBOUR = 5
# Below this p value an observation is called unlike its simulations.
ATYPICAL = 1e-3
# Draws that are inverted at once.
BLOCK_ROWS = 65_536


class NeuralPosterior(BaseEstimator):
    """An amortised posterior q(theta | x), from pairs of parameters and simulated data.

    Parameters
    ----------
    prior : sequence of frozen scipy.stats distributions
        One for each parameter, independent. Their supports bound the posterior.
    names : sequence of str, optional
        Of the parameters.
    kind : {"autoregressive", "coupling"}
    family : {"spline", "affine"}
        What moves a parameter.
    layers : int
    hidden : sequence of int
        Widths of each network's layers; the data go in as they are, so give summaries where x is long.
    training : Training, optional
        By default at most 200 epochs, a tenth of the pairs for validation, patience of 25.
    random_state : int, Generator or None

    Attributes
    ----------
    flow_ : Flow
        Of theta, given standardised x; `x_center_`, `x_scale_` standardise.
    history_ : History

    Examples
    --------
    >>> from scipy import stats
    >>> from statml.neural import Training
    >>> def counts(theta, rng):  # ten photon counts of one rate
    ...     return rng.poisson(theta, size=(len(theta), 10)).sum(axis=1, keepdims=True)
    >>> settings = Training(epochs=40, learning_rate=0.01)
    >>> model = NeuralPosterior([stats.uniform(1, 9)], layers=2, training=settings, random_state=0)
    >>> theta, x = model.simulate(counts, 2000, rng=1)
    >>> chain = model.fit(theta, x).posterior([50.0], draws=2000, rng=2)
    >>> chain.flat.mean().round(0)  # close to (50 + 1) / 10, the mean of a gamma
    np.float64(5.0)
    """

    default_training: ClassVar[Training] = Training(
        epochs=200, batch_size=256, learning_rate=3e-3, validation=0.1, patience=25, clip=5.0
    )

    def __init__(
        self,
        prior: Any,
        *,
        names: Sequence[str] | None = None,
        kind: Literal["autoregressive", "coupling"] = "autoregressive",
        family: Literal["spline", "affine"] = "spline",
        layers: int = 3,
        hidden: Sequence[int] = (64, 64),
        training: Training | None = None,
        random_state: Any = None,
    ) -> None:
        self.prior = prior
        self.names = names
        self.kind = kind
        self.family = family
        self.layers = layers
        self.hidden = hidden
        self.training = training
        self.random_state = random_state

    # -- simulations ---------------------------------------------------------------------

    def simulate(self, simulator: Simulator, size: int, *, rng: Any = None) -> tuple[Array, Array]:
        """Pairs from the prior and a simulator.

        Parameters
        ----------
        simulator : callable
            ``simulator(theta, rng)``: parameters (n, k) and a `numpy.random.Generator` to data (n, d).
        size : int
        rng : int, Generator or None

        Returns
        -------
        theta, x : arrays (size, k), (size, d)
        """
        rng = generator(rng)
        theta = np.column_stack([one.rvs(size=size, random_state=rng) for one in self._priors()])
        return theta, _rows("x", simulator(theta, rng), size)

    def fit(self, theta: Any, x: Any) -> NeuralPosterior:
        """Train the flow on pairs drawn from the joint distribution.

        Parameters
        ----------
        theta : array (n, k)
            From the prior.
        x : array (n, d)
            Simulated from them.

        Raises
        ------
        InputError
            A parameter is outside the prior's support, or arrays do not fit together.
        """
        settings, family = self._checked()
        refuse_quantities(theta=theta, x=x)
        theta = _rows("theta", theta)
        n, k = theta.shape
        x = _rows("x", x, n)
        if n < 20 or k != len(self._priors()):
            raise InputError(
                f"theta has shape {theta.shape}; accepted is (n >= 20, {len(self._priors())}), as prior has"
            )
        support = self._support()
        with torch.no_grad():
            free, log_det = support.double()(torch.from_numpy(theta))
        if bool(torch.isinf(log_det).any()):
            raise InputError(
                "theta has a row outside the support of the prior; accepted are draws from the prior"
            )
        self.x_center_, self.x_scale_ = x.mean(axis=0), spread(x)
        self.x_scale_ = np.where(self.x_scale_ > 0, self.x_scale_, 1.0)
        standard = Standardisation(free.mean(dim=0).float(), free.std(dim=0).float().clamp(min=1e-12))
        rng = generator(self.random_state)
        with isolated_random(int(rng.integers(2**62))):
            build = coupling_flow if self.kind == "coupling" and k > 1 else autoregressive_flow
            flow = build(
                k,
                family,
                layers=self.layers,
                context=x.shape[1],
                hidden=tuple(self.hidden),
                before=[standard],
            )
        context = torch.from_numpy((x - self.x_center_) / self.x_scale_)
        self.history_: History = train(
            flow, _loss, (free.float(), context.float()), settings=settings.for_rows(n), rng=rng
        )
        flow = flow.cpu()
        self.flow_ = Flow(flow.base, [support, *flow.transforms]).double().eval()
        self._remember(x, rng)
        return self

    # -- posteriors ------------------------------------------------------------------------

    def posterior(self, x: Any, *, draws: int = 1000, rng: Any = None) -> Chain:
        """Independent draws from the posterior of one observation.

        Parameters
        ----------
        x : array (d,)
        draws : int
        rng : int, Generator or None

        Returns
        -------
        Chain
            One chain; ``log_prob`` are the log densities q of its draws.

        Warns
        -----
        UserWarning
            The observation is unlike all simulations (`typicality` below 0.001).
        """
        x = np.asarray(x, float).reshape(1, -1)
        p = float(self.typicality(x)[0])
        if p < ATYPICAL:
            warnings.warn(
                f"the observation is unlike the simulations (p = {p:.1g}): its posterior is an extrapolation; mend "
                "the simulator, or widen the prior",
                UserWarning,
                stacklevel=2,
            )
        theta = self.sample(x, draws, rng=rng)[:, 0]
        log_prob = self.log_prob(theta, np.repeat(x, draws, axis=0))
        return Chain(theta[None], self._names(), log_prob[None], {}, sampler="neural posterior")

    def sample(self, x: Any, size: int = 1, *, rng: Any = None) -> Array:
        """Draws of theta for each observation, shape (size, n, k)."""
        context = self._context(x)
        n = len(context)
        rng = generator(rng)
        step = max(1, BLOCK_ROWS // n)
        blocks = []
        for low in range(0, size, step):
            count = min(step, size - low)
            blocks.append(self.flow_.sample(context=context.repeat(count, 1), rng=rng).reshape(count, n, -1))
        return torch.cat(blocks).numpy()

    def log_prob(self, theta: Any, x: Any) -> Array:
        """log q(theta_i | x_i), shape (n,); -inf outside the support of the prior."""
        theta, context = _rows("theta", theta), self._context(x)
        with torch.no_grad():
            return self.flow_.log_prob(torch.from_numpy(theta), context).numpy()

    # -- checks --------------------------------------------------------------------------

    def ranks(self, theta: Any, x: Any, *, draws: int = 99, rng: Any = None) -> Array:
        """Ranks of true parameters in their posteriors, and of their joint density, shape (n, k + 1).

        The last column ranks log q(theta | x) among those of the draws: it sees a posterior whose
        marginals are right and whose correlations are not.
        """
        theta, rng = _rows("theta", theta), generator(rng)
        x = _rows("x", x, len(theta))
        drawn = self.sample(x, draws, rng=rng)
        flat = drawn.reshape(-1, theta.shape[1])
        density = self.log_prob(flat, np.tile(x, (draws, 1))).reshape(draws, -1, 1)
        everything = np.concatenate([drawn, density], axis=2)
        truth = np.column_stack([theta, self.log_prob(theta, x)])
        return np.array([rank_among(truth[i], everything[:, i], rng=rng) for i in range(len(theta))])

    def check(
        self, simulator: Simulator, *, simulations: int = 2000, draws: int = 99, rng: Any = None
    ) -> SimulationReport:
        """Simulation-based calibration: are the ranks of new true parameters uniform?

        Parameters
        ----------
        simulator : callable
            That of `simulate`; with another one the report says whether the posterior survives it.
        """
        rng = generator(rng)
        theta, x = self.simulate(simulator, simulations, rng=rng)
        return simulation_report(self.ranks(theta, x, draws=draws, rng=rng), [*self._names(), "log q"])

    def typicality(self, x: Any) -> Array:
        """How ordinary observations are among the simulations, shape (n,): p values, small where unlike all.

        The fraction of simulations whose fifth nearest neighbour, in whitened x, is farther than that
        of the observation.
        """
        points = self._whitened(_rows("x", x))
        distance = self._tree.query(points, k=[NEIGHBOUR])[0][:, 0]
        farther = len(self._distances) - np.searchsorted(self._distances, distance, side="left")
        return (farther + 1) / (len(self._distances) + 1)

    def _remember(self, x: Array, rng: np.random.Generator) -> None:
        """Some simulations, whitened, and the distances of each to its neighbours among them."""
        chosen = x[rng.permutation(len(x))[:REFERENCE]]
        values, vectors = np.linalg.eigh(np.atleast_2d(np.cov(chosen.T)))
        keep = values > 1e-10 * values.max()
        self._whitener = vectors[:, keep] / np.sqrt(values[keep])
        points = self._whitened(chosen)
        self._tree = cKDTree(points)
        # the nearest point of each is itself
        self._distances = np.sort(self._tree.query(points, k=[min(NEIGHBOUR + 1, len(points))])[0][:, 0])

    def _whitened(self, x: Array) -> Array:
        return (x - self.x_center_) @ self._whitener

    # -- input ---------------------------------------------------------------------------

    def _context(self, x: Any) -> Tensor:
        check_is_fitted(self)
        refuse_quantities(x=x)
        x = _rows("x", x)
        if x.shape[1] != len(self.x_center_):
            raise InputError(
                f"x has {x.shape[1]} columns; accepted are {len(self.x_center_)}, as in the simulations"
            )
        return torch.from_numpy((x - self.x_center_) / self.x_scale_)

    def _priors(self) -> list[Any]:
        priors = list(self.prior) if isinstance(self.prior, Sequence) else []
        if not priors or not all(hasattr(one, "rvs") and hasattr(one, "support") for one in priors):
            raise InputTypeError(
                "prior is no list of frozen scipy.stats distributions; accepted is for example [stats.norm(0, 1)]"
            )
        return priors

    def _support(self) -> Support:
        low, high = np.array([one.support() for one in self._priors()], float).T
        return Support(low, high)

    def _names(self) -> tuple[str, ...]:
        k = len(self._priors())
        names = tuple(self.names) if self.names is not None else tuple(f"theta[{j}]" for j in range(k))
        if len(names) != k:
            raise InputError(f"names has {len(names)} entries; accepted are {k}, one for each parameter")
        return names

    def _checked(self) -> tuple[Training, Monotone]:
        families: dict[str, Monotone] = {"spline": Spline(), "affine": Affine()}
        for name, accepted in (("kind", ("autoregressive", "coupling")), ("family", tuple(families))):
            if getattr(self, name) not in accepted:
                raise InputError(
                    f"{name} is {getattr(self, name)!r}; accepted are {' and '.join(map(repr, accepted))}"
                )
        if not isinstance(self.layers, int | np.integer) or self.layers < 1:
            raise InputError(f"layers is {self.layers!r}; accepted is an int >= 1")
        check_widths(self.hidden)
        if self.training is not None and not isinstance(self.training, Training):
            raise InputTypeError(f"training is a {type(self.training).__name__}; accepted is a Training")
        self._names()
        return self.training or self.default_training, families[self.family]


def _loss(module: Any, batch: tuple[Tensor, ...], random: torch.Generator) -> Tensor:
    theta, context = batch
    return -module.log_prob(theta, context).mean()


def _rows(name: str, values: Any, n: int | None = None) -> Array:
    array = np.asarray(values, float)
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2 or (n is not None and len(array) != n):
        raise InputError(f"{name} has shape {array.shape}; accepted is ({'n' if n is None else n}, columns)")
    if not np.all(np.isfinite(array)):
        raise InputError(f"{name} contains NaN or inf; accepted are finite values")
    return array
