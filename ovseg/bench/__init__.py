"""Measurements: PaddleX and this service side by side, where the time goes, instance counts."""
