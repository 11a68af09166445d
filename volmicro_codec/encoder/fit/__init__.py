"""Fitting: Gaussians, candidates for more, their refit, on the CPU and on CUDA devices."""
