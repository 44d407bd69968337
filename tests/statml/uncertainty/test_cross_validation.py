"""Errors are cut with the rows: in our own cross-validation and in scikit-learn's."""

import pickle
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import sklearn
from numpy.testing import assert_allclose
from sklearn.linear_model import LinearRegression as PlainRegression
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    ShuffleSplit,
    cross_val_score,
    cross_validate,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from statml.errors import InputError, InputTypeError
from statml.regression import BayesianLinearRegression, LinearRegression
from statml.uncertainty import (
    ConformalRegressor,
    Covariance,
    coverage,
    coverage_scorer,
    covered_fraction,
    cross_predict_dist,
    crps,
    log_score,
    predict_dist,
)

CV = KFold(4, shuffle=True, random_state=1)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    n = 60
    X, err = rng.normal(size=(n, 2)), rng.uniform(0.2, 3.0, n)
    modes = rng.normal(size=(n, 2))
    dense = np.diag(err**2) + modes @ modes.T
    y = 1 + X @ [2.0, -1.0] + rng.multivariate_normal(np.zeros(n), dense)
    return X, y, err, dense, modes


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def error_forms(data):
    _, _, err, dense, modes = data
    return {
        "y_err": ({"y_err": err}, lambda rows: {"y_err": err[rows]}),
        "list": ({"y_err": list(err)}, lambda rows: {"y_err": err[rows]}),
        "number": ({"y_err": 0.5}, lambda rows: {"y_err": 0.5}),
        "dense": (
            {"y_cov": Covariance.dense(dense)},
            lambda rows: {"y_cov": Covariance.dense(dense[np.ix_(rows, rows)])},
        ),
        "low rank": (
            {"y_cov": Covariance.low_rank(err**2, modes)},
            lambda rows: {"y_cov": Covariance.low_rank(err[rows] ** 2, modes[rows])},
        ),
    }


FORMS = ("y_err", "list", "number", "dense", "low rank")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("observed", [True, False])
def test_cross_predict_dist_is_the_loop_by_hand(data, form, observed):
    X, y, *_ = data
    given, by_hand = error_forms(data)[form]
    p = cross_predict_dist(LinearRegression(), X, y, cv=CV, observed=observed, **given)
    assert len(p) == len(y)
    for train, test in CV.split(X):
        model = LinearRegression().fit(X[train], y[train], **by_hand(train))
        expected = model.predict_dist(X[test], **(by_hand(test) if observed else {}))
        assert_allclose(p.mean[test], expected.mean, rtol=1e-10)
        assert_allclose(p.std[test], expected.std, rtol=1e-10)
        assert_allclose(p.log_prob(y)[test], expected.log_prob(y[test]), rtol=1e-9)
        assert_allclose(
            p.variance_components["noise"][test], expected.variance_components["noise"], rtol=1e-10
        )


def test_groups_stay_together(data):
    X, y, err, *_ = data
    groups = np.arange(60) // 6
    p = cross_predict_dist(LinearRegression(), X, y, cv=GroupKFold(5), groups=groups, y_err=err)
    for train, test in GroupKFold(5).split(X, y, groups):
        assert_allclose(
            p.mean[test], LinearRegression().fit(X[train], y[train], y_err=err[train]).predict(X[test])
        )


def test_errors_of_x_and_pandas_rows(data):
    X, y, err, *_ = data
    frame = pd.DataFrame(X, columns=["bp_rp", "g_rp"])
    X_err = np.abs(X) * 0.1

    class Exact(LinearRegression):
        """Least squares that says its fit can use the errors of X, and leaves them to the prediction."""

        fit_refuses: ClassVar = {}

        def fit(self, X, y, *, X_err=None, y_err=None, X_cov=None, y_cov=None, xy_cov=None):
            assert X_err is not None and len(X_err) == len(y)
            return super().fit(X, y, y_err=y_err)

    p = cross_predict_dist(Exact(), frame, pd.Series(y), cv=CV, y_err=err, X_err=X_err)
    for train, test in CV.split(X):
        model = LinearRegression().fit(X[train], y[train], y_err=err[train])
        expected = model.predict_dist(X[test], y_err=err[test], X_err=X_err[test])
        assert_allclose(p.std[test], expected.std, rtol=1e-10)


