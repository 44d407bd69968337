r"""Autoencoders of data whose pixels have their own errors, or are missing.

    code z = f(x),   x ~ g(z) + noise,    noise_ij ~ N(0, X_err_ij^2 + s^2)

A pixel weighs 1 / (X_err^2 + s^2) in the reconstruction, with the common scatter s fitted,
and a missing one (NaN in X, or X_err = inf) nothing; the encoder is told which are missing. With
linear networks this is the subspace of principal components, weighted; with layers
between them the surface on which the data lie may bend.

The variational one makes it a probability: z ~ N(0, 1) a priori, the encoder gives a
normal q(z | x) of independent codes, and

    log p(x) >= E_q[log p(x | z)] - KL(q(z | x) || N(0, 1))

is maximised (Kingma & Welling 2014, arXiv:1312.6114). Where both networks are linear its
maximum is probabilistic PCA (Dai et al. 2018; Lucas et al. 2019, arXiv:1911.02469).

Source: arXiv:2506.12230, chapter 17.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn

from statml.compute import generator
from statml.errors import InputError, InputTypeError
from statml.neural.conditional_density import even_normals
from statml.neural.settings import check_widths
from statml.neural.training import Training, isolated_random, train
from statml.uncertainty.contract import one_sentence
from statml.uncertainty.measurement import refuse_arguments, refuse_quantities
from statml.uncertainty.parametric import Gaussian

Array = np.ndarray
# Smallest fitted scatter, in units of a pixel's standard deviation.
LEAST_SCATTER = 1e-3


class CodeNetwork(nn.Module):
    """Encoder and decoder of standardised rows (n, d) with weights of pixels; a code has k numbers."""

    def __init__(self, d: int, k: int, hidden: Sequence[int], outputs: int) -> None:
        super().__init__()
        self.encoder = _layers([2 * d if hidden else d, *hidden, outputs * k])
        self.decoder = _layers([k, *reversed(hidden), d])
        self.log_scatter = nn.Parameter(torch.tensor(math.log(0.3)))
        self.told = bool(hidden)

    def encode(self, x: Tensor, seen: Tensor) -> Tensor:
        """What the encoder says of rows whose missing pixels are 0; a deep one is told which those are."""
        return self.encoder(torch.cat([x, seen], dim=-1) if self.told else x)

    def log_likelihood(self, x: Tensor, seen: Tensor, error: Tensor, z: Tensor) -> Tensor:
        """log p(x | z) of the pixels that were seen, shape (..., n)."""
        variance = error**2 + self.scatter**2
        squares = (x - self.decoder(z)) ** 2 / variance
        return -0.5 * (seen * (squares + torch.log(variance) + math.log(2 * math.pi))).sum(dim=-1)

    @property
    def scatter(self) -> Tensor:
        return LEAST_SCATTER + torch.exp(self.log_scatter)


class Autoencoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """A code of few numbers from which rows are reconstructed.

    Parameters
    ----------
    n_components : int
        k, numbers of a code.
    hidden : sequence of int
        Widths of the encoder's layers, and backwards of the decoder's; () is linear.
    training : Training, optional
        By default at most 300 epochs, a tenth of the rows for validation, patience of 40.
    random_state : int, Generator or None

    Attributes
    ----------
    mean_, scale_ : arrays (d,)
        Of the pixels that were seen; they standardise.
    scatter_ : float
        s, in units of `scale_`: what code and errors leave over.
    network_ : torch.nn.Module
    history_ : History

    Examples
    --------
    >>> from statml.neural import Training
    >>> rng = np.random.default_rng(0)
    >>> angle = rng.uniform(-1.5, 1.5, 600)
    >>> X = np.column_stack([np.sin(angle), np.cos(angle)]) + 0.02 * rng.normal(size=(600, 2))
    >>> settings = Training(epochs=60, batch_size=64, learning_rate=0.01)
    >>> curve = Autoencoder(1, hidden=(32,), training=settings, random_state=0).fit(X)
    >>> bool(np.std(curve.inverse_transform(curve.transform(X)) - X) < 0.1)
    True
    """

    default_training: ClassVar[Training] = Training(
        epochs=300, batch_size=128, learning_rate=2e-3, validation=0.1, patience=40, clip=10.0
    )
    refuses: ClassVar[dict[str, str]] = {
        "X_cov": "its pixels are independent given the code; pass their standard deviations as X_err"
    }
    _outputs: ClassVar[int] = 1

    def __init__(
        self,
        n_components: int = 2,
        *,
        hidden: Sequence[int] = (64, 64),
        training: Training | None = None,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.hidden = hidden
        self.training = training
        self.random_state = random_state

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    # -- fitting -----------------------------------------------------------------------

    def fit(self, X: Any, y: Any = None, *, X_err: Any = None, X_cov: Any = None) -> Any:
        """Train both networks.

        Parameters
        ----------
        X : array (n, d)
            NaN where a pixel is missing.
        y : None
            Not used.
        X_err : float or array (n, d), optional
            Standard deviations; inf where a pixel is missing. Without them the noise is the
            fitted scatter.

        Raises
        ------
        InputError
            A parameter or an error that is not accepted, or a pixel no row has observed.
        """
        settings = self._checked_settings()
        X, error, seen = self._measured(X, X_err, X_cov, fit=True)
        if len(X) < 2:
            raise InputError(f"n_samples={len(X)} is too few to train a network; accepted are 2 or more")
        unseen = np.flatnonzero(~seen.any(axis=0))
        if len(unseen):
            raise InputError(
                f"column {unseen[0]} of X is missing in every row; accepted are columns with data"
            )
        count = seen.sum(axis=0)
        self.mean_ = np.where(seen, X, 0).sum(axis=0) / count
        spread = np.sqrt(np.where(seen, X - self.mean_, 0.0).__pow__(2).sum(axis=0) / count)
        self.scale_ = np.where(spread > 0, spread, 1.0)
        rng = generator(self.random_state)
        with isolated_random(int(rng.integers(2**62))):
            network = CodeNetwork(X.shape[1], int(self.n_components), tuple(self.hidden), self._outputs)
        data = self._tensors(X, error, seen, torch.float32)
        self.history_ = train(network, self._loss, data, settings=settings.for_rows(len(X)), rng=rng)
        self.network_ = network.cpu().double().eval()
        self.scatter_ = float(self.network_.scatter.detach())
        self._n_features_out = int(self.n_components)
        return self

    @staticmethod
    def _loss(module: Any, batch: tuple[Tensor, ...], random: torch.Generator) -> Tensor:
        x, error, seen = batch
        return -module.log_likelihood(x, seen, error, module.encode(x, seen)).mean() / x.shape[1]

    def _tensors(self, X: Array, error: Array, seen: Array, dtype: Any) -> tuple[Tensor, ...]:
        parts = np.where(seen, (X - self.mean_) / self.scale_, 0.0), error / self.scale_, seen
        return tuple(torch.from_numpy(np.ascontiguousarray(part, float)).to(dtype) for part in parts)

    # -- using -------------------------------------------------------------------------

    def transform(self, X: Any, *, X_err: Any = None) -> Array:
        """The code of each row, shape (n, k)."""
        x, _, seen = self._new(X, X_err)
        with torch.no_grad():
            return self.network_.encode(x, seen)[:, : int(self.n_components)].numpy()

    def fit_transform(self, X: Any, y: Any = None, *, X_err: Any = None) -> Array:
        """Fit, then the codes of the same rows."""
        return self.fit(X, X_err=X_err).transform(X, X_err=X_err)

    def inverse_transform(self, codes: Any) -> Array:
        """The rows that codes of shape (n, k) stand for, shape (n, d)."""
        check_is_fitted(self)
        codes = np.asarray(codes, float)
        if codes.ndim != 2 or codes.shape[1] != self.n_components:
            raise InputError(f"codes has shape {codes.shape}; accepted is (n, {self.n_components})")
        with torch.no_grad():
            return self.mean_ + self.scale_ * self.network_.decoder(torch.from_numpy(codes)).numpy()

    def reconstruct(self, X: Any, *, X_err: Any = None) -> Array:
        """Every pixel as the code has it, missing or not, shape (n, d)."""
        return self.inverse_transform(self.transform(X, X_err=X_err))

    # -- input --------------------------------------------------------------------------

    def _new(self, X: Any, X_err: Any) -> tuple[Tensor, ...]:
        check_is_fitted(self)
        return self._tensors(*self._measured(X, X_err, None, fit=False), torch.float64)

    def _measured(self, X: Any, X_err: Any, X_cov: Any, *, fit: bool) -> tuple[Array, Array, Array]:
        """X, its errors (0 where none are given) and which pixels were seen."""
        refuse_arguments(self, "fit", self.refuses, X_cov=X_cov)
        refuse_quantities(X=X, X_err=X_err)
        with one_sentence():
            X = validate_data(self, X, reset=fit, dtype=np.float64, ensure_all_finite="allow-nan")
        try:
            error = np.asarray(0.0 if X_err is None else X_err, float)
        except (TypeError, ValueError) as problem:
            raise InputTypeError(
                "X_err holds no numbers; accepted is a number or an array (n, d)"
            ) from problem
        if error.ndim and error.shape != X.shape:
            raise InputError(f"X_err has shape {error.shape}; accepted is a number or {X.shape}")
        error = np.broadcast_to(error, X.shape)
        if np.any(np.isnan(error) & np.isfinite(X)) or np.any(error < 0):
            raise InputError(
                "X_err contains NaN or negative values; accepted are values >= 0, inf where missing"
            )
        seen = np.isfinite(X) & np.isfinite(error)
        return X, np.where(seen, error, 1.0), seen

    def _checked_settings(self) -> Training:
        if not isinstance(self.n_components, int | np.integer) or self.n_components < 1:
            raise InputError(f"n_components is {self.n_components!r}; accepted is an int >= 1")
        check_widths(self.hidden)
        if self.training is None:
            return self.default_training
        if not isinstance(self.training, Training):
            raise InputTypeError(f"training is a {type(self.training).__name__}; accepted is a Training")
        return self.training


class VariationalAutoencoder(Autoencoder):
    """An autoencoder that is a probability density: codes are normal, rows have a likelihood and can be drawn.

    Parameters
    ----------
    n_components, hidden, training, random_state
        As in `Autoencoder`.

    Attributes
    ----------
    mean_, scale_, scatter_, network_, history_
        As in `Autoencoder`.

    See Also
    --------
    statml.decomposition.ProbabilisticPCA : what it is with ``hidden=()``.

    Examples
    --------
    >>> from statml.neural import Training
    >>> X = np.random.default_rng(0).normal(size=(400, 1)) * [2.0, 1.0, 1.0]
    >>> X = X + 0.1 * np.random.default_rng(1).normal(size=X.shape)
    >>> settings = Training(epochs=100, batch_size=64, learning_rate=0.02)
    >>> model = VariationalAutoencoder(1, hidden=(), training=settings, random_state=0).fit(X)
    >>> model.sample(2000, rng=0).std(axis=0).round(0)
    array([2., 1., 1.])
    """

    _outputs: ClassVar[int] = 2

    @staticmethod
    def _loss(module: Any, batch: tuple[Tensor, ...], random: torch.Generator) -> Tensor:
        x, error, seen = batch
        center, log_std = _posterior(module, x, seen)
        normal = torch.randn(center.shape, generator=random, device=x.device, dtype=x.dtype)
        z = center + log_std.exp() * normal
        return -(module.log_likelihood(x, seen, error, z) - _divergence(center, log_std)).mean() / x.shape[1]

    def transform_dist(self, X: Any, *, X_err: Any = None) -> Gaussian:
        """The approximate posterior of the codes, as (n k) normals in the order of rows.

        Returns
        -------
        Gaussian
            ``mean.reshape(n, k)`` are the codes.
        """
        x, _, seen = self._new(X, X_err)
        with torch.no_grad():
            center, log_std = _posterior(self.network_, x, seen)
        return Gaussian(center.numpy().ravel(), log_std.exp().numpy().ravel())

    def score_samples(self, X: Any, *, X_err: Any = None, draws: int = 64, rng: Any = 0) -> Array:
        """Log likelihood of the observed pixels of each row, shape (n,), by importance sampling.

        A lower bound on average, that rises to the log likelihood with `draws` (Burda, Grosse &
        Salakhutdinov 2016, arXiv:1509.00519).
        """
        x, error, seen = self._new(X, X_err)
        if draws < 2:
            raise InputError(f"draws is {draws}; accepted is an int >= 2")
        # The same draws for every row: a likelihood does not depend on the company of its row.
        seed = int(generator(rng).integers(2**31))
        normals = torch.from_numpy(even_normals(draws, int(self.n_components), seed))
        with torch.no_grad():
            center, log_std = _posterior(self.network_, x, seen)
            total = torch.full((len(x),), -math.inf, dtype=torch.float64)
            for normal in normals:
                z = center + log_std.exp() * normal
                # log p(z) - log q(z): the constants of both normals cancel
                ratio = (0.5 * (normal**2 - z**2) + log_std).sum(dim=-1)
                total = torch.logaddexp(total, self.network_.log_likelihood(x, seen, error, z) + ratio)
        units = np.where(seen.numpy() > 0, np.log(self.scale_), 0.0).sum(axis=1)
        return total.numpy() - math.log(draws) - units

    def score(self, X: Any, y: Any = None, *, X_err: Any = None) -> float:
        """Mean log likelihood of a row."""
        return float(np.mean(self.score_samples(X, X_err=X_err)))

    def sample(self, n_samples: int = 1, *, rng: Any = None) -> Array:
        """Rows from the model, scatter included, shape (n_samples, d)."""
        check_is_fitted(self)
        rng = generator(rng)
        rows = self.inverse_transform(rng.standard_normal((n_samples, int(self.n_components))))
        return rows + self.scatter_ * self.scale_ * rng.standard_normal(rows.shape)


def _posterior(module: Any, x: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log standard deviation of q(z | x)."""
    center, log_std = module.encode(x, seen).chunk(2, dim=-1)
    return center, log_std.clamp(-9.0, 3.0)


def _divergence(center: Tensor, log_std: Tensor) -> Tensor:
    """KL(N(center, std^2) || N(0, 1)) of each row."""
    return 0.5 * (center**2 + (2 * log_std).exp() - 1 - 2 * log_std).sum(dim=-1)


def _layers(widths: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for into, out in pairwise(widths):
        linear = nn.Linear(into, out)
        nn.init.zeros_(linear.bias)  # the first reconstruction is near the mean
        layers += [linear, nn.SiLU()]
    return nn.Sequential(*layers[:-1])
