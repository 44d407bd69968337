"""Errors of X through pipelines: exact for affine steps, by Jacobian for bases, refused for others."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestRegressor
from sklearn.feature_selection import SelectKBest, f_regression
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)

from statml.errors import InputError, InputTypeError
from statml.regression import ErrorsInVariables, LinearRegression, PolynomialBasis
from statml.uncertainty import ConformalRegressor, CovarianceStack, cross_predict_dist, predict_dist
from statml.uncertainty.propagation import propagate


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(8)
    X = rng.normal(size=(120, 3)) * [1.0, 10.0, 0.1] + [5.0, -3.0, 0.0]
    y = X @ [1.0, -0.2, 4.0] + 0.3 * rng.normal(size=120)
    return X, y, np.abs(X) * 0.05


def dense(rng, n, d):
    roots = rng.normal(size=(n, d, d))
    return CovarianceStack.dense(roots @ roots.transpose(0, 2, 1))


@pytest.mark.parametrize(
    "transformer",
    [
        StandardScaler(),
        StandardScaler(with_std=False),
        RobustScaler(),
        RobustScaler(with_scaling=False),
        MinMaxScaler((-1, 2)),
        MaxAbsScaler(),
        PCA(2),
        PCA(whiten=True),
        SelectKBest(f_regression, k=2),
        make_pipeline(StandardScaler(), PCA(2)),
        "passthrough",
        None,
    ],
    ids=lambda step: type(step).__name__,
)
def test_affine_steps_are_exact(transformer, data):
    """z = M x + c: M found from differences of what the step itself returns."""
    X, y, err = data
    if hasattr(transformer, "fit"):
        transformer.fit(X, y)
    change = transformer.transform if hasattr(transformer, "fit") else lambda rows: rows
    M = np.column_stack([change(X[:1] + axis)[0] - change(X[:1])[0] for axis in np.eye(3)])
    for stack in (CovarianceStack.from_std(err), dense(np.random.default_rng(0), len(X), 3)):
        Z, errors = propagate(transformer, X, stack)
        assert_allclose(Z, change(X))
        assert_allclose(errors.to_dense(), M @ stack.to_dense() @ M.T, rtol=1e-8, atol=1e-12)


def test_a_chain_of_steps_is_one_step(data):
    """Scaled, rotated, then bent: the Jacobians multiply."""
    X, y, err = data
    model = make_pipeline(StandardScaler(), PCA(2), PolynomialBasis(2), LinearRegression())
    # Known so well that tr(S cov(b)), which comes from slopes being uncertain, is nothing.
    model.fit(X, y, linearregression__y_err=1e-6)
    p = predict_dist(model, X, X_err=err)
    step = 1e-6
    slopes = np.column_stack(
        [(model.predict(X + step * axis) - model.predict(X - step * axis)) / (2 * step) for axis in np.eye(3)]
    )
    by_slope = np.sum(slopes**2 * err**2, axis=1)
    assert_allclose(p.variance_components["input"], by_slope, rtol=1e-5)


def test_other_steps_are_named(data):
    X, y, err = data
    for step, name in (
        (QuantileTransformer(n_quantiles=20), "QuantileTransformer"),
        (MinMaxScaler(clip=True), "MinMaxScaler"),
    ):
        model = make_pipeline(step, LinearRegression()).fit(X, y)
        assert len(predict_dist(model, X, y_err=0.1)) == len(y)
        with pytest.raises(InputError, match=f"X_err or X_cov cannot pass through {name}") as caught:
            predict_dist(model, X, X_err=err)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="X_err has 119 rows"):
        predict_dist(make_pipeline(StandardScaler(), LinearRegression()).fit(X, y), X, X_err=err[1:])
    with pytest.raises(InputTypeError, match="no predict_dist"):
        predict_dist(make_pipeline(StandardScaler(), RandomForestRegressor(2)).fit(X, y), X, X_err=err)


def test_held_out_predictions_with_errors_of_x(data):
    """Least squares takes X as exact in the fit; the held-out rows have their errors."""
    X, y, err = data
    cv = KFold(3)
    model = make_pipeline(PolynomialBasis(2), LinearRegression())
    p = cross_predict_dist(model, pd.DataFrame(X, columns=list("abc")), y, cv=cv, X_err=err, y_err=0.3)
    for train, test in cv.split(X):
        basis = PolynomialBasis(2).fit(X[train])
        line = LinearRegression().fit(basis.transform(X[train]), y[train], y_err=0.3)
        features, stack = basis.propagate(X[test], X_err=err[test])
        expected = line.predict_dist(features, X_cov=stack, y_err=0.3)
        assert_allclose(p.mean[test], expected.mean, rtol=1e-9)
        assert_allclose(p.std[test], expected.std, rtol=1e-9)
    alone = cross_predict_dist(LinearRegression(), X, y, cv=cv, X_err=err)
    assert np.all(alone.variance_components["input"] > 0)


def test_a_method_that_uses_errors_of_x_gets_them_transformed(data):
    """York's line on a scaled feature is York's line: nothing is left in the wrong units."""
    X, y, err = data
    X, err = 40 * X[:, :1], 40 * err[:, :1]
    cv = KFold(3)
    scaled = make_pipeline(StandardScaler(), ErrorsInVariables())
    p = cross_predict_dist(scaled, X, y, cv=cv, X_err=err, y_err=2.0)
    expected = cross_predict_dist(ErrorsInVariables(), X, y, cv=cv, X_err=err, y_err=2.0)
    assert_allclose(p.mean, expected.mean, rtol=1e-6)
    assert_allclose(p.std, expected.std, rtol=1e-5)
    conformal = ConformalRegressor(scaled, random_state=0).fit(X, y, X_err=err, y_err=2.0)
    plain = ConformalRegressor(ErrorsInVariables(), random_state=0).fit(X, y, X_err=err, y_err=2.0)
    assert_allclose(
        conformal.predict_dist(X, X_err=err).ppf(0.3), plain.predict_dist(X, X_err=err).ppf(0.3), rtol=1e-5
    )


def test_what_cannot_reach_the_last_step_is_refused(data):
    X, y, err = data
    scaled = make_pipeline(StandardScaler(), ErrorsInVariables())
    with pytest.raises(InputError, match="xy_cov cannot pass through"):
        cross_predict_dist(scaled, X, y, X_err=err, y_err=0.3, xy_cov=0 * X)
    search = GridSearchCV(scaled, {"standardscaler__with_mean": [True, False]})
    with pytest.raises(InputError, match="X_err cannot pass through a search"):
        cross_predict_dist(search, X, y, X_err=err, y_err=0.3)


# -- stacks kept as factors ----------------------------------------------------------------------


def test_a_stack_of_factors_is_the_stack_of_their_products():
    rng = np.random.default_rng(1)
    factors = rng.normal(size=(7, 5, 2))
    stack = CovarianceStack.from_factors(factors)
    plain = CovarianceStack.dense(factors @ factors.transpose(0, 2, 1))
    matrix, a = rng.normal(size=(5, 5)), rng.normal(size=(4, 5))
    assert stack.shape == (7, 5, 5) and len(stack) == 7
    for one, other in (
        (stack, plain),
        (stack[2:5], plain[2:5]),
        (stack[3], plain[3]),
        (stack.transformed(matrix[:3]), plain.transformed(matrix[:3])),
        (stack.transformed(a[0]), plain.transformed(a[0])),
    ):
        assert_allclose(one.to_dense(), other.to_dense(), atol=1e-10)
    assert_allclose(stack.project(a), plain.project(a))
    assert_allclose(stack.project(a[0]), plain.project(a[0]))
    assert_allclose(stack.trace_with(matrix), plain.trace_with(matrix))
    assert_allclose(stack.times(a[0]), plain.times(a[0]))
    assert_allclose(stack.weighted_sum(np.arange(7.0)), plain.weighted_sum(np.arange(7.0)))
    with pytest.raises(InputError, match=r"factors has shape \(5, 2\)"):
        CovarianceStack.from_factors(factors[0])
    with pytest.raises(InputError, match="factors contains NaN"):
        CovarianceStack.from_factors(factors * np.nan)