@pytest.mark.parametrize(
    ("wrong", "error", "sentence"),
    [
        ({"y_err": np.ones(61)}, InputError, r"y_err has shape \(61,\)"),
        ({"y_err": np.ones(59)}, InputError, r"y_err has shape \(59,\)"),
        ({"y_cov": Covariance.from_std(np.ones(50))}, InputError, r"y_cov has shape \(50, 50\)"),
        ({"sigma": 1.0}, InputTypeError, "sigma is not an error argument; accepted are X_err"),
        ({"cv": ShuffleSplit(3)}, InputError, "every row exactly once"),
    ],
)
def test_refusals(data, wrong, error, sentence):
    X, y, *_ = data
    with pytest.raises(error, match=sentence) as caught:
        cross_predict_dist(LinearRegression(), X, y, **({"cv": CV} | wrong))
    assert "\n" not in str(caught.value)


def test_units_are_not_dropped(data):
    import astropy.units as u

    X, y, *_ = data
    for arguments in ((X * u.km, y), (X, y * u.K)):
        with pytest.raises(InputTypeError, match="QuantityEstimator"):
            cross_predict_dist(LinearRegression(), *arguments, cv=CV)


# -- pipelines and searches ------------------------------------------------------------------------------


def pipeline():
    line = LinearRegression()
    return Pipeline(
        [("poly", PolynomialFeatures(2, include_bias=False)), ("scale", StandardScaler()), ("line", line)]
    )


@pytest.mark.parametrize("form", ["y_err", "dense"])
def test_pipeline(data, form):
    X, y, *_ = data
    given, by_hand = error_forms(data)[form]
    p = cross_predict_dist(pipeline(), X, y, cv=CV, **given)
    for train, test in CV.split(X):
        model = pipeline().fit(X[train], y[train], **{f"line__{k}": v for k, v in by_hand(train).items()})
        expected = model[-1].predict_dist(model[:-1].transform(X[test]), **by_hand(test))
        assert_allclose(p.mean[test], expected.mean, rtol=1e-9)
        assert_allclose(p.std[test], expected.std, rtol=1e-9)


@pytest.mark.parametrize("form", ["y_err", "dense"])
@pytest.mark.parametrize("wrap", ["search over pipeline", "pipeline of search", "conformal pipeline"])
def test_compositions_pass_errors_to_the_last_step(data, form, wrap):
    X, y, *_ = data
    given, _ = error_forms(data)[form]
    grid = {"absolute_errors": [True]}
    if wrap == "search over pipeline":
        model = GridSearchCV(pipeline(), {f"line__{k}": v for k, v in grid.items()}, cv=3)
    elif wrap == "pipeline of search":
        model = make_pipeline(StandardScaler(), GridSearchCV(LinearRegression(), grid, cv=3))
    else:
        model = ConformalRegressor(pipeline(), random_state=0)
    with_errors = cross_predict_dist(model, X, y, cv=3, **given)
    without = cross_predict_dist(model.set_params(**absent_absolute(wrap)), X, y, cv=3)
    assert len(with_errors) == 60
    assert not np.allclose(with_errors.mean, without.mean)


def absent_absolute(wrap):
    if wrap == "search over pipeline":
        return {"param_grid": {"line__absolute_errors": [None]}}
    if wrap == "pipeline of search":
        return {"gridsearchcv__param_grid": {"absolute_errors": [None]}}
    return {}


