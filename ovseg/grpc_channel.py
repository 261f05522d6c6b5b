"""Options of the gRPC channels to Triton."""

from __future__ import annotations

RECONNECT_SOON = [
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 500),
]
"""A Triton that has just started is found soon; by default pauses grow to two minutes."""
