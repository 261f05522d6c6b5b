"""COCO's formats of masks, and its annotation files.

https://cocodataset.org/#format-data
"""

from __future__ import annotations

import math
from typing import Any, TypedDict

import numpy as np
import pycocotools.mask

from ovseg_client.formats.outlines import polygons
from ovseg_client.images import is_url
from ovseg_client.prediction import Prediction, Rle


class UncompressedRle(TypedDict):
    """A mask in COCO's run-length encoding, with numbers."""

    size: list[int]
    """Height and width."""
    counts: list[int]
    """Lengths of runs down the columns: off the mask, on it, off it, …; the first may be 0."""


def coco_polygons(prediction: Prediction) -> list[list[list[int]]]:
    """The masks of N prompts as COCO's `segmentation`, [N][parts of the mask][x0, y0, x1, y1, …].

    The corners are corners of pixels (the pixel at the top left is 0 0, 1 0, 1 1, 0 1), and a hole
    is joined to the outline around it by a seam without width. What fills the pixels whose centres
    are inside gets the mask back exactly, and pycocotools does (`frPyObjects`, `merge`). What
    colours the outline too, as Pillow's and OpenCV's drawing functions do, makes it one pixel
    larger to the right and to the bottom.
    """
    return [polygons(rle) for rle in prediction.chosen.flat_rles]


def uncompressed_rles(prediction: Prediction) -> list[UncompressedRle]:
    """The masks of N prompts, [N]; `pycocotools.mask.frPyObjects` makes them short again."""
    return [
        UncompressedRle(size=rle["size"], counts=_runs(rle)) for rle in prediction.chosen.flat_rles
    ]


class CocoDataset:
    """Images and their masks as one COCO annotation file, which `pycocotools.coco.COCO` loads.

        dataset = CocoDataset("car")
        for result in client.predict_many(items):
            dataset.add(result.item["image"], result.get())
        Path("annotations.json").write_text(json.dumps(dataset.as_dict()))

    Args:
        category: the name of what the masks show; each mask gets category 1.
        polygons: write masks as polygons (see `coco_polygons`) instead of run-length encoding.
            Training tools that know no run-length encoding need them; files are larger.
    """

    def __init__(self, category: str = "object", *, polygons: bool = False) -> None:
        self._category = category
        self._polygons = polygons
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []

    def add(self, file_name: str, prediction: Prediction) -> None:
        """Add an image and an annotation for each of its masks that is not empty.

        Args:
            file_name: COCO's name of the image: its path within the folder of images; or its URL.
            prediction: what was found in it.
        """
        image_id = len(self._images) + 1
        height, width = prediction.size
        image = {"id": image_id, "file_name": file_name, "width": width, "height": height}
        if is_url(file_name):
            image["coco_url"] = file_name
        self._images.append(image)
        found = prediction.chosen
        for rle, area, box, score in zip(
            found.flat_rles,
            found.areas.tolist(),
            found.boxes.tolist(),
            found.scores.tolist(),
            strict=True,
        ):
            if area:
                annotation = {
                    "id": len(self._annotations) + 1,
                    "image_id": image_id,
                    "category_id": 1,
                    "iscrowd": 0,  # One object, even where its mask is run-length encoded.
                    "bbox": box,
                    "area": area,
                    "segmentation": polygons(rle) if self._polygons else rle,
                }
                if not math.isnan(score):
                    annotation["score"] = score
                self._annotations.append(annotation)

    def as_dict(self) -> dict[str, Any]:
        """The file's content, for `json.dump`."""
        return {
            "info": {"description": "Masks found by ovseg"},
            "images": self._images,
            "annotations": self._annotations,
            "categories": [{"id": 1, "name": self._category, "supercategory": ""}],
        }


def _runs(rle: Rle) -> list[int]:
    columns = pycocotools.mask.decode(rle).ravel(order="F").astype(np.int8)
    # A run begins where a pixel differs from the one before it; before the first is no mask.
    begins = np.flatnonzero(np.diff(columns, prepend=0))
    runs: list[int] = np.diff(begins, prepend=0, append=len(columns)).tolist()
    return runs
