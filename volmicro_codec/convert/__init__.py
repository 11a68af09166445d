"""Gaussians from and to other programs' files: PLY, splats, tables, checkpoints."""
