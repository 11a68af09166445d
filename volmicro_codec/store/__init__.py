"""Volumes of any size: bricks in an OME-Zarr store, each a .vgm file, encoded where there are processors."""
