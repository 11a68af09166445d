"""Files as other tools take them: dask and xarray arrays, napari layers, tables and splats of primitives."""
