"""What a Markov chain sampler returns: the draws, and how they were obtained."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from statml.errors import InputError, MissingExtraError
from statml.sampling import diagnostics
from statml.sampling.checkpoint import write_npz
from statml.sampling.evidence import LogEvidence, stepping_stone, thermodynamic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = np.ndarray
DEPENDENT = (
    "the chains are walkers of one ensemble and depend on each other, so R-hat and effective sizes that "
    "count them as separate experiments do not apply; compare runs from different starts instead"
)


@dataclass(frozen=True, eq=False, repr=False)
class Chain:
    """Draws of several chains, or walkers.

    Attributes
    ----------
    draws : array (chains, draws, parameters)
    names : tuple of str
        Of the parameters.
    log_prob : array (chains, draws)
    statistics : dict of arrays (chains, draws, ...)
        How each step went. All: ``accepted``, or for Hamiltonian samplers
        ``acceptance_rate``, ``diverging``, ``n_steps``, ``step_size``, ``energy`` and
        (NUTS) ``tree_depth``; for tempering ``log_likelihood`` at all temperatures.
    dependent : bool
        The chains are walkers of one ensemble.
    sampler : str
    temperatures : array or None
        Of a tempered run.

    Notes
    -----
    ``chain["name"]`` are the draws (chains, draws) of a parameter; ``chain[2:, 100:]`` is the
    chain without its first two chains and the first hundred draws of the others.
    """

    draws: Array
    names: tuple[str, ...]
    log_prob: Array
    statistics: dict[str, Array]
    dependent: bool = False
    sampler: str = ""
    temperatures: Array | None = None

    def __post_init__(self) -> None:
        if self.draws.ndim != 3 or len(self.names) != self.draws.shape[2]:
            raise InputError(
                f"draws has shape {self.draws.shape} and there are {len(self.names)} names; accepted is "
                "(chains, draws, parameters) with a name for each parameter"
            )
        if self.log_prob.shape != self.draws.shape[:2]:
            raise InputError(
                f"log_prob has shape {self.log_prob.shape}; accepted is {self.draws.shape[:2]}, as draws has"
            )

    def __repr__(self) -> str:
        chains, draws, parameters = self.draws.shape
        return f"Chain({self.sampler}: {chains} chains, {draws} draws, {parameters} parameters)"

    def __len__(self) -> int:
        return len(self.draws)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            return self.draws[:, :, self._place(key)]
        chains, draws = key if isinstance(key, tuple) and len(key) == 2 else (key, slice(None))
        if not isinstance(draws, slice) or not isinstance(chains, slice | int | list | np.ndarray):
            raise InputError(f"index is {key!r}; accepted are a name, chains, or chains and a slice of draws")
        if isinstance(chains, int):
            if not -len(self) <= chains < len(self):
                raise IndexError(f"chain {chains} of {len(self)} does not exist")
            chains = slice(chains, chains + 1 or None)

        def cut(x: Array) -> Array:
            return x[chains][:, draws]

        return replace(
            self,
            draws=cut(self.draws),
            log_prob=cut(self.log_prob),
            statistics={name: cut(value) for name, value in self.statistics.items()},
        )

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """`draws`: what NumPy and the diagnostics see of a chain."""
        return np.array(self.draws, dtype=dtype, copy=copy)

    def _place(self, name: str) -> int:
        if name not in self.names:
            raise InputError(f"there is no parameter {name!r}; accepted are {', '.join(self.names)}")
        return self.names.index(name)

    @property
    def flat(self) -> Array:
        """All draws together, shape (chains * draws, parameters)."""
        return self.draws.reshape(-1, self.draws.shape[2])

    @property
    def divergences(self) -> int:
        """Trajectories that the leapfrog lost; 0 for samplers without any."""
        return int(np.sum(self.statistics.get("diverging", 0)))

    @property
    def acceptance(self) -> float:
        """Mean share of accepted proposals; 1 for Gibbs."""
        for name in ("acceptance_rate", "accepted"):
            if name in self.statistics:
                return float(np.mean(self.statistics[name]))
        return 1.0

    def rhat(self) -> Array:
        """Rank-normalised split R-hat of each parameter; warns where the chains are dependent walkers."""
        if self.dependent:
            warnings.warn(DEPENDENT, UserWarning, stacklevel=2)
        return diagnostics.rhat(self.draws)

    def ess(self, kind: str = "bulk") -> Array:
        """Effective number of draws of each parameter.

        For independent chains `statml.sampling.diagnostics.ess`; for dependent walkers the
        number of draws over the ensemble's integrated autocorrelation time, whatever the kind.
        """
        if not self.dependent:
            return diagnostics.ess(self.draws, kind=kind)
        return self.draws.shape[0] * self.draws.shape[1] / self.autocorrelation_time()

    def autocorrelation_time(self) -> Array:
        """Integrated autocorrelation time of each parameter, in steps."""
        return np.maximum(diagnostics.autocorrelation_time(self.draws), 1.0)

    def transformed(self, function: Callable[[Array], Array], names: Sequence[str]) -> Chain:
        """The chain of a function of the parameters, for example of constrained ones.

        Parameters
        ----------
        function : callable
            (..., parameters) to (..., len(names)).
        names : sequence of str
        """
        values = np.asarray(function(self.draws), float)
        return replace(self, draws=values, names=tuple(names))

    def log_evidence(self, method: str = "stepping_stone") -> LogEvidence:
        """Log of the integral of prior times likelihood, of a run of `Tempering`.

        Parameters
        ----------
        method : {"stepping_stone", "thermodynamic"}

        Raises
        ------
        InputError
            The run was not tempered, or its ladder does not reach the prior.
        """
        methods = {"stepping_stone": stepping_stone, "thermodynamic": thermodynamic}
        if method not in methods:
            raise InputError(f"method is {method!r}; accepted are 'stepping_stone' and 'thermodynamic'")
        if self.temperatures is None:
            raise InputError(f"the chain is of {self.sampler}; accepted for log_evidence is one of Tempering")
        return methods[method](self.statistics["log_likelihood"], self.temperatures, self.dependent)

    def to_inference_data(self) -> Any:
        """The draws for ArviZ: an InferenceData (0.x) or DataTree (1.x) with posterior and sample_stats.

        Raises
        ------
        MissingExtraError
            ArviZ is not installed.
        """
        try:
            import arviz
        except ImportError as error:
            raise MissingExtraError("to_inference_data needs arviz: pip install 'statml[bayes]'") from error
        groups: dict[str, Any] = {
            "posterior": {name: self[name] for name in self.names},
            "sample_stats": {"lp": self.log_prob, **self.statistics},
        }
        attributes = {"sampler": self.sampler, "dependent_chains": int(self.dependent)}
        if int(arviz.__version__.split(".")[0]) >= 1:
            data = arviz.from_dict(groups)
        else:
            data = arviz.from_dict(**groups)
        data["posterior"].attrs.update(attributes)
        return data

    def save(self, path: str | Path) -> None:
        """Write an npz; all or nothing."""
        arrays = {
            "draws": self.draws,
            "names": np.array(self.names),
            "log_prob": self.log_prob,
            "dependent": np.array(self.dependent),
            "sampler": np.array(self.sampler),
        }
        if self.temperatures is not None:
            arrays["temperatures"] = self.temperatures
        arrays |= {f"statistics/{name}": value for name, value in self.statistics.items()}
        write_npz(Path(path), arrays)

    @classmethod
    def load(cls, path: str | Path) -> Chain:
        """Read what `save` wrote.

        Raises
        ------
        InputError
            The file is none of ours.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            return cls(
                draws=arrays["draws"],
                names=tuple(str(name) for name in arrays["names"]),
                log_prob=arrays["log_prob"],
                statistics={
                    name.removeprefix("statistics/"): value
                    for name, value in arrays.items()
                    if name.startswith("statistics/")
                },
                dependent=bool(arrays["dependent"]),
                sampler=str(arrays["sampler"]),
                temperatures=arrays.get("temperatures"),
            )
        except FileNotFoundError:
            raise InputError(
                f"path is {path}, where there is no file; accepted is one that Chain.save wrote"
            ) from None
        except (OSError, ValueError, KeyError) as error:
            raise InputError(
                f"path is {path}, which is no saved chain ({type(error).__name__}); accepted is a file that "
                "Chain.save wrote"
            ) from error

    def summary(self) -> Any:
        """Table with one row for each parameter: mean, sd, errors of both, quantiles, effective sizes, R-hat.

        For dependent walkers R-hat is NaN, and effective sizes are those of the ensemble.
        """
        from statml.sampling.summary import summary

        return summary(self)

    def figure(self) -> Figure:
        """Traces and rank plots, one row for each parameter."""
        from statml.sampling.pictures import trace_and_ranks

        return trace_and_ranks(self)
