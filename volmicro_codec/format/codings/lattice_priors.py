"""Where the lattice coding's models start: weights fitted to many fits, so that short chunks need not learn them.

Normative: spec/vgm-1-lattice.md, "Priors", has the same numbers.
"""

from __future__ import annotations

import numpy as np

CHANNELS = 7  # class; pivots z, y, x; off-diagonals yz, xz, xy

# [channel][mean, log2 spread][feature], in 2^-16
WEIGHTS = np.array(
    [
        [[171889, -22590, 10341, 0, 0, 0, 0, 0, 0, 0],
         [-49120, 0, 0, 0, 0, 0, 0, 0, 0, 0]],
        [[53301, 33702, 37750, 20654, -15162, 0, 0, 0, 0, 0],
         [-61707, -19777, 5534, 0, 0, 0, 0, 0, 0, 0]],
        [[45550, 42155, 33807, 17018, -11381, 9673, 0, 0, 0, 0],
         [-78057, -9939, 15981, 0, 0, 0, 0, 0, 0, 0]],
        [[22069, 32764, 18840, 13420, -4874, 3618, 29600, 0, 0, 0],
         [-82586, -19467, 11689, 0, 0, 0, 0, 0, 0, 0]],
        [[1800, 8125, 0, 0, 0, 0, 0, 0, 0, 0],
         [-141224, -85399, 2541, 30418, -16915, 12213, 0, 0, 0, 0]],
        [[-233, 9646, 0, 0, 0, 0, 0, 0, 0, 0],
         [-94811, -83037, 9388, 20941, -8356, 10318, 21733, 0, 0, 0]],
        [[573, 18998, 16342, 0, 0, 0, 0, 0, 0, 0],
         [-117608, -58565, 16144, 20980, -14479, 16265, -1536, 13148, 0, 0]],
    ],
    np.int64,
)

SIGN_PRIOR = np.array([0, 19661, 0], np.int64)
