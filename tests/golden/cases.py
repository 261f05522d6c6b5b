"""The prompts whose results other implementations and ours are compared on.

Coordinates are (x, y) in pixels of the original photo, boxes are xyxy.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

PHOTO_FOLDER = Path(__file__).resolve().parent.parent / "data"
EMBEDDING_STEP = 41  # every 41st value of the flattened embedding is kept
LOGIT_STEP = 2  # every 2nd row and column of the low-resolution logits


@dataclass(frozen=True)
class Case:
    """One prompt."""

    name: str
    points: tuple[tuple[float, float], ...] = ()
    labels: tuple[int, ...] = ()
    box: tuple[float, float, float, float] | None = None
    has_mask_input: bool = False
    multimask: bool = False


@dataclass(frozen=True)
class Golden:
    """One `.npz` file: a network, a photo, and the prompts on it."""

    name: str
    variant: str
    photo: str
    cases: tuple[Case, ...]
    reference: Literal["meta", "mobile_sam", "hugging_face"] = "meta"
    """Whose code gives the answers."""

    @property
    def model(self) -> str:
        """The name that the tests install the reference's weights under."""
        return "sam_tiny_hugging_face" if self.reference == "hugging_face" else self.variant


def mask_input() -> NDArray[np.float32]:
    """A mask input, float32 [256, 256]: logits of an ellipse, as an earlier answer would look."""
    rows, columns = np.mgrid[0:256, 0:256].astype(np.float32)
    distance = ((columns - 110) / 60) ** 2 + ((rows - 80) / 45) ** 2
    return np.clip(8 * (1 - distance), -12, 8).astype(np.float32)


COFFEE_CASES = (
    Case("box", box=(145.5, 60, 450, 330)),
    Case("single_point", points=((300, 190),), labels=(1,)),
    Case(
        "negative_points",
        points=((300, 190), (410.25, 250), (60, 350), (560, 40)),
        labels=(1, 1, 0, 0),
    ),
    Case(
        "box_and_points",
        points=((300, 190), (200, 120)),
        labels=(1, 0),
        box=(145, 60, 450, 330),
    ),
    Case("mask_input", points=((300, 190),), labels=(1,), has_mask_input=True),
    Case("multimask", points=((300, 190),), labels=(1,), multimask=True),
    Case("box_multimask", box=(0, 0, 599, 399), has_mask_input=True, multimask=True),
)
RETINA_CASES = (
    Case("box", box=(150, 300, 420, 610)),
    Case("negative_points", points=((1000, 500), (200, 1000)), labels=(1, 0)),
    Case("multimask", points=((1000, 500),), labels=(1,), multimask=True),
)

GOLDENS = (
    Golden("sam_vit_b_coffee", "sam_vit_b", "coffee.jpg", COFFEE_CASES),
    Golden("sam_tiny_coffee", "sam_tiny", "coffee.jpg", COFFEE_CASES),
    Golden("sam_tiny_retina", "sam_tiny", "retina.jpg", RETINA_CASES),
    Golden("mobile_sam_coffee", "mobile_sam", "coffee.jpg", COFFEE_CASES, "mobile_sam"),
    Golden("hugging_face_coffee", "sam_tiny", "coffee.jpg", COFFEE_CASES, "hugging_face"),
    Golden("hugging_face_retina", "sam_tiny", "retina.jpg", RETINA_CASES, "hugging_face"),
)

COMPARED = [
    golden for golden in GOLDENS if golden.model != "sam_vit_b" or "OVSEG_GOLDEN_DIR" in os.environ
]
"""Those that a test run compares with; ViT-B takes minutes."""
