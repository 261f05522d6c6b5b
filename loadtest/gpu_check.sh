#!/bin/bash
# Everything that is to be known from a GPU, in one command and less than five minutes:
#
#     loadtest/gpu_check.sh [FOLDER]     writes FOLDER/gpu.md (default: docs/benchmarks)
#
# With TensorRT: builds plans of sam_mini and of sam_vit_b (weights from a seed), compares their
# masks with Paddle's in float32, and times them. With PyTorch and transformers: times SAM's ViT-B,
# eager and compiled. What a machine lacks is left out, and gpu.md says so. The card's settings are
# left as they are.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:-${OUT:-docs/benchmarks}}
python=python3
[ -x .venv/bin/python ] && python=.venv/bin/python
if ! "$python" -c 'import tensorrt' 2>/dev/null; then
  # The libraries (1 GB and more) come from pypi.nvidia.com, which not every network reaches.
  timeout 100 "$python" -m pip install --quiet --retries 0 --timeout 10 tensorrt-cu13 cuda-bindings \
    || echo "TensorRT could not be installed" >&2
fi
mkdir -p "$folder"
export PYTHONPATH="$PWD:$PWD/client:$PWD/gateway${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
exec timeout "${GPU_CHECK_SECONDS:-280}" "$python" -m loadtest.gpu_check --output "$folder/gpu.md"
