"""Cut the galaxy stamps that are bundled as `hubble_stamps` from NASA's picture of the eXtreme Deep Field.

The picture travels with scikit-image as ``hubble_deep_field.jpg``. This script checks the SHA-256
of the file and of the decoded pixels (JPEG decoders may differ by a grey level), detects sources
with SEP (the algorithms of SExtractor) and writes square stamps around those that are large, alone and
inside the frame. The archive is stored, not deflated, and catalogue numbers are rounded, so that
rebuilding gives the SHA-256 on the card. scikit-image and sep are needed for building only.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path
from typing import Any

import numpy as np

from statml import console
from statml.errors import InputError, MissingExtraError

FILE_SHA256 = "3a19c5dd8a927a9334bb1229a6d63711b1c0c767fb27e2286e7c84a3e2c2f5f4"
PIXELS_SHA256 = "9a3ea9548188f81e63435188456e74de45a981ebeb791e265abe79a26d3b528b"
SIDE = 32
THRESHOLD, MIN_AREA = 1.5, 5  # detection: sigma of the background, connected pixels
LARGE = 55  # pixels above the threshold that make a stamp worth having
ALONE = 12.0  # no brighter source nearer than this, in pixels


def read_picture() -> np.ndarray:
    """The picture, (872, 1000, 3) uint8, after checking file and pixels."""
    try:
        from skimage import data
    except ImportError as error:
        raise MissingExtraError("building hubble_stamps needs scikit-image 0.26 and sep 1.4") from error
    path = Path(data.__file__).with_name("hubble_deep_field.jpg")
    rgb = np.ascontiguousarray(data.hubble_deep_field())
    for what, content, expected in (
        (path.name, path.read_bytes(), FILE_SHA256),
        ("the decoded picture", rgb.tobytes(), PIXELS_SHA256),
    ):
        digest = hashlib.sha256(content).hexdigest()
        if digest != expected:
            raise InputError(f"{what} has SHA-256 {digest}, expected {expected}")
    return rgb


def detect(grey: np.ndarray) -> np.ndarray:
    """Sources of the grey picture, the record array of SEP, brightest first."""
    import sep

    image = grey.astype(np.float64)
    background = sep.Background(image, bw=64, bh=64)
    found = sep.extract(image - background.back(), THRESHOLD, err=background.globalrms, minarea=MIN_AREA)
    return found[np.lexsort((found["x"], found["y"], -found["flux"]))]


def select(found: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Large sources whose stamp lies in the frame, without a brighter one close by."""
    x, y = np.rint(found["x"]), np.rint(found["y"])
    half = SIDE // 2
    inside = (x >= half) & (x + half <= shape[1]) & (y >= half) & (y + half <= shape[0])
    brighter = np.tri(len(found), k=-1, dtype=bool)
    close = np.hypot(*(found[c][:, None] - found[c] for c in "xy")) < ALONE
    return found[inside & (found["npix"] >= LARGE) & ~np.any(brighter & close, axis=1)]


def encode(grey: np.ndarray, chosen: np.ndarray) -> dict[str, np.ndarray]:
    """The arrays of the archive; row and column of a stamp's centre pixel are (16, 16)."""
    half = SIDE // 2
    corners = [(int(np.rint(s["y"])) - half, int(np.rint(s["x"])) - half) for s in chosen]
    arrays = {"image": np.array([grey[r : r + SIDE, c : c + SIDE] for r, c in corners], dtype=np.uint8)}
    for name in ("x", "y", "a", "b", "theta"):
        arrays[name] = np.round(chosen[name].astype(float), 2).astype("<f4")
    arrays["npix"] = chosen["npix"].astype("<i4")
    arrays["flux"] = np.round(chosen["flux"].astype(float)).astype("<f4")
    return arrays


def build(args: argparse.Namespace) -> int:
    """Build the archive and print what it holds."""
    rgb = read_picture()
    grey = ((rgb.astype(np.uint16).sum(axis=2) + 1) // 3).astype(np.uint8)  # the mean, rounded
    found = detect(grey)
    arrays: dict[str, Any] = encode(grey, select(found, grey.shape))
    with args.out.open("wb") as stream:
        np.savez(stream, **arrays)
    console.print_json(
        {
            "file": args.out.name,
            "bytes": args.out.stat().st_size,
            "sha256": hashlib.sha256(args.out.read_bytes()).hexdigest(),
            "detected": len(found),
            "stamps": len(arrays["image"]),
            "saturated_pixels": int(np.sum(arrays["image"] == 255)),
            "median_grey": float(np.median(arrays["image"])),
        }
    )
    return console.EXIT_OK


def main(argv: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description="Rebuild hubble_stamps.npz (galaxies of the Hubble eXtreme Deep Field), print its SHA-256.",
        epilog="example: python datasets/hubble_stamps/build.py",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(__file__).with_name("hubble_stamps.npz"),
        help="where to write (default: beside this script)",
    )
    parser.set_defaults(run=build)
    return console.run(parser, argv)


if __name__ == "__main__":
    sys.exit(main())
