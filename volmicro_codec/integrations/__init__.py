"""Other programs' ways to open a file: dask, xarray, napari."""
