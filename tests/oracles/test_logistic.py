"""Known answers of logistic regression: red clump stars to the printed digits, tables in closed form.

The data set of the book's chapter 7 has 2,855 giants; split 80/20 with seed 46, stratified,
standardised with the mean and sd (ddof = 0) of the training set, without the column K, which repeats H.
Two-by-two tables have closed forms: the coefficient is the log odds ratio.
"""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import special
from sklearn.model_selection import train_test_split

from statml import datasets
from statml.classification import (
    LogisticRegression,
    SoftmaxRegression,
    accuracy,
    balanced_accuracy,
    confusion_matrix,
)
from statml.errors import DataNotFoundError, InputError

FEATURES = ["teff", "logg", "fe_h", "ra", "dec", "j", "h"]
# Intercept first; coefficients to 1e-4, standard errors to 1e-3, as far as they are known.
COEFFICIENTS = [2.2543, 2.1339, -4.8454, 1.6729, 0.0403, 0.1156, -7.0637, 6.2794]
ERRORS = [0.167, 0.225, 0.266, 0.171, 0.174, 0.159, 4.524, 4.526]


@pytest.fixture(scope="module")
def giants():
    try:
        table = datasets.load("apogee_asteroseismic")
    except DataNotFoundError as error:
        pytest.skip(str(error))
    return table


@pytest.fixture(scope="module")
def split(giants):
    X = np.column_stack([np.asarray(giants[name], float) for name in FEATURES])
    y = np.asarray(giants["red_clump"], int)
    train, test, y_train, y_test = train_test_split(X, y, test_size=0.2, random_state=46, stratify=y)
    mean, sd = train.mean(axis=0), train.std(axis=0)
    return (train - mean) / sd, y_train, (test - mean) / sd, y_test


@pytest.mark.data
@pytest.mark.parametrize("estimator", [LogisticRegression, SoftmaxRegression])
def test_red_clump(split, estimator):
    X, y, X_test, y_test = split
    model = estimator().fit(X, y)
    assert_allclose(np.ravel(model.params_), COEFFICIENTS, atol=1e-4)
    assert_allclose(np.sqrt(np.diag(model.params_cov_)), ERRORS, atol=6e-4)
    assert_allclose(-model.log_likelihood_ / len(y), 0.084451, atol=1e-6)
    prediction = model.predict_dist(X_test)
    assert_allclose(float(accuracy(prediction, y_test)), 0.97373, atol=5e-6)
    assert_allclose(float(balanced_accuracy(prediction, y_test)), 0.95987, atol=5e-6)
    assert confusion_matrix(prediction, y_test).tolist() == [[136, 10], [5, 420]]


@pytest.mark.data
def test_red_clump_log_losses(split):
    """The loss at the fitted coefficients is the printed one; averaged over their errors it is smaller."""
    X, y, X_test, y_test = split
    model = LogisticRegression().fit(X, y)
    plug_in = -np.mean(
        special.log_expit(np.where(y_test == 1, 1, -1) * model.predict_latent_dist(X_test).mean)
    )
    assert_allclose(plug_in, 0.092964, atol=1e-6)
    assert -np.mean(model.predict_dist(X_test).log_prob(y_test)) < plug_in


@pytest.mark.data
def test_the_column_k_is_found_to_repeat_h(giants):
    stars = pd.DataFrame({name: np.asarray(giants[name], float) for name in [*FEATURES, "k"]})
    with pytest.raises(InputError, match=r"linearly dependent columns \(h, k\)"):
        LogisticRegression().fit(stars, np.asarray(giants["red_clump"], int))
    with pytest.raises(InputError, match=r"linearly dependent columns \(h, k\)"):
        SoftmaxRegression().fit(stars, np.asarray(giants["red_clump"], int))


def table(counts):
    """Rows of a k x 2 table: counts[g] = (members, others) of group g; a column for each group but the first."""
    groups = np.repeat(np.arange(len(counts)), [sum(row) for row in counts])
    y = np.concatenate([np.repeat([1, 0], row) for row in counts])
    return (groups[:, None] == np.arange(1, len(counts))).astype(float), y


def test_two_by_two_table():
    """Log odds ratio log(ad / bc), its variance 1/a + 1/b + 1/c + 1/d (Woolf 1955)."""
    (c, d), (a, b) = (15, 60), (40, 25)
    model = LogisticRegression().fit(*table([(c, d), (a, b)]))
    assert_allclose(model.intercept_, np.log(c / d), rtol=1e-13)
    assert_allclose(model.coef_, np.log(a * d / (b * c)), rtol=1e-13)
    assert_allclose(model.intercept_err_, np.sqrt(1 / c + 1 / d), rtol=1e-9)
    assert_allclose(model.coef_err_, np.sqrt(1 / a + 1 / b + 1 / c + 1 / d), rtol=1e-9)
    value = sum(n * np.log(n / sum(row)) for row in ((a, b), (c, d)) for n in row)
    assert_allclose(model.log_likelihood_, value, rtol=1e-14)
    assert_allclose(model.predict_latent_dist([[1.0]]).std ** 2, 1 / a + 1 / b, rtol=1e-9)


def test_many_groups_with_one_rare_class():
    counts = [(1, 9999), (3, 5), (700, 2), (50, 50)]
    model = LogisticRegression().fit(*table(counts))
    odds = np.array([np.log(a / b) for a, b in counts])
    assert_allclose(model.params_, np.append(odds[0], odds[1:] - odds[0]), rtol=1e-12)
    variance = np.array([1 / a + 1 / b for a, b in counts])
    assert_allclose(model.coef_err_**2, variance[1:] + variance[0], rtol=1e-9)


def test_three_classes_in_two_groups():
    """Coefficients are log ratios of counts; their covariance is that of a multinomial."""
    counts = np.array([[30, 20, 50], [10, 45, 5]])
    X = np.repeat([[0.0], [1.0]], counts.sum(axis=1), axis=0)
    y = np.concatenate([np.repeat([0, 1, 2], row) for row in counts])
    model = SoftmaxRegression().fit(X, y)
    odds = np.log(counts[:, 1:] / counts[:, :1])
    assert_allclose(model.intercept_, odds[0], rtol=1e-12)
    assert_allclose(model.coef_[:, 0], odds[1] - odds[0], rtol=1e-12)
    assert_allclose(model.intercept_err_**2, 1 / counts[0, 0] + 1 / counts[0, 1:], rtol=1e-10)
    both = (1 / counts).sum(axis=0)
    assert_allclose(model.coef_err_[:, 0] ** 2, both[0] + both[1:], rtol=1e-10)
    assert_allclose(model.coef_cov_[0, 1], both[0], rtol=1e-10)
    params, cov = model.contrast(2, 1)
    assert_allclose(params, [np.log(50 / 20), np.log(5 / 45) - np.log(50 / 20)], rtol=1e-12)
    assert_allclose(cov[1, 1], both[1] + both[2], rtol=1e-10)


def test_intercept_only():
    """With an uninformative feature of mean zero in both classes the intercept is the log odds of the counts."""
    X = np.array([[-1.0], [1.0]] * 12)
    y = np.array([1, 1] * 9 + [0, 0] * 3)
    model = LogisticRegression().fit(X, y)
    assert_allclose(model.params_, [np.log(3), 0], atol=1e-14)
    assert_allclose(model.params_cov_, np.eye(2) / (24 * 0.75 * 0.25), atol=1e-14)