@pytest.mark.parametrize("form", ["y_err", "dense"])
def test_pipelines_with_metadata_routing(data, form, routing):
    X, y, *_ = data
    given, by_hand = error_forms(data)[form]
    requests = dict.fromkeys(given, True)
    line = LinearRegression().set_fit_request(**requests)
    model = make_pipeline(StandardScaler(), line)
    p = cross_predict_dist(model, X, y, cv=CV, **given)
    train, test = next(CV.split(X))
    scaled = StandardScaler().fit(X[train])
    expected = LinearRegression().fit(scaled.transform(X[train]), y[train], **by_hand(train))
    assert_allclose(
        p.std[test], expected.predict_dist(scaled.transform(X[test]), **by_hand(test)).std, rtol=1e-9
    )
    conformal = ConformalRegressor(model, random_state=0).fit(X, y, **given)
    assert len(conformal.calibration_pit_) == 18


def test_errors_of_x_pass_the_transformers_that_can_carry_them(data):
    X, y, *_ = data
    model = make_pipeline(StandardScaler(), LinearRegression()).fit(X, y)
    plain = LinearRegression().fit(X, y)
    assert_allclose(
        predict_dist(model, X, X_err=0.1).variance_components["input"],
        plain.predict_dist(X, X_err=0.1).variance_components["input"],
        rtol=1e-10,
    )
    curved = make_pipeline(PolynomialFeatures(include_bias=False), LinearRegression()).fit(X, y)
    with pytest.raises(InputError, match="cannot pass through PolynomialFeatures; accepted are"):
        predict_dist(curved, X, X_err=0.1)
    alone = make_pipeline(LinearRegression()).fit(X, y)
    assert np.all(predict_dist(alone, X, X_err=0.1).variance_components["input"] > 0)
    with pytest.raises(InputTypeError, match="has no predict_dist"):
        predict_dist(PlainRegression().fit(X, y), X)


# -- scikit-learn's own cross-validation -------------------------------------------------------------------


class Recorder(LinearRegression):
    """Least squares that keeps what fit received."""

    calls: list = []  # noqa: RUF012 - shared by the clones on purpose

    def fit(self, X, y, *, X_err=None, y_err=None, X_cov=None, y_cov=None, xy_cov=None):
        Recorder.calls.append((X.copy(), y_err, y_cov))
        return super().fit(X, y, y_err=y_err, y_cov=y_cov)


@pytest.fixture
def calls():
    Recorder.calls.clear()
    return Recorder.calls


def check_calls(calls, data, form):
    X, _, err, dense, _ = data
    assert len(calls) >= 4
    for seen_X, y_err, y_cov in calls[:4]:
        rows = np.array([int(np.flatnonzero((row == X).all(axis=1))[0]) for row in seen_X])
        assert len(rows) == 45
        if form == "y_err":
            assert_allclose(y_err, err[rows])
        else:
            assert_allclose(y_cov.to_dense(), dense[np.ix_(rows, rows)], rtol=1e-10, atol=1e-12)


def manual_scores(data, form, score, errors_in_score):
    X, y, *_ = data
    by_hand = error_forms(data)[form][1]
    scores = []
    for train, test in CV.split(X):
        model = LinearRegression().fit(X[train], y[train], **by_hand(train))
        p = model.predict_dist(X[test], **(by_hand(test) if errors_in_score else {}))
        scores.append(score(p, y[test]))
    return scores


SCORES = {
    "crps": (crps, lambda p, y: -p.crps(y).mean()),
    "log_score": (log_score, lambda p, y: p.log_prob(y).mean()),
    "coverage": (coverage, lambda p, y: -abs(covered_fraction(p, y, 0.68) - 0.68)),
    "coverage 0.9": (coverage_scorer(0.9), lambda p, y: -abs(covered_fraction(p, y, 0.9) - 0.9)),
}


@pytest.mark.parametrize("form", ["y_err", "dense"])
def test_cross_validate_without_routing(data, form, calls):
    X, y, *_ = data
    given = error_forms(data)[form][0]
    scoring = {name: scorer for name, (scorer, _) in SCORES.items()}
    results = cross_validate(Recorder(), X, y, cv=CV, params=given, scoring=scoring)
    check_calls(calls, data, form)
    for name, (_, score) in SCORES.items():
        expected = manual_scores(data, form, score, errors_in_score=False)
        assert_allclose(results[f"test_{name}"], expected, rtol=1e-9)


