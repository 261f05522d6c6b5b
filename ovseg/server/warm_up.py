"""The first calls after a start are slow (shared memory grows, engines lay out their memory)."""

from __future__ import annotations

import io
import os

import numpy as np
from PIL import Image

from ovseg.served_models import EVERYTHING, ServedModel


def warm_up(address: str, model: ServedModel, timeout_s: float) -> None:
    """Run every stage of a served model once, before it is called ready.

    The image is another one each time, or Triton's cache would spare the first two stages the run.

    Raises:
        tritonclient.utils.InferenceServerException: a stage failed.
    """
    import tritonclient.grpc as triton

    file = io.BytesIO()
    Image.frombytes("RGB", (4, 3), os.urandom(36)).resize((64, 48)).save(file, "PNG")
    image = triton.InferInput("image", [1], "BYTES")
    image.set_data_from_numpy(np.array([file.getvalue()], np.object_))
    outputs = [triton.InferRequestedOutput(name) for name in ("counts", "size", "overlay")]
    with triton.InferenceServerClient(address) as client:
        for kind in model.prompt_kinds:
            if kind == EVERYTHING:
                continue  # It asks the stages that are run here.
            corners, marks = ([[8, 8], [40, 40]], [2, 3]) if kind == "box" else ([[24, 24]], [1])
            coords = triton.InferInput("point_coords", [1, len(marks), 2], "FP32")
            coords.set_data_from_numpy(np.array([corners], np.float32))
            labels = triton.InferInput("point_labels", [1, len(marks)], "INT32")
            labels.set_data_from_numpy(np.array([marks], np.int32))
            client.infer(
                model.ensemble, [image, coords, labels], outputs=outputs, client_timeout=timeout_s
            )
