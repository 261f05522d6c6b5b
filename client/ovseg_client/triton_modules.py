"""The modules of the extra `grpc`, or an error that says how to get them."""

from __future__ import annotations

try:
    import grpc  # type: ignore[import-untyped]
    import tritonclient.grpc as triton
    import tritonclient.grpc.aio as aio
    from tritonclient.utils import InferenceServerException
except (ImportError, RuntimeError) as missing:  # RuntimeError: tritonclient without gRPC.
    raise ImportError(
        f"grpc:// addresses need tritonclient: pip install 'ovseg-client[grpc]' ({missing})"
    ) from missing

__all__ = ["InferenceServerException", "aio", "grpc", "triton"]
