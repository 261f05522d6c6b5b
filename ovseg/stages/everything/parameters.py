"""What can be chosen, and what of it is too much."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from numpy.typing import NDArray

from ovseg.stages.errors import InvalidInputError
from ovseg.stages.settings import StageSettings

MAX_CROP_LAYERS = 3
MAX_STABILITY_OFFSET = 100.0
_BOUNDS: Mapping[str, tuple[float, float]] = {
    "points_per_side": (1, 1024),
    "points_per_batch": (1, 1024),
    "pred_iou_thresh": (0, 1),
    "stability_score_thresh": (0, 1),
    "stability_score_offset": (0, MAX_STABILITY_OFFSET),
    "box_nms_thresh": (0, 1),
    "crop_n_layers": (0, MAX_CROP_LAYERS),
    "crop_nms_thresh": (0, 1),
    "crop_overlap_ratio": (0, 0.9),
    "crop_n_points_downscale_factor": (1, 1024),
    "min_mask_region_area": (0, 2**31 - 1),
}


@dataclass(frozen=True)
class EverythingParameters:
    """The parameters of Meta's generator, under its names and with its defaults.

    But for `points_per_batch`: it changes no mask, and a batch is how long others wait.
    """

    points_per_side: int = 32
    """Points of the grid along each side of the image."""
    points_per_batch: int = 16
    """Points decoded at once."""
    pred_iou_thresh: float = 0.88
    """Masks whose predicted IoU is not above it are dropped; 0: none are."""
    stability_score_thresh: float = 0.95
    """Masks whose stability is below it are dropped; 0: none are."""
    stability_score_offset: float = 1.0
    """By how much the threshold is moved up and down to measure stability, in logits."""
    box_nms_thresh: float = 0.7
    """Masks whose boxes overlap by a larger IoU are one thing."""
    crop_n_layers: int = 0
    """How often the image is looked at again in parts: layer i has 2^i x 2^i of them."""
    crop_nms_thresh: float = 0.7
    """`box_nms_thresh` between masks of different parts."""
    crop_overlap_ratio: float = 512 / 1500
    """How far parts of the first layer overlap, as a share of the image's shorter side."""
    crop_n_points_downscale_factor: int = 1
    """Layer i has `points_per_side / factor^i` points a side."""
    min_mask_region_area: int = 0
    """Holes and separate regions with fewer pixels are removed from masks; 0: none are."""

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, NDArray[Any]], settings: StageSettings
    ) -> EverythingParameters:
        """Those that a request has; defaults for the others.

        Args:
            tensors: one element each, by the parameter's name; others are not looked at.
            settings: defaults for the numbers of points.
        """
        defaults = {
            "points_per_side": settings.everything_points_per_side,
            "points_per_batch": settings.everything_points_per_batch,
        }
        given = {
            field.name: tensors[field.name].item() for field in fields(cls) if field.name in tensors
        }
        return cls(**{**defaults, **given})

    def points_per_side_of(self, layer: int) -> int:
        """Of the grid in that layer's crops; layer 0 is the whole image."""
        return int(self.points_per_side / self.crop_n_points_downscale_factor**layer)

    @property
    def total_points(self) -> int:
        """Of all grids together."""
        return sum(
            4**layer * self.points_per_side_of(layer) ** 2
            for layer in range(self.crop_n_layers + 1)
        )

    def check(self, max_points: int, max_points_per_batch: int) -> None:
        """Refuse what makes no sense, or too much work.

        Raises:
            InvalidInputError: the field is the parameter's name.
        """
        bounds = {**_BOUNDS, "points_per_batch": (1, max_points_per_batch)}
        for name, (least, most) in bounds.items():
            if not least <= getattr(self, name) <= most:  # false for NaN too
                raise InvalidInputError(name, f"should be between {least:g} and {most:g}")
        if self.points_per_side_of(self.crop_n_layers) < 1:
            raise InvalidInputError(
                "crop_n_points_downscale_factor",
                f"leaves no point in the crops of layer {self.crop_n_layers}",
            )
        if self.total_points > max_points:
            raise InvalidInputError(
                "points_per_side",
                f"{self.total_points} points in all crops together are over the limit of "
                f"{max_points}",
            )
