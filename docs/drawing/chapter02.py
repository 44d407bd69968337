"""The figure of chapter 2: a search for clusters, its null fields, and an orbit's angle with its posterior."""

from __future__ import annotations

import numpy as np
from drawing.style import BLUE, GOLD, GREY, INK, RED, tidy
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from scipy.stats import qmc

from statml.statistics import OverdensitySearch, Rectangle, search_overdensities

Array = np.ndarray
BINS = np.linspace(0, 90, 31)
ECCENTRICITIES = np.linspace(0.01, 0.99, 99)
TRUTH = 0.6


def probability() -> Figure:
    """Four panels, all synthetic."""
    figure = Figure(figsize=(9.6, 7.8), layout="constrained")
    panels = figure.subplots(2, 2).ravel()
    rng = np.random.default_rng(1)
    field = Rectangle((0, 1000), (0, 1000))
    clusters = [rng.normal(c, s, (n, 2)) for c, s, n in (((300, 700), 20, 200), ((700, 300), 15, 100))]
    search = search_overdensities(
        np.vstack([field.draw(10_000, rng), *clusters]), field, 20.0, null_fields=99, rng=2
    )
    _field(panels[0], search)
    _null_fields(panels[1], search)
    _angles(panels[2])
    _posteriors(panels[3], np.random.default_rng(4))
    titles = (
        "two clusters in 10,300 points",
        "looking elsewhere",
        "angle on the sky",
        "eccentricity of 200 binaries",
    )
    for letter, axes, title in zip("abcd", panels, titles):
        tidy(axes, letter, title)
    return figure


def _field(axes: Axes, search: OverdensitySearch) -> None:
    axes.hist2d(*search.centres.T, bins=100, cmap="Greys", vmax=14)
    for found in search.detections(0.05):
        axes.add_patch(Circle(tuple(found.position), found.radius, fill=False, color=RED, lw=1.8))
        if found.p_local > 1e-10:  # the outskirts of a cluster
            continue
        axes.annotate(
            f"{found.count} for {found.expected:.1f}",
            found.position,
            (0, -30),
            textcoords="offset points",
            ha="center",
            color=RED,
            fontsize=10,
            bbox={"fc": "white", "ec": "none", "alpha": 0.85, "pad": 1},
        )
    axes.set(aspect="equal", xlim=(0, 1000), ylim=(0, 1000), xlabel="x", ylabel="y")


def _null_fields(axes: Axes, search: OverdensitySearch) -> None:
    smallest = np.sort(search.null_smallest)
    share = np.arange(1, len(smallest) + 1) / len(smallest)
    axes.step(smallest, share, where="post", color=INK, lw=1.4, label="99 fields without clusters")
    p = np.geomspace(1e-6, 0.1, 200)
    axes.plot(p, search.extrapolated(p), color=BLUE, lw=1.8, label=f"{search.trials:.0f} independent windows")
    axes.axvline(0.05, color=GREY, ls="--", lw=1.2)
    axes.text(0.042, 0.08, "p = 0.05", rotation=90, ha="right", color=GREY)
    axes.set(
        xscale="log",
        xlim=(3e-7, 0.15),
        ylim=(0, 1.03),
        xlabel="smallest p_local of a field",
        ylabel="share of fields below",
    )
    axes.legend(frameon=False, fontsize=9, loc="upper left")


def _angles(axes: Axes) -> None:
    fine = np.linspace(0, 180, 91)
    for e, colour in ((0.2, GOLD), (0.6, BLUE), (0.9, RED)):
        density = np.histogram(_seen(e, qmc.Sobol(3, seed=1).random(2**18)), fine, density=True)[0]
        axes.plot(0.5 * (fine[1:] + fine[:-1]), density, color=colour, lw=1.8, label=f"e = {e}")
    axes.axvline(np.degrees(np.arccos(TRUTH)), color=BLUE, lw=1, ls=":")
    axes.text(50.5, 0.0098, "face-on limit for 0.6", rotation=90, ha="right", color=BLUE, fontsize=8.5)
    axes.set(xlim=(0, 180), ylim=(0, 0.0175), xlabel="angle between separation and velocity [deg]")
    axes.set_ylabel("density per degree")
    axes.legend(frameon=False, fontsize=9, ncols=3, loc="upper center")


def _posteriors(axes: Axes, rng: np.random.Generator) -> None:
    angles, orbits = _seen(TRUTH, rng.random((200, 3))), qmc.Sobol(3, seed=0).random(2**16)
    place = np.digitize(np.minimum(angles, 180 - angles), BINS) - 1
    models = (
        ("orbits in time, projected", BLUE, _seen),
        ("uniform true anomaly", GOLD, _wrong_clock),
        (r"$\gamma\,\sin i$", RED, _wrong_projection),
    )
    for name, colour, model in models:
        log_p = []
        for e in ECCENTRICITIES:
            drawn = model(e, orbits)
            density = np.histogram(np.minimum(drawn, 180 - drawn), BINS, density=True)[0]
            log_p.append(np.log(density[place] + 1e-6).sum())
        p = np.exp(np.array(log_p) - max(log_p))
        axes.plot(ECCENTRICITIES, p / p.max(), color=colour, lw=1.8, label=name)
    axes.axvline(TRUTH, color=GREY, ls=":", lw=1.4)
    axes.set(xlim=(0.3, 1), ylim=(0, 1.35), xlabel="eccentricity", ylabel="posterior / its maximum")
    axes.legend(frameon=False, fontsize=9, loc="upper left")


def _seen(e: float, u: Array, E: Array | None = None) -> Array:
    """Angles of orbits seen from everywhere, at random times unless eccentric anomalies are given."""
    if E is None:
        M = 2 * np.pi * u[:, 0]
        E = M + 0.85 * e * np.sign(np.sin(M))
        for _ in range(8):
            E = E - (E - e * np.sin(E) - M) / (1 - e * np.cos(E))
    shape, omega, cos_i = np.sqrt(1 - e**2), 2 * np.pi * u[:, 1], u[:, 2]
    seen = [
        (a * np.cos(omega) - b * np.sin(omega), (a * np.sin(omega) + b * np.cos(omega)) * cos_i)
        for a, b in ((np.cos(E) - e, shape * np.sin(E)), (-np.sin(E), shape * np.cos(E)))
    ]
    (x, y), (vx, vy) = seen
    cosine = (x * vx + y * vy) / np.hypot(x, y) / np.hypot(vx, vy)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def _wrong_clock(e: float, u: Array) -> Array:
    half = np.pi * (u[:, 0] - 0.5)
    return _seen(e, u, 2 * np.arctan(np.sqrt((1 - e) / (1 + e)) * np.tan(half)))


def _wrong_projection(e: float, u: Array) -> Array:
    phi = 2 * np.pi * u[:, 0]
    gamma = np.degrees(np.arccos(e * np.sin(phi) / np.sqrt(1 + e**2 + 2 * e * np.cos(phi))))
    return gamma * np.sqrt(1 - u[:, 2] ** 2)


FIGURES = {"chapter02_probability": probability}
