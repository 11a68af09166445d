"""An eight-lane float32 vector type for numba, so that inner loops stay in registers.

LLVM lowers it to whatever the machine has (two SSE or NEON registers, one AVX, half an AVX-512).
Multiplications followed by additions may contract to fused ones.
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, lower_builtin, models, register_model, type_callable

LANES = 8


class _Vec8Type(types.Type):
    def __init__(self) -> None:
        super().__init__(name="Vec8f")


class _Mask8Type(types.Type):
    def __init__(self) -> None:
        super().__init__(name="Mask8")


vec8 = _Vec8Type()
mask8 = _Mask8Type()
_F = ir.FloatType()
_I32 = ir.IntType(32)
_VF = ir.VectorType(_F, LANES)
_VI = ir.VectorType(_I32, LANES)
_VB = ir.VectorType(ir.IntType(1), LANES)
_FAST = ("contract", "nsz", "nnan", "ninf", "arcp")


@register_model(_Vec8Type)
class _Vec8Model(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Any) -> None:
        super().__init__(dmm, fe_type, _VF)


@register_model(_Mask8Type)
class _Mask8Model(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Any) -> None:
        super().__init__(dmm, fe_type, _VB)


def _type_binary(op: Any) -> None:
    @type_callable(op)
    def _typer(context: Any) -> Any:
        def typer(a: Any, b: Any) -> Any:
            if a == vec8 and b == vec8:
                return vec8
            return None

        return typer


for _op in (operator.add, operator.sub, operator.mul, operator.iadd, operator.isub, operator.imul):
    _type_binary(_op)


def _lower(op: Any, name: str) -> None:
    @lower_builtin(op, _Vec8Type, _Vec8Type)
    def _impl(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return getattr(builder, name)(args[0], args[1], flags=_FAST)


for _op, _name in (
    (operator.add, "fadd"),
    (operator.iadd, "fadd"),
    (operator.sub, "fsub"),
    (operator.isub, "fsub"),
    (operator.mul, "fmul"),
    (operator.imul, "fmul"),
):
    _lower(_op, _name)


def _splat(builder: Any, scalar: Any) -> Any:
    undef = ir.Constant(_VF, ir.Undefined)
    one = builder.insert_element(undef, scalar, ir.Constant(_I32, 0))
    return builder.shuffle_vector(one, undef, ir.Constant(_VI, [0] * LANES))


@intrinsic
def splat(typingctx: Any, x: Any) -> Any:
    """float32 -> all lanes."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _splat(builder, args[0])

    return vec8(types.float32), codegen


@intrinsic
def iota(typingctx: Any) -> Any:
    """Lanes 0, 1, ... 7."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return ir.Constant(_VF, [float(i) for i in range(LANES)])

    return vec8(), codegen


def _element_pointer(context: Any, builder: Any, arr_type: Any, arr: Any, idx: Any) -> Any:
    struct = context.make_array(arr_type)(context, builder, value=arr)
    ptr = builder.gep(struct.data, [idx], inbounds=True)
    return builder.bitcast(ptr, _VF.as_pointer())


@intrinsic
def load(typingctx: Any, arr: Any, idx: Any) -> Any:
    """Eight lanes from a contiguous 1-D float32 array, any alignment."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        ptr = _element_pointer(context, builder, sig.args[0], args[0], args[1])
        inst = builder.load(ptr, typ=_VF)
        inst.align = 4
        return inst

    return vec8(arr, types.intp), codegen


@intrinsic
def store(typingctx: Any, arr: Any, idx: Any, v: Any) -> Any:
    """Eight lanes into a contiguous 1-D float32 array, any alignment."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        ptr = _element_pointer(context, builder, sig.args[0], args[0], args[1])
        inst = builder.store(args[2], ptr)
        inst.align = 4
        return context.get_dummy_value()

    return types.void(arr, types.intp, vec8), codegen


@intrinsic
def greater(typingctx: Any, a: Any, b: Any) -> Any:
    """Lane-wise a > b."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.fcmp_ordered(">", args[0], args[1])

    return mask8(vec8, vec8), codegen


@intrinsic
def keep(typingctx: Any, m: Any, a: Any) -> Any:
    """a where the mask holds, else 0."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(args[0], args[1], ir.Constant(_VF, [0.0] * LANES))

    return vec8(mask8, vec8), codegen


@intrinsic
def positive(typingctx: Any, a: Any) -> Any:
    """max(a, 0) by lanes."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        zero = ir.Constant(_VF, [0.0] * LANES)
        return builder.select(builder.fcmp_ordered(">", args[0], zero), args[0], zero)

    return vec8(vec8), codegen


@intrinsic
def horizontal_sum(typingctx: Any, a: Any) -> Any:
    """Sum of the lanes, in a fixed tree order."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        parts = [builder.extract_element(args[0], ir.Constant(_I32, i)) for i in range(LANES)]
        while len(parts) > 1:
            half = len(parts) // 2
            parts = [builder.fadd(parts[i], parts[i + half]) for i in range(half)]
        return parts[0]

    return types.float32(vec8), codegen


@intrinsic
def exp(typingctx: Any, a: Any) -> Any:
    """exp by lanes; relative error under 4e-7 on [-86, 86], clamped outside."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        def const(v: float) -> Any:
            return ir.Constant(_VF, [v] * LANES)

        x = args[0]
        lo, hi = const(-86.0), const(86.0)
        x = builder.select(builder.fcmp_ordered("<", x, lo), lo, x)
        x = builder.select(builder.fcmp_ordered(">", x, hi), hi, x)
        y = builder.fmul(x, const(1.4426950408889634))
        # Adding and taking away 1.5 * 2^23 rounds to the nearest integer.
        n = builder.fsub(builder.fadd(y, const(12582912.0)), const(12582912.0))
        # Two-part ln 2 keeps the reduced argument exact enough.
        r = builder.fsub(x, builder.fmul(n, const(0.693359375)))
        r = builder.fsub(r, builder.fmul(n, const(-2.12194440e-4)))
        p = const(1.0 / 720.0)
        for c in (1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0):
            p = builder.fadd(builder.fmul(p, r, flags=_FAST), const(c), flags=_FAST)
        ni = builder.fptosi(n, _VI)
        bits = builder.shl(builder.add(ni, ir.Constant(_VI, [127] * LANES)), ir.Constant(_VI, [23] * LANES))
        return builder.fmul(p, builder.bitcast(bits, _VF))

    return vec8(vec8), codegen


@intrinsic
def exp2(typingctx: Any, a: Any) -> Any:
    """2 ** a by lanes for a <= 0; relative error under 2e-7 down to -120, and clamped there."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        def const(v: float) -> Any:
            return ir.Constant(_VF, [v] * LANES)

        low = const(-120.0)
        x = builder.select(builder.fcmp_ordered(">", args[0], low), args[0], low)
        # Adding 1.5 * 2^23 leaves the nearest integer in the low bits.
        shifted = builder.fadd(x, const(12582912.0))
        f = builder.fsub(x, builder.fsub(shifted, const(12582912.0)))
        p = const(0.00132254012)
        for c in (0.00967566817, 0.0555086403, 0.240221306, 0.693146923, 1.0000000565):
            p = builder.fadd(builder.fmul(p, f, flags=_FAST), const(c), flags=_FAST)
        power = builder.shl(builder.bitcast(shifted, _VI), ir.Constant(_VI, [23] * LANES))
        return builder.bitcast(builder.add(builder.bitcast(p, _VI), power), _VF)

    return vec8(vec8), codegen
