"""The tutorial's lines on some inputs, with whatever module has `create_pipeline`.

PaddleX runs it in its own environment (`compare_pipeline.py` starts it), our client in ours: the
lines are the same but for the import. It needs numpy, Pillow and pycocotools only.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask
from PIL import Image

_NAME_OF_AN_ARRAY = re.compile(r"\d{10}_\d+")
_HOME = re.compile(r"^/.*/predict_input/")


def run_case(pipeline: Any, case: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What one call of `predict` gives and what its results print and save.

    Args:
        pipeline: what `create_pipeline` returned.
        case: `input`, `prompt`, and perhaps `prompt_type`, in the form of `pipeline_cases.py`.
        folder: an empty folder to save into.

    Returns:
        JSON values: `results`, one for each image; `files` saved; `error` where a call failed.
    """
    record: dict[str, Any] = {"results": [], "files": {}, "error": None}
    arguments = {key: case[key] for key in ("prompt", "prompt_type") if key in case}
    if case.get("numpy"):
        arguments["prompt"] = np.array(arguments["prompt"])
    try:
        for result in pipeline.predict(input=_input(case["input"]), **arguments):
            described = {"save_error": None}
            record["results"].append(described)
            _describe(result, described)
            try:
                result.save_to_img(save_path=str(folder))
                result.save_to_json(save_path=str(folder), indent=4, ensure_ascii=False)
            except Exception as error:
                described["save_error"] = _line(error)
    except Exception as error:
        record["error"] = _line(error)
    for file in sorted(folder.rglob("*")):
        name = _NAME_OF_AN_ARRAY.sub("TIME_RANDOM", str(file.relative_to(folder)))
        record["files"][name] = _describe_file(file)
    return record


def _describe(result: Any, described: dict[str, Any]) -> None:
    described["keys"] = [key for key in result.json["res"]]
    described["printed"] = _printed(result, ())
    described["printed_json"] = _printed(result, (True, 4, False))
    content = result.json["res"]
    masks = np.array(content.pop("masks"), np.uint8)
    described["json"] = content
    described["rles"] = [_counts(mask) for mask in masks]
    described["size"] = list(masks.shape[1:])
    described["arrays"] = [[str(mask.dtype), list(mask.shape)] for mask in result["masks"]]
    described["same_in_dictionary"] = np.array_equal(np.array(result["masks"]), masks)
    described["input_img"] = [str(result["input_img"].dtype), list(result["input_img"].shape)]
    try:
        picture = result.img["res"]
        described["picture"] = [picture.mode, list(picture.size)]
    except Exception as error:
        described["picture"] = _line(error)


def _printed(result: Any, arguments: tuple[Any, ...]) -> str:
    """Where PaddleX logs, we print: both are caught, without colours."""
    text = io.StringIO()
    logger, handler = logging.getLogger("paddlex"), logging.StreamHandler(text)
    logger.addHandler(handler)
    try:
        with contextlib.redirect_stdout(text):
            result.print(*arguments)
    finally:
        logger.removeHandler(handler)
    return text.getvalue()


def _describe_file(file: Path) -> dict[str, Any]:
    described: dict[str, Any] = {"bytes": file.stat().st_size}
    if file.suffix == ".json":
        content = json.loads(file.read_text("utf-8"))
        masks = np.array(content.pop("masks"), np.uint8)
        return {**described, "json": content, "rles": [_counts(mask) for mask in masks]}
    with Image.open(file) as picture:
        return {**described, "picture": [picture.format, picture.mode, list(picture.size)]}


def _counts(mask: Any) -> str:
    text: str = pycocotools.mask.encode(np.asfortranarray(mask))["counts"].decode("ascii")
    return text


def _input(given: Any) -> Any:
    if isinstance(given, list):
        return [_input(one) for one in given]
    if isinstance(given, dict):
        pixels = np.asarray(Image.open(given["array"]).convert("RGB"))[:, :, ::-1]
        return np.ascontiguousarray(pixels)
    return given


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def main() -> None:
    """Run all cases; the working directory is the folder of their inputs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("module", help="paddlex or ovseg_client")
    parser.add_argument("pipeline", help="name or YAML file")
    parser.add_argument("cases", type=Path, help="JSON: {name: case}")
    parser.add_argument("output", type=Path, help="folder; records.json and the saved files")
    arguments = parser.parse_args()
    create_pipeline = importlib.import_module(arguments.module).create_pipeline
    pipeline = create_pipeline(pipeline=arguments.pipeline, device="cpu", use_hpip=False)
    records = {}
    for name, case in json.loads(arguments.cases.read_text("utf-8")).items():
        folder = arguments.output / name
        folder.mkdir(parents=True)
        records[name] = run_case(pipeline, case, folder)
    text = json.dumps(records, indent=1, ensure_ascii=False)
    (arguments.output / "records.json").write_text(text, "utf-8")


if __name__ == "__main__":
    main()
