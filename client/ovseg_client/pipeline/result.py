"""One image's result, with the methods that PaddleX's results have."""

from __future__ import annotations

import io
import json
import mimetypes
import os
import random
import time
import uuid
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from ovseg_client.pipeline.inputs import InputImage
from ovseg_client.prediction import Prediction

Row = list[float]
"""A prompt as the caller gave it: x0, y0, x1, y1 of a box, or x, y of a point."""

PromptType = Literal["box", "point"]

# In the class below `str` is a property, as in PaddleX's results.
SavePath = str | os.PathLike[str]
Described = dict[str, Any]

_JPEG_SUFFIXES = (".jpg", ".jpeg")


class SegmentationResult(Described):
    """What was found in one image.

    A dictionary with these keys:

        input_path: the file or URL, None for an array.
        prompts: {"box_prompt": rows} or {"point_prompt": rows}.
        masks: int8 arrays [H, W] of 0 and 1, one for each row.
        mask_infos: {"label": "box_prompt" or "point_prompt", "prompt": row} for each mask.
        input_img: the image, uint8 [H, W, 3] in RGB order; decoded when asked for.
    """

    def __init__(
        self,
        source: InputImage,
        prompt_type: PromptType,
        prompts: list[Row],
        prediction: Prediction,
    ) -> None:
        label = f"{prompt_type}_prompt"
        super().__init__(
            input_path=source.path,
            prompts={label: prompts},
            masks=[mask.view(np.int8) for mask in prediction.masks],
            mask_infos=[{"label": label, "prompt": row} for row in prompts],
        )
        self._source = source
        self.prediction = prediction
        """What the server said: run-length texts, scores, timings."""
        self.page_index = source.page
        """Counted from 0, of a file that has several pages; None for all others."""
        self._name = source.name or f"{int(time.time())}_{random.randrange(10**9)}"

    def __missing__(self, key: object) -> npt.NDArray[np.uint8]:
        if key != "input_img":
            raise KeyError(key)
        with Image.open(io.BytesIO(self._source.file)) as image:
            pixels = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        self[key] = pixels
        return pixels

    @property
    def json(self) -> dict[Literal["res"], Described]:
        """{"res": …}: the result in lists and numbers, masks as rows of 0 and 1."""
        return {"res": self._described([mask.tolist() for mask in self["masks"]])}

    @property
    def str(self) -> dict[Literal["res"], Described]:
        """{"res": …}: the result for people, without masks."""
        return {"res": self._described("...")}

    @property
    def img(self) -> dict[Literal["res"], Image.Image]:
        """{"res": picture}: the image with masks and prompts drawn, RGB.

        Raises:
            ValueError: the prediction was made with `visualize=False`.
        """
        picture = Image.open(io.BytesIO(self._overlay()))
        picture.load()
        return {"res": picture}

    def print(
        self,
        format_json: bool = False,
        indent: int = 4,
        ensure_ascii: bool = False,
        *,
        json_format: bool = False,
    ) -> None:
        """Print the result without its masks on standard output.

        Args:
            format_json: as JSON, not as Python would show it.
            indent: spaces for each level of JSON.
            ensure_ascii: write other characters as escapes in JSON.
            json_format: the same as `format_json`: PaddleX's documentation and its code differ.
        """
        if format_json or json_format:
            print(json.dumps(self.str, indent=indent, ensure_ascii=ensure_ascii))
        else:
            print(self.str)

    def save_to_json(
        self,
        save_path: SavePath,
        indent: int | None = 4,
        ensure_ascii: bool = False,
        **options: Any,
    ) -> None:
        """Write `.json["res"]`, each row of a mask on one line.

        Args:
            save_path: a name that ends in .json, or a folder, which gets `{basename}_res.json`.
            indent: spaces for each level; None: everything on one line.
            ensure_ascii: write other characters as escapes.
            options: further arguments of `json.dumps`.

        Raises:
            OSError: it cannot be written.
        """
        target = Path(save_path)
        if mimetypes.guess_type(target.name)[0] != "application/json":
            target /= f"{Path(self._name).stem}_res.json"
        # Python's own encoder would put every pixel on a line of its own: 14 MB for one mask of
        # 1000 x 750 pixels.
        place = uuid.uuid4().hex
        text = json.dumps(
            self._described(place), indent=indent, ensure_ascii=ensure_ascii, **options
        )
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text.replace(f'"{place}"', _masks_text(self["masks"], indent)), "utf-8")

    def save_to_img(self, save_path: SavePath) -> None:
        """Write the picture of `.img`.

        Args:
            save_path: the name of an image file, or a folder, which gets `{basename}_res` with the
                input's suffix, or .png where there is none to write pictures of.

        Raises:
            OSError: it cannot be written.
            ValueError: the prediction was made with `visualize=False`, or no such image files can
                be written.
        """
        target = Path(save_path)
        if not _is_picture(target):
            name = Path(self._name)
            target /= f"{name.stem}_res{name.suffix if _is_picture(name) else '.png'}"
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.suffix.lower() in _JPEG_SUFFIXES:
            target.write_bytes(self._overlay())  # It is a JPEG file already.
        else:
            self.img["res"].save(target)

    def save_all(self, save_path: SavePath) -> None:
        """Write the JSON file and the picture into a folder."""
        self.save_to_json(save_path)
        self.save_to_img(save_path)

    def _overlay(self) -> bytes:
        if self.prediction.overlay is None:
            raise ValueError("there is no picture: the prediction was made with visualize=False")
        return self.prediction.overlay

    def _described(self, masks: object) -> Described:
        shown = {key: value for key, value in self.items() if key != "input_img"}
        return {**shown, "masks": masks}


def _is_picture(path: Path) -> bool:
    """Whether a file's name says that it is a picture, of a kind that Pillow writes."""
    kind = Image.registered_extensions().get(path.suffix.lower())
    return kind in Image.SAVE and Image.MIME.get(kind, "").startswith("image/")


def _masks_text(masks: list[npt.NDArray[np.int8]], indent: int | None) -> str:
    """Masks as JSON on the second level of a document."""
    step = None if indent is None else " " * indent
    return _list([_list(_row_texts(mask), step, 2) for mask in masks], step, 1)


def _row_texts(mask: npt.NDArray[np.int8]) -> list[str]:
    """`[0, 1, 1]` for each row."""
    height, width = mask.shape
    texts = np.empty((height, width, 3), np.uint8)
    texts[..., 0] = mask + ord("0")
    texts[..., 1:] = ord(","), ord(" ")
    return [f"[{row.tobytes()[:-2].decode('ascii')}]" for row in texts]


def _list(entries: list[str], step: str | None, level: int) -> str:
    """A JSON list of texts that are JSON already; `step` is what each level is indented by."""
    if step is None or not entries:
        return f"[{', '.join(entries)}]"
    inner = "\n" + step * (level + 1)
    return f"[{inner}{f',{inner}'.join(entries)}\n{step * level}]"
