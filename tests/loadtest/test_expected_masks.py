"""Under load, only the idle server's masks count as right."""

from __future__ import annotations

from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from tests.loadtest.scripts import load_script

BOX = (1.0, 2.0, 3.0, 4.0)
MASK = np.zeros((40, 50), np.uint8)
MASK[5:35, 5:45] = 1


def rle(mask: Any) -> dict[str, Any]:
    encoded = coco_mask.encode(np.asfortranarray(mask))
    return {"size": encoded["size"], "counts": encoded["counts"].decode("ascii")}


def test_the_same_mask_is_right_and_others_are_not() -> None:
    expected = load_script("expected_masks").ExpectedMasks()
    expected.learn([BOX], lambda _box: [rle(MASK)])
    nearly, shifted = MASK.copy(), np.roll(MASK, 3, axis=1)
    nearly[5, 5] = 0

    assert expected.problem(BOX, [rle(MASK)]) is None
    assert expected.problem(BOX, [rle(nearly)]) is None
    assert "IoU 0.8" in expected.problem(BOX, [rle(shifted)])
    assert "0 masks" in expected.problem(BOX, [])
    assert "2 masks" in expected.problem(BOX, [rle(MASK)] * 2)
    assert "[50, 40]" in expected.problem(BOX, [rle(MASK.T)])
