"""A model repository for a Triton with the TensorRT backend, rendered from `model_repository`.

The Triton that `ovseg serve` starts has the Python backend only; there the stage `sam_encoder` runs
the plan (`ovseg/engines/tensorrt.py`). NVIDIA's image has the TensorRT backend too, which batches
requests. Nothing else differs between the two: names, types and shapes are those of
`model_repository/*/config.pbtxt`.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from ovseg.engines.plans import PLAN_FILE_NAME, PlanDescription, plan_file
from ovseg.manifest import ModelManifest
from ovseg.served_models import EMBED
from ovseg.server.model_sets import parameters_of, render_set, write_set
from ovseg.settings import Settings

ENCODER = "sam_encoder"
LONGEST_WAIT_FOR_OTHERS_US = 2000
"""How long an image may wait for others to make a batch with, in microseconds: a part of what
encoding one takes."""


def write_tensorrt_repository(settings: Settings, model: str, target: Path) -> None:
    """Write a whole model repository that serves an installed model, its encoder as a plan.

    Args:
        settings: `model_dir` and `model_repository` are used.
        model: an installed model with a plan.
        target: a folder that does not exist; all of it is written, or nothing.

    Raises:
        ModelNotInstalledError: there is no such model.
        EngineError: it has no plan.
    """
    folder = settings.model_dir / model
    manifest = ModelManifest.load(folder)
    plan = PlanDescription.load(folder / "encoder")
    parameters = parameters_of(settings, model)
    configs = render_set(settings.model_repository, model, True, parameters)
    configs |= with_plan(configs, manifest, plan)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as workspace:
        new = Path(workspace) / "new"
        write_set(configs, settings.model_repository, new)
        version = new / ENCODER / "1"
        shutil.rmtree(version)  # The Python backend's stage.
        version.mkdir()
        shutil.copyfile(plan_file(folder / "encoder"), version / PLAN_FILE_NAME)
        new.rename(target)


def with_plan(
    configs: dict[str, Any], manifest: ModelManifest, plan: PlanDescription
) -> dict[str, Any]:
    """The configurations that differ where the encoder is a plan.

    Args:
        configs: `ModelConfig` messages of a set, as `render_set` gives them; they stay as they are.
        manifest: the model's, a split one.
        plan: its encoder's.

    Returns:
        Those of the encoder and of `embed`.
    """
    return {
        ENCODER: _encoder(configs[ENCODER], manifest, plan),
        EMBED: _without_cache(configs[EMBED]),
    }


def _encoder(config: Any, manifest: ModelManifest, plan: PlanDescription) -> Any:
    from tritonclient.grpc.model_config_pb2 import ModelInstanceGroup

    encoder = _copy(config)
    encoder.backend, encoder.platform = "tensorrt", "tensorrt_plan"
    encoder.default_model_filename = PLAN_FILE_NAME
    encoder.max_batch_size = plan.max_batch
    shapes = {
        "pixels": (manifest.input_size, manifest.input_size, 3),
        "input_size": (2,),
        "embedding": manifest.embedding_shape,
    }
    for tensor in (*encoder.input, *encoder.output):
        # The batch is no dimension of its own here.
        tensor.dims[:] = shapes[tensor.name]
    del encoder.instance_group[:]
    encoder.instance_group.add(count=1, kind=ModelInstanceGroup.KIND_GPU)
    # The queue's policy stays.
    encoder.dynamic_batching.max_queue_delay_microseconds = LONGEST_WAIT_FOR_OTHERS_US
    return encoder


def _without_cache(config: Any) -> Any:
    """Triton caches only responses whose tensors are in the host's memory.

    A backend may leave its output on the GPU when the caller is an ensemble, and then nothing is
    ever found in the cache: triton-inference-server/server, pull request 8124 (seen with
    ONNX Runtime's backend), pull request 7234 and issue 7140. Whether `embed` with a plan is such
    a case has not been tried on a GPU, so it does not pay for a cache that may stay empty.
    """
    embed = _copy(config)
    embed.response_cache.enable = False
    return embed


def _copy(config: Any) -> Any:
    copy = type(config)()
    copy.CopyFrom(config)
    return copy
