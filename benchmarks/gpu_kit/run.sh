#!/usr/bin/env bash
# One call's work on a machine with a GPU, most telling things first: bash .gpu/run.sh, in the repository's root.
# What comes back lies under $OUT: at most 8 files.
#   VGM_KIT_SECONDS  for all steps together (440)
#   VGM_KIT_PARTS    names of the steps to run, else all: doctor first cuda fit probe encode memcheck racecheck decode steps bench
#   VGM_KIT_DRY=1    the same steps where there is no GPU: tries the kit itself
set -u
kit=$(cd "$(dirname "$0")" && pwd)
root=$PWD
out=${OUT:-$(mktemp -d)}
mkdir -p "$out"
limit=${VGM_KIT_SECONDS:-440}
parts=" ${VGM_KIT_PARTS:-doctor first fit probe encode decode steps cuda memcheck racecheck bench} "
dry=${VGM_KIT_DRY:-}
python=${VGM_KIT_PYTHON:-python3}
log=$out/log.txt
scratch=$(mktemp -d)
: >"$log"
export VGM_KIT_DRY="$dry" PYTHONUNBUFFERED=1 PYTHONPATH="$scratch/site:$root" CUPY_CACHE_DIR=$scratch/cupy
export PATH="$scratch/bin:$PATH:/usr/local/cuda/bin"
mkdir -p "$scratch/site" "$scratch/bin" "$CUPY_CACHE_DIR"
touch "$scratch/begun"

say() { echo "$*" | tee -a "$log"; }

# step NAME SECONDS COMMAND...: runs it within its seconds and those left of all; its end is shown, all of it is in the log.
step() {
    local name=$1 most=$2 left=$((limit - SECONDS)) begun=$SECONDS rc
    shift 2
    [[ $parts == *" $name "* || $name == setup* ]] || return 0
    [ "$most" -le "$left" ] || most=$left
    if [ "$most" -lt 8 ]; then
        say "== $name: no time left"
        results+="$name no-time"$'\n'
        return 0
    fi
    echo "== $name: $*" >>"$log"
    timeout -k 5 "$most" "$@" >"$scratch/said" 2>&1
    rc=$?
    cat "$scratch/said" >>"$log"
    say "== $name: exit $rc after $((SECONDS - begun)) s (of $most)"
    tail -n "${shown:-6}" "$scratch/said" | cut -c1-200
    results+="$name exit=$rc seconds=$((SECONDS - begun))"$'\n'
    last=$rc
}
results=""
last=0

