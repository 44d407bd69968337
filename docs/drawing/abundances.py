"""The figure of elemental correlations: the matrix, the stars and the row of europium, as ``statml abundances figure`` draws it.

The lower two panels need third-party tables (``STATML_DATA``); without them there are scales of correlation instead.
"""

from __future__ import annotations

from statml.research.abundances.figure import figure

FIGURES = {"abundances_headline": figure}
