"""Gaussians to voxels and back to moments, on the CPU; `cuda` holds the twin for a GPU."""
