"""What the tests of a pipeline's server share."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.conftest import STANDIN_MODELS

NAME = "open_vocabulary_segmentation"
ARRAY = np.zeros((30, 40, 3), np.uint8)
BOX = [[5, 5, 30, 20]]


def areas(pipeline: Any) -> list[int]:
    (result,) = pipeline.predict(input=ARRAY, prompt=BOX)
    return [int(mask.sum()) for mask in result["masks"]]


def standin_config() -> dict[str, Any]:
    return {
        "pipeline_name": NAME,
        "SubModules": {
            f"{kind}PromptSegmentation": {"model_dir": f"{STANDIN_MODELS}/SAM-H_{kind.lower()}"}
            for kind in ("Box", "Point")
        },
    }
