"""REST gateway in front of Triton: HTTP and JSON in, one gRPC call, JSON out.

It decides nothing about pixels: an image passes through as the bytes it came as, and masks as the
run-length text that the `postprocess` stage wrote.
"""

from ovseg_gateway.app import create_app

__all__ = ["create_app"]
