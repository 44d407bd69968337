r"""What part of a window lies where points could have been seen.

A circle of radius r about a point near the edge of a field sees fewer points for no other
reason than the edge. `Rectangle` knows the area of a circle within it exactly; `RandomPoints`
takes a survey's random catalogue, of any shape, dimension and depth, and counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from scipy.spatial import cKDTree

from statml.errors import InputError

Array = np.ndarray
# Random points for each point of a null field: fewer, and the fields repeat each other.
ENOUGH = 10


class Region(Protocol):
    """Where points could have been seen, and how densely without structure."""

    def share(self, centres: Array, radius: float) -> Array:
        """Probability that a point of the region lies within `radius` of each centre (m, d), shape (m,)."""

    def draw(self, size: int, rng: np.random.Generator) -> Array:
        """Points without structure, (size, d)."""

    def check(self, points: Array) -> None:
        """Raise InputError where points are not of this region."""


@dataclass(frozen=True)
class Rectangle:
    """A rectangle of uniform exposure in the plane.

    Examples
    --------
    >>> import numpy as np
    >>> field = Rectangle((0, 100), (0, 50))
    >>> centres = np.array([[50.0, 25.0], [0.0, 25.0], [0.0, 0.0]])      # inside, at a side, in a corner
    >>> (field.share(centres, 10.0) * 5000 / np.pi / 100).round(6)
    array([1.  , 0.5 , 0.25])
    """

    x: tuple[float, float]
    y: tuple[float, float]

    def __post_init__(self) -> None:
        for name, (low, high) in (("x", self.x), ("y", self.y)):
            if not (np.isfinite([low, high]).all() and low < high):
                raise InputError(
                    f"{name} is {(low, high)}; accepted are two finite limits, the lower one first"
                )

    @property
    def area(self) -> float:
        """In the units of x times y."""
        return (self.x[1] - self.x[0]) * (self.y[1] - self.y[0])

    def share(self, centres: Array, radius: float) -> Array:
        """Area of each circle within the rectangle, over that of the rectangle."""
        a, b = (np.asarray(self.x) - centres[:, [0]]).T, (np.asarray(self.y) - centres[:, [1]]).T
        inside = (
            _quarter(a[1], b[1], radius)
            - _quarter(a[0], b[1], radius)
            - _quarter(a[1], b[0], radius)
            + _quarter(a[0], b[0], radius)
        )
        return np.clip(inside / self.area, 0.0, 1.0)

    def draw(self, size: int, rng: np.random.Generator) -> Array:
        """Uniform points."""
        return np.column_stack([rng.uniform(*self.x, size), rng.uniform(*self.y, size)])

    def check(self, points: Array) -> None:
        """Points are in the plane and inside."""
        if points.shape[1] != 2:
            raise InputError(f"points has {points.shape[1]} columns; accepted are 2 in a Rectangle")
        low, high = np.array([self.x, self.y]).T
        if not np.all((points >= low) & (points <= high)):
            raise InputError("points has a point outside the rectangle; accepted are points inside")


@dataclass(frozen=True, eq=False)
class RandomPoints:
    """A region given by points without structure: the random catalogue of a survey.

    Parameters
    ----------
    points : array (m, d)
        At least ten times as many as the data; the share of a window is known to
        1 / sqrt(random points in it).
    """

    points: Any

    def __post_init__(self) -> None:
        points = np.asarray(self.points, float)
        if points.ndim != 2 or len(points) < 2 or not np.all(np.isfinite(points)):
            raise InputError(f"points has shape {points.shape} or a value not finite; accepted is (m, d)")
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "_tree", cKDTree(points))

    def share(self, centres: Array, radius: float) -> Array:
        """Random points in each window over all; one half where there is none, which is not no chance at all."""
        counts = self._tree.query_ball_point(centres, radius, return_length=True)  # type: ignore[attr-defined]
        return np.maximum(counts, 0.5) / len(self.points)

    def draw(self, size: int, rng: np.random.Generator) -> Array:
        """Some of the points, none twice."""
        return self.points[rng.choice(len(self.points), size, replace=False)]

    def check(self, points: Array) -> None:
        """Points have as many coordinates, and are ten times fewer."""
        if points.shape[1] != self.points.shape[1]:
            raise InputError(
                f"points has {points.shape[1]} columns and the random points {self.points.shape[1]}; "
                "accepted are equal numbers"
            )
        if len(self.points) < ENOUGH * len(points):
            raise InputError(
                f"{len(self.points)} random points for {len(points)} points; accepted are {ENOUGH} times as many"
            )


def _quarter(a: Array, b: Array, radius: float) -> Array:
    """Area of {x <= a, y <= b} of a circle of this radius about the origin."""
    a, b = np.clip(a, -radius, radius), np.clip(b, -radius, radius)
    edge = np.sqrt(radius**2 - b**2)  # where the line y = b meets the circle
    middle = np.clip(a, -edge, edge)
    below = _half(middle, radius) - _half(-edge, radius) + b * (middle + edge)
    # For b >= 0 the circle is whole on both sides of the line's ends.
    outer = (_half(np.minimum(a, -edge), radius) - _half(-radius, radius)) + (
        _half(np.maximum(a, edge), radius) - _half(edge, radius)
    )
    return below + np.where(b >= 0, 2 * outer, 0.0)


def _half(x: Any, radius: float) -> Array:
    """Integral of sqrt(radius^2 - x^2) from 0 to x."""
    return 0.5 * (
        x * np.sqrt(np.maximum(radius**2 - np.square(x), 0.0))
        + radius**2 * np.arcsin(np.clip(np.divide(x, radius), -1, 1))
    )
