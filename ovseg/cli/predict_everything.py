"""`ovseg predict --everything`."""

from __future__ import annotations

import sys
from collections.abc import Generator, Sequence

from ovseg_client import BatchResult, Client, EverythingOptions


def find_everything(
    client: Client, sources: Sequence[str], visualize: bool, model: str | None, grid: int | None
) -> Generator[BatchResult, None, None]:
    """What is in one image after another, with a bar for each on a terminal.

    Args:
        client: of the service.
        sources: images.
        visualize: whether pictures are wanted.
        model: a served model, or None.
        grid: points per side; None: as many as the service likes.
    """
    options: EverythingOptions = {"visualize": visualize, "model": model}
    if grid is not None:
        options["points_per_side"] = grid
    for index, source in enumerate(sources):
        try:
            found = client.everything(source, progress=sys.stderr.isatty(), **options)
            yield BatchResult(index, {"image": source}, prediction=found)
        except Exception as error:
            yield BatchResult(index, {"image": source}, error=error)
