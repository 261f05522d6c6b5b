"""The first calls after a start are slow (shared memory grows, engines lay out their memory)."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from ovseg.manifest import ModelManifest
from ovseg.settings import Settings

ENSEMBLE = "open_vocabulary_segmentation"


def warm_up(settings: Settings, timeout_s: float) -> None:
    """Run every stage once, through the ensemble, before the server is called ready.

    Raises:
        tritonclient.utils.InferenceServerException: a stage failed.
    """
    import tritonclient.grpc as triton

    manifest = ModelManifest.load(settings.model_folder)
    file = io.BytesIO()
    Image.new("RGB", (64, 48), (127, 127, 127)).save(file, "PNG")
    image = triton.InferInput("image", [1], "BYTES")
    image.set_data_from_numpy(np.array([file.getvalue()], np.object_))
    outputs = [triton.InferRequestedOutput(name) for name in ("counts", "size", "overlay")]
    with triton.InferenceServerClient(settings.triton_grpc_address) as client:
        for kind in manifest.prompt_kinds:
            corners, marks = ([[8, 8], [40, 40]], [2, 3]) if kind == "box" else ([[24, 24]], [1])
            coords = triton.InferInput("point_coords", [1, len(marks), 2], "FP32")
            coords.set_data_from_numpy(np.array([corners], np.float32))
            labels = triton.InferInput("point_labels", [1, len(marks)], "INT32")
            labels.set_data_from_numpy(np.array([marks], np.int32))
            client.infer(
                ENSEMBLE, [image, coords, labels], outputs=outputs, client_timeout=timeout_s
            )
