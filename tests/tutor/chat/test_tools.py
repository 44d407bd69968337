"""The computations: what they take, what they give, and that nothing else can be run."""

from __future__ import annotations

import numpy as np
import pytest

from statml.errors import InputError, ServiceError
from tutor.chat.tools import MENU, Tools, parse
from tutor.sandbox import detect

X, Y, Y_ERR = [0.0, 1.0, 2.0, 3.0], [1.0, 3.1, 4.9, 7.0], [0.1, 0.1, 0.2, 0.1]


@pytest.fixture(scope="module")
def tools():
    try:
        detect()
    except ServiceError as error:
        pytest.skip(str(error))
    opened = Tools()
    yield opened
    opened.close()


@pytest.mark.sandbox
def test_fit_and_posterior_are_those_of_the_textbook(tools: Tools) -> None:
    A, w = np.vander(X, 2, increasing=True), np.array(Y_ERR) ** -2.0
    cov = np.linalg.inv(A.T * w @ A)
    fitted = tools.call("fit", {"x": X, "y": Y, "y_err": Y_ERR}).result
    np.testing.assert_allclose(fitted["coefficients"], cov @ A.T @ (w * Y), rtol=1e-5)
    np.testing.assert_allclose(fitted["covariance"], cov, rtol=1e-5)
    cov = np.linalg.inv(A.T * w @ A + np.eye(2) / 0.5**2)
    given = tools.call("posterior", {"x": X, "y": Y, "y_err": Y_ERR, "prior_std": 0.5}).result
    np.testing.assert_allclose(given["mean"], cov @ A.T @ (w * Y), rtol=1e-5)
    np.testing.assert_allclose(given["covariance"], cov, rtol=1e-5)


@pytest.mark.sandbox
def test_units(tools: Tools) -> None:
    assert tools.call("convert", {"value": 1.0, "unit": "pc", "to": "AU"}).result["value"] == pytest.approx(
        206264.806
    )
    assert tools.call("convert", {"value": 10.0, "unit": "mas", "to": "pc"}).result["value"] == pytest.approx(
        100
    )
    assert "kg" in tools.call("convert", {"value": 1.0, "unit": "pc", "to": "kg"}).error


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("exec", {"code": "1"}, "no computation 'exec'"),
        ("convert", {"value": 1.0, "unit": "__import__('os')", "to": "m"}, "do not fit"),
        ("convert", {"value": 1.0, "unit": "m**2**2**2**2**2**2**2", "to": "m"}, "simpler"),
        ("fit", {"x": [1.0, 2.0], "y": [1.0]}, "do not fit"),
        ("fit", {"x": [1.0, 2.0], "y": [1.0, 2.0, 3.0]}, "y must have as many values as x (2), got 3"),
        ("fit", {"x": [1.0] * 3000, "y": [1.0] * 3000}, "do not fit"),
        ("posterior", {"x": X, "y": Y, "y_err": Y_ERR, "prior_std": 0}, "do not fit"),
        ("dataset", {"name": "../../etc/passwd"}, "is not a data set"),
    ],
)
def test_bad_arguments_are_one_sentence(name: str, arguments: dict, said: str) -> None:
    call = Tools().call(name, arguments)
    assert said in call.error and not call.result and "\n" not in call.error


def test_a_data_set_is_looked_up_without_a_sandbox() -> None:
    result = Tools().call("dataset", {"name": "gaia_xp"}).result
    assert result["rows"] == 4000 and "teff [K]" in result["columns"]


def test_commands_are_read() -> None:
    assert parse("/fit x=1,2 y=3,4 degree=1") == ("fit", {"x": [1.0, 2.0], "y": [3.0, 4.0], "degree": 1})
    assert parse("/convert 3 pc to lyr") == ("convert", {"value": 3.0, "unit": "pc", "to": "lyr"})
    assert parse("/hint") is None and parse("What is a fit?") is None
    with pytest.raises(InputError, match="must be finite"):
        parse("/fit x=1,nan y=1,2")
    with pytest.raises(InputError, match="has no '='"):
        parse("/fit 1 2 3")


def test_every_schema_closes_its_door() -> None:
    assert all(form["additionalProperties"] is False for _, form in MENU.values())