@pytest.mark.parametrize("form", ["y_err", "dense"])
def test_cross_validate_with_routing(data, form, calls, routing):
    """Requested by fit and by the scorers: the scores are of the observed y."""
    X, y, *_ = data
    given = error_forms(data)[form][0]
    requests = dict.fromkeys(given, True)
    model = Recorder().set_fit_request(**requests)
    scoring = {name: scorer.set_score_request(**requests) for name, (scorer, _) in SCORES.items()}
    results = cross_validate(model, X, y, cv=CV, params=given, scoring=scoring)
    check_calls(calls, data, form)
    for name, (_, score) in SCORES.items():
        expected = manual_scores(data, form, score, errors_in_score=True)
        assert_allclose(results[f"test_{name}"], expected, rtol=1e-9)


@pytest.mark.parametrize("form", ["y_err", "dense"])
def test_grid_search_without_routing(data, form, calls):
    X, y, *_ = data
    given = error_forms(data)[form][0]
    search = GridSearchCV(Recorder(), {"fit_intercept": [True, False]}, cv=CV, scoring=crps)
    search.fit(X, y, **given)
    check_calls(calls, data, form)
    expected = manual_scores(data, form, SCORES["crps"][1], errors_in_score=False)
    assert_allclose(search.cv_results_["mean_test_score"][0], np.mean(expected), rtol=1e-9)
    assert search.best_params_ == {"fit_intercept": True}
    # the refit had all rows
    assert_allclose(search.best_estimator_.params_, LinearRegression().fit(X, y, **given).params_, rtol=1e-10)


@pytest.mark.parametrize("form", ["y_err", "dense"])
def test_grid_search_with_routing_through_a_pipeline(data, form, calls, routing):
    X, y, *_ = data
    given = error_forms(data)[form][0]
    requests = dict.fromkeys(given, True)
    model = make_pipeline("passthrough", Recorder().set_fit_request(**requests))
    search = GridSearchCV(
        model,
        {"recorder__fit_intercept": [True, False]},
        cv=CV,
        scoring=log_score.set_score_request(**requests),
    )
    search.fit(X, y, **given)
    check_calls(calls, data, form)
    expected = manual_scores(data, form, SCORES["log_score"][1], errors_in_score=True)
    assert_allclose(search.cv_results_["mean_test_score"][0], np.mean(expected), rtol=1e-9)
    assert len(predict_dist(search, X, **given)) == 60


def test_bayesian_regression_and_conformal_survive_too(data, routing):
    X, y, err, *_ = data
    for estimator in (BayesianLinearRegression(), ConformalRegressor(LinearRegression(), random_state=0)):
        scores = cross_val_score(
            estimator.set_fit_request(y_err=True),
            X,
            y,
            cv=CV,
            params={"y_err": err},
            scoring=crps.set_score_request(y_err=True),
        )
        p = cross_predict_dist(estimator, X, y, cv=CV, y_err=err)
        expected = [-p[test].crps(y[test]).mean() for _, test in CV.split(X)]
        assert_allclose(scores, expected, rtol=1e-7)


def test_scorers_pickle_and_refuse(data):
    X, y, *_ = data
    model = LinearRegression().fit(X, y)
    for scorer, score in SCORES.values():
        assert pickle.loads(pickle.dumps(scorer))(model, X, y) == pytest.approx(
            score(model.predict_dist(X), y)
        )
    with pytest.raises(InputTypeError, match="sample_weight cannot be requested"):
        crps.set_score_request(sample_weight=True)
    with pytest.raises(InputError, match="level is"):
        coverage_scorer(68)
    # requesting makes a copy
    assert crps.set_score_request(y_err=True) is not crps
