"""The occupancy gate: which voxels may hold signal, by a small network taught by the noise model."""
