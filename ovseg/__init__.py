"""Promptable segmentation (SAM) on NVIDIA Triton, behind PaddleX's documented REST API."""

__version__ = "0.1.0"
