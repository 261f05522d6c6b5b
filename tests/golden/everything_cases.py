"""The images in which Meta's automatic mask generator and ours look for everything.

The weights are those of the bundled `sam_mini`: of random ones no mask would be good enough.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent.parent
WEIGHTS = _ROOT / "weights" / "sam_mini.safetensors"


@dataclass(frozen=True)
class EverythingCase:
    """One `.npz` file: a photo, and parameters under the names that both sides have for them."""

    name: str
    photo: Path
    parameters: dict[str, float] = field(default_factory=dict)


# Meta's defaults but for the number of points, which decides the time; the model is small and
# seldom as sure of itself as the thresholds for ViT-H want it.
EVERYTHING_CASES = (
    EverythingCase(
        "everything_photo",
        _ROOT / "examples" / "photo.jpg",
        {"points_per_side": 12, "pred_iou_thresh": 0.4, "stability_score_thresh": 0.5},
    ),
    EverythingCase(
        "everything_crops",
        _ROOT / "tests" / "contract" / "data" / "images" / "base.jpg",
        {
            "points_per_side": 8,
            "pred_iou_thresh": 0.4,
            "stability_score_thresh": 0.5,
            "crop_n_layers": 1,
            "crop_n_points_downscale_factor": 2,
            "min_mask_region_area": 50,
        },
    ),
)
