"""The peak of an image is found from few numbers of each of its parts."""

import numpy as np
import pytest

from volmicro_codec.evaluate import Reference
from volmicro_codec.evaluate.tails import peak_of, tails
from volmicro_codec.phantom import make_phantom


def parts_of(image, across):
    return [part for slab in np.array_split(image, across, 0) for part in np.array_split(slab, across, 2)]


def peak(image, across):
    parts = parts_of(image, across)
    return peak_of([tails(p) for p in parts], [p.size for p in parts])


@pytest.mark.parametrize("across", [1, 2, 5])
def test_the_peak_of_parts_is_that_of_the_whole(across):
    image = make_phantom((30, 90, 110), seed=2)
    assert peak(image, across) == pytest.approx(Reference.of(image).peak, rel=0.01)
    assert peak(image.astype(np.float32) / 7, across) == pytest.approx(Reference.of(image).peak / 7, rel=0.01)


def test_what_is_bright_in_one_part_alone_counts_as_it_does_in_the_whole():
    image = np.random.default_rng(1).normal(100, 2, (40, 60, 70)).astype(np.float32)
    image[:4, :4, :40] += np.linspace(50, 400, 40, dtype=np.float32)
    image[20, 30, 30] = 1e6  # one hot voxel is less than what the peak leaves out
    assert peak(image, 4) == pytest.approx(Reference.of(image).peak, rel=0.02)


@pytest.mark.parametrize("lit", [0, 1])
def test_an_image_of_next_to_no_range_has_the_peak_of_its_reference(lit):
    image = np.full((20, 40, 40), 7, np.uint16)
    image.reshape(-1)[:lit] = 9
    assert peak(image, 2) == Reference.of(image).peak
