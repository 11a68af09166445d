"""What drives a refit: L-BFGS against nonlinear conjugate gradients, by the time to the same loss.

    python benchmarks/refits.py [-o benchmarks/results/refits.json]      # some five minutes

`fit.lbfgs` and its KEPT_STEPS stand on it. The first long refit of an encode of each stack (a block of it,
grown by the encoder) is made again by both, on one thread. The conjugate gradients are those of Polak and
Ribiere, from the same start (each Gaussian's Gauss-Newton block), with the exact curvature along each step,
begun anew where they would turn back; they end where two iterations running took off less than the encoder's
tolerance.
``over_cg`` is processor time to that loss over theirs; a loss that is not met in twice their time has none.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from block_choices import set_to
from volumes import ROOT, read_images, stack_files

import volmicro_codec as vgm
from volmicro_codec.encoder.fit.gaussians import Model
from volmicro_codec.encoder.fit.method import excess_of
from volmicro_codec.encoder.fit.refiner import SHORTER, TRIES, Block, Refiner
from volmicro_codec.encoder.fit.steps import (
    direction_table,
    dot,
    gradient_of,
    hold_bounds,
    moved,
    precondition,
)
from volmicro_codec.phantom import make_phantom
from volmicro_codec.raster.pyramid import PyramidRasteriser

RATIO, SEED, LONG = 400.0, 9, 24
PAIRS = (2, 4, 6, 8, 12)
Trace = list[tuple[float, float]]
Report = Callable[[int, float], Any]


class Begun(Exception):
    """Ends an encode at its first long refit, of which it tells."""


def first_refit(voxels: Any) -> tuple[Refiner, Model, float, float] | None:
    """A block and a model as an encode begins to converge, its tolerance, and the error of the noise.

    None where nothing is to converge, as of sparse stacks.
    """
    refine, found = Refiner.refine, []

    def look(self: Refiner, model: Model, iterations: int, **given: Any) -> Any:
        if iterations < LONG:
            return refine(self, model, iterations, **given)
        b = self.block
        kept = Block(b.origin.copy(), b.target.copy(), b.weights, b.gradient, b.saturated)
        raster = PyramidRasteriser(self.raster.cutoff, 1)
        found.append(
            (Refiner(kept, raster, noise_floor=self.floor), model, given["tolerance"], given["noise"])
        )
        raise Begun

    Refiner.refine = look  # type: ignore[method-assign]
    try:
        vgm.encode(voxels, ratio=RATIO, threads=1)
    except Begun:
        return found[0]
    finally:
        Refiner.refine = refine  # type: ignore[method-assign]
    return None


def conjugate_gradients(r: Refiner, model: Model, iterations: int, report: Report) -> None:
    """Refit a model by nonlinear conjugate gradients."""
    packed = r.pack(model)
    loss = r.evaluate(packed, r.residual)
    direction = last_z = last_g = way = None
    for it in range(iterations):
        g = gradient_of(model, r.raster.vjp_moments(packed, r.pull()), r.raster.cutoff)
        z = precondition(model, g, r.floor, r.max_sigma)
        steepest = True
        if direction is not None and last_z is not None and last_g is not None:
            beta = dot(z, g - last_g) / max(dot(last_z, last_g), 1e-300)
            way = hold_bounds(model, max(0.0, beta) * direction - z, r.max_sigma)
            steepest = dot(g, way) >= 0.1 * -dot(g, z)
        direction = -z if steepest or way is None else way
        last_z, last_g = z, g
        slope, curve = dot(g, direction), r.curvature(packed, direction_table(model, direction))
        alpha = -slope / curve if curve > 0 else 1.0
        for _ in range(TRIES):
            trial = moved(model, direction, alpha, r.max_sigma)
            tried = r.pack(trial)
            trial_loss = r.evaluate(tried, r._trial)
            if trial_loss <= loss:
                break
            alpha *= SHORTER
            last_z = None
        else:
            return
        model, packed, loss = trial, tried, trial_loss
        r.residual, r._trial = r._trial, r.residual
        report(it, loss)


def traced(work: Callable[[Report], Any], most: float) -> Trace:
    """(Processor seconds, loss) after each iteration, until the time is up."""
    trace: Trace = []
    began = time.process_time()

    class Over(Exception):
        pass

    def report(it: int, loss: float) -> None:
        trace.append((time.process_time() - began, loss))
        if trace[-1][0] > most:
            raise Over

    try:
        work(report)
    except Over:
        pass
    return trace


def measured(name: str, refit: tuple[Refiner, Model, float, float]) -> dict[str, Any]:
    """Figures of one stack."""
    r, model, tolerance, noise = refit
    whole = traced(lambda report: conjugate_gradients(r, model, 160, report), 1e9)
    stalled, end, before = 0, len(whole) - 1, r.see(model)
    for k, (_, loss) in enumerate(whole):
        stalled = stalled + 1 if before - loss < tolerance * excess_of(loss, noise) else 0
        before = loss
        if stalled == 2:
            end = k
            break
    goals = {f"iteration {n}": whole[n - 1] for n in (8, 16) if n <= end} | {"its end": whole[end]}
    row: dict[str, Any] = {"stack": name, "shape": list(r.block.shape), "gaussians": len(model)}
    row["cg"] = {"iterations": end + 1, "seconds": round(whole[end][0], 2), "loss": round(whole[end][1], 4)}
    for pairs in PAIRS:
        with set_to("KEPT_STEPS", pairs):
            trace = traced(lambda report: r.refine(model, 999, report=report), 2.0 * whole[end][0])
        over = {}
        for goal, (seconds, loss) in goals.items():
            there = next((s for s, value in trace if value <= loss), None)
            over[goal] = None if there is None else round(there / seconds, 2)
        row[f"{pairs} pairs"] = {"over_cg": over, "iterations": len(trace)}
    return row


def main() -> None:
    """Measure and write the result file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "benchmarks/results/refits.json")
    args = parser.parse_args()
    stacks = {"phantom": make_phantom((64, 256, 256), SEED)}
    stacks |= {f"{p.name.split('.')[0]} {i.channel}": i.data for p in stack_files() for i in read_images(p)}
    rows = []
    for name, voxels in stacks.items():
        refit = first_refit(np.asarray(voxels))
        if refit is None:
            continue
        rows.append(measured(name, refit))
        print(json.dumps(rows[-1]), flush=True)
        args.output.write_text(json.dumps({"ratio": RATIO, "stacks": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
