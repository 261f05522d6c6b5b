"""PaddleX's masks for some images and prompts; runs in PaddleX's own environment.

`compare_with_paddlex.py` starts it: it reads a JSON file and writes the masks as an .npz file.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from paddlex import create_pipeline


def main() -> None:
    """Run PaddleX's pipeline on every case of the work file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path, help='JSON: {"models": {kind: folder}, "cases": […]}')
    parser.add_argument("output", type=Path, help=".npz to write: masks of case i as `i`")
    arguments = parser.parse_args()
    work = json.loads(arguments.work.read_text("utf-8"))
    pipeline = create_pipeline(
        config={
            "pipeline_name": "open_vocabulary_segmentation",
            "SubModules": {
                f"{kind.capitalize()}PromptSegmentation": {
                    "module_name": f"{kind}_prompt_segmentation",
                    "model_name": f"SAM-H_{kind}",
                    "model_dir": folder,
                    "batch_size": 1,
                }
                for kind, folder in work["models"].items()
            },
        },
        device="cpu",
    )
    masks = {}
    for index, case in enumerate(work["cases"]):
        (result,) = pipeline.predict(
            case["image"], prompt=case["prompt"], prompt_type=case["prompt_type"]
        )
        masks[str(index)] = np.asarray(result["masks"], bool).reshape(
            -1, *np.asarray(result["masks"]).shape[-2:]
        )
    np.savez_compressed(arguments.output, **masks)


if __name__ == "__main__":
    main()
