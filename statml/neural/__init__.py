"""Neural networks whose predictions are distributions (arXiv:2506.12230, chapters 16-17); needs the extra ``neural``."""

from importlib.util import find_spec

from statml.errors import MissingExtraError

if find_spec("torch") is None:
    raise MissingExtraError("statml.neural needs torch: pip install 'statml[neural]'")

__all__: list[str] = []
