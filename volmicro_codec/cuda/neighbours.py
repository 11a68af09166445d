"""The nearest of many centres: by FAISS on a GPU, by scipy's k-d tree where there is none."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DependencyError

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]


def closest(means: F64, points: F64, k: int, *, gpu: int | None = None) -> I64:
    """The ``k`` centres nearest to each point, nearest first.

    Parameters
    ----------
    means : float64 [N, 3]
    points : float64 [M, 3]
    k : int
        1 to N.
    gpu : int, optional
        Number of the CUDA device that shall search, where there is a FAISS that can; without one, and for
        None, scipy does. FAISS compares distances in float32: of two that agree to its precision either
        may come first, or last of the ``k``.

    Returns
    -------
    int64 [M, k]

    Raises
    ------
    DependencyError
        Where neither can be had.
    """
    if gpu is not None and faiss_gpus():
        return by_faiss(means, points, k, gpu)
    return by_tree(means, points, k)


def faiss_gpus() -> int:
    """GPUs that FAISS sees; 0 where it is not installed, or is built for the CPU."""
    try:
        import faiss
    except ImportError:
        return 0
    return int(getattr(faiss, "get_num_gpus", lambda: 0)())


def by_faiss(means: F64, points: F64, k: int, gpu: int | None) -> I64:
    """As `closest`, by FAISS, on the CPU where ``gpu`` is None."""
    import faiss

    centre = means.mean(axis=0)  # float32 distances are best near the origin
    index: Any = faiss.IndexFlatL2(3)
    if gpu is not None:
        index = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), gpu, index)
    index.add(np.ascontiguousarray(means - centre, np.float32))
    _, found = index.search(np.ascontiguousarray(points - centre, np.float32), k)
    return np.asarray(found, np.int64)


def by_tree(means: F64, points: F64, k: int) -> I64:
    """As `closest`, by scipy."""
    try:
        from scipy.spatial import cKDTree
    except ImportError as exc:
        raise DependencyError(
            "nearest neighbours need FAISS on a GPU, or scipy: pip install 'volmicro-codec[encode]'"
        ) from exc
    _, found = cKDTree(means).query(points, k=np.arange(1, k + 1))
    return np.asarray(found, np.int64)
