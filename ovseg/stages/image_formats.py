"""The image formats that the `preprocess` stage can be told to accept."""

from __future__ import annotations

IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
"""In Pillow's names."""
