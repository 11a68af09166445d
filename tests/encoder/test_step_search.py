"""A step is found in few tries."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volmicro_codec.encoder.rate.step_search import StepSearch


def tries_until(near: float, quantity, step: float, most: int = 60) -> int:  # type: ignore[no-untyped-def]
    """How many evaluations until the quantity is within ``near`` of 1."""
    search = StepSearch()
    for k in range(1, most + 1):
        over = quantity(step)
        if abs(over - 1.0) < near:
            return k
        step = search.next(step, over)
        assert step > 0
        assert math.isfinite(step)
    return most + 1


@given(
    exponent=st.floats(0.3, 4.0),
    goal=st.floats(1e-4, 1e3),
    start=st.floats(1e-4, 1e3),
    bend=st.floats(0.0, 0.3),
)
def test_a_falling_power_is_crossed_within_a_dozen_tries(
    exponent: float, goal: float, start: float, bend: float
) -> None:
    def quantity(step: float) -> float:
        x = math.log(step / goal)
        return math.exp(-exponent * (x + bend * math.tanh(x)))

    assert tries_until(0.002, quantity, start) <= 16


def test_a_power_whose_exponent_is_known_takes_one_step() -> None:
    assert tries_until(1e-9, lambda step: 3.0 / step, 2.0) == 2


def test_a_jump_is_closed_in_on() -> None:
    """No step has the goal: the bracket closes all the same, so that a caller can stop."""
    search, step = StepSearch(), 1.0
    for _ in range(60):
        step = search.next(step, 2.0 if step < 3.7 else 0.5)
    assert search.width < 1.01
    assert step == pytest.approx(3.7, rel=0.01)
