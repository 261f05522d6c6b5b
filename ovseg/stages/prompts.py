"""Prompts as SAM takes them: checked, scaled to the model's input frame, grouped by length.

Labels (segment_anything/modeling/prompt_encoder.py): 1 foreground point, 0 background point,
2 and 3 the top-left and bottom-right corner of a box, -1 padding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ovseg.stages.errors import InvalidInputError
from ovseg.stages.image import input_size_of

PADDING, BACKGROUND, FOREGROUND, TOP_LEFT, BOTTOM_RIGHT = -1, 0, 1, 2, 3


@dataclass(frozen=True)
class Prompts:
    """N prompts of up to P points each.

    Attributes:
        coords: float32 [N, P, 2], x and y in pixels of the original image.
        labels: int32 [N, P].
    """

    coords: NDArray[np.float32]
    labels: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.labels)

    def check(self, max_prompts: int, max_coordinate: float) -> None:
        """Refuse what no model could use.

        Raises:
            InvalidInputError: field `point_coords` or `point_labels`.
        """
        if self.coords.shape != (*self.labels.shape, 2) or self.labels.ndim != 2:
            raise InvalidInputError(
                "point_coords",
                f"shape {list(self.coords.shape)} does not go with point_labels "
                f"{list(self.labels.shape)}; [N, P, 2] and [N, P] are expected",
            )
        if len(self) > max_prompts:
            raise InvalidInputError(
                "point_coords", f"{len(self)} prompts are over the limit of {max_prompts}"
            )
        if not np.all(np.abs(self.coords) <= max_coordinate):  # false for NaN too
            raise InvalidInputError(
                "point_coords", f"a coordinate is not a number within ±{max_coordinate:g} pixels"
            )
        if not np.isin(
            self.labels, (PADDING, BACKGROUND, FOREGROUND, TOP_LEFT, BOTTOM_RIGHT)
        ).all():
            raise InvalidInputError("point_labels", "labels are -1, 0, 1, 2 or 3")
        corners = [(self.labels == corner).sum(axis=1) for corner in (TOP_LEFT, BOTTOM_RIGHT)]
        if np.any(corners[0] != corners[1]) or np.any(corners[0] > 1):
            raise InvalidInputError(
                "point_labels", "a box is one corner labelled 2 and one labelled 3, once a prompt"
            )
        if np.any((self.labels == PADDING).all(axis=1)):
            raise InvalidInputError("point_labels", "a prompt has no point")

    def scaled(self, original_size: tuple[int, int], side: int) -> Prompts:
        """These prompts in the model's input frame, as SAM's resize moves them."""
        input_height, input_width = input_size_of(original_size, side)
        height, width = original_size
        scale = np.array([input_width / width, input_height / height])
        return Prompts((self.coords.astype(np.float64) * scale).astype(np.float32), self.labels)

    def groups(self) -> Iterator[tuple[NDArray[np.int64], Prompts]]:
        """Prompts with the same number of tokens, together and without superfluous padding.

        SAM attends to padding, so a prompt must have exactly the tokens that Meta's predictor
        gives it, however its caller padded the row: its points, then its box corners, and one
        padding point where it has no box.

        Yields:
            (int64 [n] indices into these prompts, the n prompts).
        """
        is_padding = self.labels == PADDING
        # Points in their order, then the corners in the order of their labels, then padding.
        rank = np.where(is_padding, BOTTOM_RIGHT + 1, np.maximum(self.labels, FOREGROUND))
        order = np.argsort(rank, axis=1, kind="stable")
        labels = np.take_along_axis(self.labels, order, axis=1)
        coords = np.take_along_axis(self.coords, order[:, :, None], axis=1)
        # One more, in case that a prompt has none and needs one.
        labels = np.pad(labels, ((0, 0), (0, 1)), constant_values=PADDING)
        coords = np.pad(coords, ((0, 0), (0, 1), (0, 0)))
        has_box = (self.labels == TOP_LEFT).any(axis=1)
        lengths = (~is_padding).sum(axis=1) + ~has_box
        for length in np.unique(lengths):
            index = np.nonzero(lengths == length)[0]
            yield index, Prompts(coords[index, :length], labels[index, :length])
