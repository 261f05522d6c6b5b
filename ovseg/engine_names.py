"""The names of engines and precisions, as settings, manifests and the command line have them."""

from __future__ import annotations

from typing import Literal

EngineName = Literal["auto", "openvino", "paddle", "onnxruntime", "tensorrt"]
PrecisionName = Literal["auto", "fp32", "bf16", "int8", "fp16"]
