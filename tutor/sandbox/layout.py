"""What can be seen inside: the interpreter, its packages, and of ours only the code of ``statml``.

The bundled data are kept out: they hold the true labels of the stars a hidden
test predicts. A test hands over the arrays a function needs. Everything is bound read-only. The interpreter keeps its own path, because it
was built for it; packages go to neutral paths, so that no path of the checkout
exists inside.
"""

from __future__ import annotations

import os
import site
import sys
from dataclasses import dataclass
from pathlib import Path

import statml

PACKAGES = "/sandbox/packages"
RUN = "/sandbox/run"
_SYSTEM = ("/usr/lib", "/usr/lib64", "/usr/lib32", "/etc/ld.so.cache")
_SYSTEM_LINKS = ("/lib", "/lib64", "/lib32")


@dataclass(frozen=True)
class Layout:
    """Bindings of the sandbox.

    Attributes
    ----------
    binds : tuple of (str, str)
        Path of the host and path inside, read-only.
    symlinks : tuple of (str, str)
        Target and link inside.
    hidden : tuple of str
        Folders inside that are covered by an empty one.
    environment : dict
        The whole environment inside.
    """

    binds: tuple[tuple[str, str], ...]
    symlinks: tuple[tuple[str, str], ...]
    hidden: tuple[str, ...]
    environment: dict[str, str]

    @property
    def parents(self) -> list[str]:
        """Folders to make first, outermost first, so that an unprivileged user may pass through them."""
        folders = {str(parent) for _, target in self.binds for parent in Path(target).parents}
        return sorted(folders - {"/"})


def layout() -> Layout:
    """The layout for the interpreter that runs now."""
    binds: dict[str, str] = {}
    symlinks = []
    for path in _SYSTEM_LINKS:
        if os.path.islink(path):
            symlinks.append((os.readlink(path), path))
        elif os.path.isdir(path):
            binds[path] = path
    binds.update({path: path for path in _SYSTEM if os.path.exists(path)})
    interpreter = os.path.realpath(sys.executable)
    library = os.path.join(sys.base_prefix, "lib")
    for path in (interpreter, library):
        if not path.startswith("/usr/lib/") and path != "/usr/lib":
            binds[path] = path
    binds[str(Path(__file__).resolve().parent / "inside")] = f"{RUN}/inside"
    search = []
    package = Path(statml.__file__).resolve().parent
    folders = _package_folders()
    if package.parent not in folders:  # an editable install
        search.append(PACKAGES)
        binds[str(package)] = f"{PACKAGES}/statml"
    hidden = []
    for position, folder in enumerate(folders):
        target = f"/sandbox/site{position}"
        binds[str(folder)] = target
        search.append(target)
        if (folder / "statml" / "_data").is_dir():
            hidden.append(f"{target}/statml/_data")
    return Layout(tuple(binds.items()), tuple(symlinks), tuple(hidden), _environment(search))


def _package_folders() -> list[Path]:
    folders = [Path(path).resolve() for path in site.getsitepackages()]
    if site.ENABLE_USER_SITE:
        folders.append(Path(site.getusersitepackages()).resolve())
    return list(dict.fromkeys(folder for folder in folders if folder.is_dir()))


def _environment(search: list[str]) -> dict[str, str]:
    threads = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB_MAXIMUM", "NUMBA")
    return {
        "HOME": "/tmp",
        "TMPDIR": "/tmp",
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "MPLBACKEND": "Agg",
        "MPLCONFIGDIR": "/tmp",
        "NUMBA_CACHE_DIR": "/tmp",
        "PYTHONHASHSEED": "0",
        "PYTHONNOUSERSITE": "1",
        "PYTHONPATH": os.pathsep.join(search),
        "USER": "student",
        **{f"{name}_NUM_THREADS": "1" for name in threads},
    }
