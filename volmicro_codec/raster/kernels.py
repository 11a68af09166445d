"""The kernels of the rasteriser (`libvgm/encoder/raster.h`), and the columns of their tables.

A Gaussian's box inside a tile is walked eight x lanes at a time; along y, and then z, the exponent is a
quadratic, so each row follows from the last by two multiplications (the ratio of neighbouring rows is itself
a geometric sequence). No exponential inside the loops, and no mask: the kernel is zero at its cut-off, so
``max(g - g_cut, 0)`` ends the support. Gaussians so steep or so tilted that the ratios would leave float32's
range begin each plane, or each row, anew.
"""

from __future__ import annotations

import numpy as np

from ..errors import not_built

try:
    from .. import _raster
except ImportError as exc:
    raise not_built(exc) from exc

GAUSSIAN = np.dtype((np.void, _raster.GAUSSIAN_BYTES))  # prepared for a box, read by native code only
DIRECTION_COLUMNS = _raster.DIRECTION
"""Of a direction: dw, then the quadratic -dq/2 = l.d + d'Q d as lz, ly, lx, zz, zy, zx, yy, yx, xx."""

# Columns of the moments: sum r (g - g_cut), then sum r g (1, d, d d') over the support.
M_KERNEL, M_1, M_Z, M_Y, M_X, M_ZZ, M_ZY, M_ZX, M_YY, M_YX, M_XX = range(11)
MOMENTS = _raster.MOMENTS
PAD = _raster.PAD  # lanes that a row of a tile is longer by, so that the last lanes may hang over
MARGIN = _raster.MARGIN

pack = _raster.pack
grids = _raster.grids
count = _raster.count
fill = _raster.fill
render = _raster.render
jvp = _raster.jvp
residual = _raster.residual
subtract = _raster.subtract
curvature = _raster.curvature
moments = _raster.moments
gather = _raster.gather
prolong = _raster.prolong
restrict = _raster.restrict
limit_instructions = _raster.limit_instructions
