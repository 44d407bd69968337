"""Do the 68 and 95 % intervals of every regressor hold, and does the same check see when they cannot?

Data are simulated from each estimator's own model, with new slopes every time. Counted are
the first slope (once for each fit) and twenty new observed values. A check passes where both
levels of both counts lie within 3 sigma, exactly binomial: each is wrong with probability
0.27 %, so a calibrated estimator is flagged with at most 1.1 %. The twenty values of one
fit share its parameter error, 3 % of their variance; to fall inside an interval or not, they
share the square of that, which the binomial leaves out.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from statml.regression import (
    BayesianLinearRegression,
    ErrorsInVariables,
    LinearRegression,
    NormalInverseGammaRegression,
    RidgeRegression,
    RobustRegression,
)
from statml.regression.errors_in_variables.orthogonal import Orthogonal
from statml.uncertainty.calibration import COVERAGE_ALPHA, coverage_pvalue

N, NEW = 100, 20
LEVELS = (0.68, 0.95)


@dataclass(frozen=True)
class Truth:
    """What is simulated: y = 1 + X b + noise(err), x measured with X_err."""

    noise: Callable[[Any, Any, Any], Any]
    X_err: float = 0.0
    curvature: float = 0.0
    slope_width: float = 1.0

    def draw(self, rng, n, slopes):
        xi, err = rng.normal(size=(n, 2)) * 2, rng.uniform(0.5, 1.5, n)
        line = 1 + xi @ slopes + self.curvature * (xi[:, 0] ** 2 - 4)
        return xi + self.X_err * rng.normal(size=xi.shape), self.noise(rng, line, err), err


def normal(scatter=0.0):
    return lambda rng, line, err: line + np.hypot(err, scatter) * rng.normal(size=len(err))


def scaled(rng, line, err):
    return line + 1.7 * err * rng.normal(size=len(err))


def heavy(rng, line, err):
    return line + err * rng.standard_t(4, len(err))


def contaminated(rng, line, err):
    bad = 10 + np.hypot(err, 5) * rng.normal(size=len(err))
    return np.where(rng.random(len(err)) < 0.15, bad, line + err * rng.normal(size=len(err)))


@dataclass(frozen=True)
class Case:
    """An estimator on data: what it is told of the errors, and how many fits the fast test makes."""

    estimator: Any
    truth: Truth
    fits: int = 300
    told: float = 1.0
    errors_of_x: bool = False
    rows: int = N

    def ranks(self, fits, seed=0):
        """F(truth) of the slope (fits,) and of new observed values (20 fits,)."""
        rng = np.random.default_rng(seed)
        slope, new = [], []
        for _ in range(fits):
            slopes = self.truth.slope_width * rng.normal(size=2)
            X, y, err = self.truth.draw(rng, self.rows, slopes)
            of_x = {"X_err": self.told * self.truth.X_err} if self.errors_of_x else {}
            model = self.estimator.fit(X, y, y_err=self.told * err, **of_x)
            slope.append(stats.norm.cdf((slopes[0] - model.coef_[0]) / model.coef_err_[0]))
            X, y, err = self.truth.draw(rng, NEW, slopes)
            new.append(model.predict_dist(X, y_err=self.told * err, **of_x).cdf(y))
        return np.array(slope), np.concatenate(new)


def misses(ranks):
    """One sentence for each level that is not met within 3 sigma."""
    found = []
    for name, u in zip(("slope", "new values"), ranks):
        for level in LEVELS:
            inside = int(np.sum(np.abs(u - 0.5) < level / 2))
            if coverage_pvalue(inside, len(u), level) < COVERAGE_ALPHA:
                found.append(f"{level:.0%} intervals of the {name} cover {inside / len(u):.1%} of {len(u)}")
    return found


MIXTURE = RobustRegression(method="mixture", random_state=0)
STUDENT = RobustRegression(random_state=0)
YORK = ErrorsInVariables("york")
ORTHOGONAL = ErrorsInVariables(Orthogonal())
IN_X = Truth(normal(), X_err=0.7)

# The prior that the penalty is: variance 1 / alpha of slopes, for errors that are known.
RIDGE = RidgeRegression(1 / 0.2**2, standardise=False)

OWN_MODEL = {
    "WLS": Case(LinearRegression(), Truth(normal())),
    "WLS, relative errors": Case(LinearRegression(absolute_errors=False), Truth(scaled)),
    "ridge, its own prior": Case(RIDGE, Truth(normal(), slope_width=0.2)),
    "ridge, evidence, relative": Case(RidgeRegression("evidence", absolute_errors=False), Truth(scaled)),
    "Bayes with scatter": Case(BayesianLinearRegression(), Truth(normal(0.7)), fits=100),
    "normal-inverse-gamma": Case(NormalInverseGammaRegression(), Truth(scaled), fits=100),
    "robust, Student t": Case(STUDENT, Truth(heavy), fits=100),
    "robust, mixture": Case(MIXTURE, Truth(contaminated), fits=80),
    "York": Case(YORK, IN_X, errors_of_x=True, fits=80),
    "orthogonal": Case(ORTHOGONAL, IN_X, errors_of_x=True, fits=60),
}

WRONG = {
    "WLS, errors 20 % too small": Case(LinearRegression(), Truth(normal()), told=0.8),
    "WLS, errors 20 % too large": Case(LinearRegression(), Truth(normal()), told=1.2),
    "ridge, errors 20 % too small": Case(RIDGE, Truth(normal(), slope_width=0.2), told=0.8),
    # A fitted scatter makes up for errors that are too small, and cannot for those too large.
    "Bayes, errors 20 % too large": Case(BayesianLinearRegression(), Truth(normal()), fits=50, told=1.2),
    "Student t, errors 20 % too large": Case(STUDENT, Truth(normal()), fits=60, told=1.2),
    "mixture, errors 20 % too small": Case(MIXTURE, Truth(contaminated), fits=50, told=0.8),
    "York, errors 20 % too small": Case(YORK, IN_X, errors_of_x=True, fits=50, told=0.8),
    "WLS, outliers": Case(LinearRegression(), Truth(contaminated)),
    "Bayes, outliers": Case(BayesianLinearRegression(), Truth(contaminated), fits=40),
    "relative errors, outliers": Case(LinearRegression(absolute_errors=False), Truth(contaminated)),
    "WLS, missing curvature": Case(LinearRegression(), Truth(normal(), curvature=0.15)),
    "Bayes, missing curvature": Case(BayesianLinearRegression(), Truth(normal(), curvature=0.5), fits=50),
    "WLS, x with errors": Case(LinearRegression(), IN_X),
    "York, told of half the errors": Case(YORK, IN_X, errors_of_x=True, fits=40, told=0.5),
    # Known weakness of a penalty that is a point estimate: two weak slopes do not determine it.
    "ridge, gcv of two weak slopes": Case(RidgeRegression(), Truth(normal(), slope_width=0.2)),
}


@pytest.mark.parametrize("name", OWN_MODEL)
def test_intervals_hold_on_data_of_the_own_model(name):
    case = OWN_MODEL[name]
    assert not misses(case.ranks(case.fits))


@pytest.mark.parametrize("name", WRONG)
def test_the_same_check_sees_what_is_wrong(name):
    case = WRONG[name]
    assert misses(case.ranks(case.fits))


THOUSAND = OWN_MODEL | {"robust, mixture": replace(OWN_MODEL["robust, mixture"], rows=400)}


@pytest.mark.slow
@pytest.mark.parametrize("name", THOUSAND)
def test_intervals_hold_with_a_thousand_fits(name, record_property):
    ranks = THOUSAND[name].ranks(1000, seed=1)
    for what, u in zip(("slope", "new"), ranks):
        for level in LEVELS:
            record_property(f"{what}_{level}", covered(u, level))
    assert not misses(ranks)


@pytest.mark.slow
def test_the_mixture_is_a_little_narrow_with_fifteen_outliers(record_property):
    """The documented weakness: what fifteen rows say of the outliers' place is taken as known."""
    slope, new = OWN_MODEL["robust, mixture"].ranks(1000, seed=1)
    record_property("new_0.95", covered(new, 0.95))
    assert 0.935 < covered(new, 0.95) < 0.95
    assert misses((slope, new))  # when this passes, take the note in the class away
    assert not misses((slope, slope))


def covered(u, level):
    return float(np.mean(np.abs(u - 0.5) < level / 2))


def test_relative_errors_do_not_care():
    """A fitted scale takes up any factor: told 0.8 of the errors it stays calibrated, by design."""
    case = Case(LinearRegression(absolute_errors=False), Truth(normal()), told=0.8)
    assert not misses(case.ranks(300))