# -- what is here ------------------------------------------------------------------------------
{
    date -u
    nvidia-smi 2>&1 | head -20
    nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,clocks.max.mem,pcie.link.gen.max,pcie.link.width.max --format=csv 2>&1
    nvidia-smi topo -m 2>&1 | head -5
    uname -r; nproc; free -g | head -2; df -h /tmp | tail -1
    command -v nvcc compute-sanitizer ncu nsys g++ git
    nvcc --version 2>&1 | tail -2
    "$python" -VV
    "$python" -m pip list 2>/dev/null | grep -iE '^(numpy|scipy|torch|cupy|cuda|nvidia-cuda|scikit-image|tifffile|imagecodecs|zstandard|pytest|hypothesis|click|rich|fsspec|triton) ?'
} >>"$log" 2>&1
if ls "$kit"/whl/*.whl >/dev/null 2>&1; then
    step setup-wheels 60 "$python" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade \
        --target "$scratch/site" "$kit"/whl/*.whl
fi
# The benchmarks ask git for the commit; there may be no git, nor a repository, where this runs.
if [ -s "$kit/commit" ]; then
    printf '#!/bin/sh\ncat "%s"\n' "$kit/commit" >"$scratch/bin/git" && chmod +x "$scratch/bin/git"
fi
# The extension modules, unless they came along built: with what is there, setuptools and a C compiler.
if ! "$python" -c 'from volmicro_codec import _cells, _coder, _native, _network, _raster, _steps' 2>>"$log"; then
    step setup-native 90 make native PYTHON="$python"
fi
shown=3 step setup-imports 60 "$python" -c '
import numpy, scipy, tifffile, torch, click, rich, zstandard, volmicro_codec, volmicro_codec.encoder, volmicro_codec.cli
try:
    import imagecodecs
except ImportError as e:
    print("no imagecodecs:", e)
try:
    import cupy; print("cupy", cupy.__version__)
except ImportError as e:
    print("no cupy:", e)
print("numpy", numpy.__version__, "torch", torch.__version__, torch.cuda.is_available())'

# -- tests -------------------------------------------------------------------------------------
options=(-q -m gpu -W default --tb=short -ra --maxfail=30 -o "cache_dir=$scratch/pytest")
"$python" -c 'import pytest_timeout' 2>/dev/null && options+=(--timeout=90)
many=()
"$python" -c 'import xdist' 2>/dev/null && many=(-n "$(($(nproc) < 6 ? $(nproc) : 6))")
tests=("$python" -m pytest "${options[@]}")

shown=30 step doctor 60 "$python" -m volmicro_codec.cli doctor
step first 75 "${tests[@]}" tests/cuda/test_devices.py tests/cuda/test_voxels.py tests/cuda/test_fit_kernels.py \
    -k 'opened_once or tolerance or region or each_others or of_the_cpu or dlpack or what_the_cpu' --junitxml "$out/first.xml"
if [ "$last" -ne 0 ] && [ "$last" -ne 5 ] && command -v compute-sanitizer >/dev/null; then
    # Said at once where: the first test that failed, alone, under memcheck.
    parts+="why "
    VGM_SANITIZE=1 shown=25 step why 60 compute-sanitizer --tool memcheck --report-api-errors no --target-processes all \
        "${tests[@]}" --last-failed --last-failed-no-failures none --maxfail=1 tests/cuda
fi
step fit 75 "${tests[@]}" "${many[@]}" tests/encoder/test_device_fit.py tests/encoder/test_device_waits.py \
    tests/encoder/test_device_loop.py -k 'not shared_stacks' --junitxml "$out/fit.xml"

# -- figures -----------------------------------------------------------------------------------
shown=24 step probe 110 "$python" "$kit/probe.py" "$out/probe.json" "$kit/phantom.vgm"
if [ -n "$dry" ]; then
    encode=(--device cpu --shape 16,64,64 --ratio 100 --limit 110)
else
    encode=(--limit 112)
fi
shown=34 step encode 120 "$python" "$kit/stage_times.py" "$out/stages.json" "${encode[@]}"

# The project's own benchmark, whose result file is committed.
step decode 70 "$python" benchmarks/gpu_decode.py --repeats 10
step steps 40 "$python" benchmarks/gpu_fit.py --file "$kit/phantom.vgm"

step cuda 90 "${tests[@]}" "${many[@]}" tests/cuda -k 'not shared_stacks' --junitxml "$out/cuda.xml"

# -- under the sanitiser -----------------------------------------------------------------------
few=(tests/cuda/test_binning.py tests/cuda/test_voxels.py tests/cuda/test_fit_kernels.py tests/cuda/test_fields.py
    tests/cuda/test_steps.py -k 'reaches_it and scattered or lists_of_any or tolerance and scattered or sums_under and scattered
    or derivative and leaving or dot_is or hosts or as_on_the_host')
for tool in memcheck racecheck; do
    if command -v compute-sanitizer >/dev/null; then
        VGM_SANITIZE=1 VGM_HYPOTHESIS=default shown=8 step $tool 55 compute-sanitizer --tool $tool --report-api-errors no \
            --error-exitcode 9 --target-processes all "${tests[@]}" "${few[@]}"
    else
        say "== $tool: no compute-sanitizer here"
    fi
done

# -- if time is left ------------------------------------------------------------------------------
step bench 150 "$python" benchmarks/gpu_encode.py --no-stacks
for file in benchmarks/results/gpu_*.json; do
    [ -e "$file" ] && [ "$file" -nt "$scratch/begun" ] && cp "$file" "$out/"
done

say "== steps"
say "$results"
say "== $SECONDS s in all; under \$OUT: $(ls "$out" | tr '\n' ' ')"
rm -rf "$scratch"
