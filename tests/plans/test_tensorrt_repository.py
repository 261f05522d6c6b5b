"""The repository for a Triton with the TensorRT backend, beside the one for the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelInstanceGroup

from ovseg.engines import EngineError
from ovseg.engines.plans import plan_file
from ovseg.server.model_sets import TRITON_MODELS
from ovseg.server.tensorrt_repository import write_tensorrt_repository
from ovseg.settings import Settings


def read(repository: Path) -> dict[str, Any]:
    return {
        name: text_format.Parse(
            (repository / name / "config.pbtxt").read_text("utf-8"), ModelConfig()
        )
        for name in TRITON_MODELS
    }


@pytest.fixture
def rendered(model_with_plan: Path, settings: Settings, tmp_path: Path) -> Path:
    target = tmp_path / "deep" / "repository"
    write_tensorrt_repository(settings, model_with_plan.name, target)
    return target


@pytest.fixture
def pair(rendered: Path, settings: Settings) -> tuple[Any, Any]:
    """The encoder on the GPU and on the CPU."""
    return read(rendered)["sam_encoder"], read(settings.model_repository)["sam_encoder"]


def test_the_encoder_is_a_plan_on_the_gpu_in_batches(pair: tuple[Any, Any]) -> None:
    gpu, cpu = pair
    assert (gpu.name, gpu.backend, gpu.platform) == ("sam_encoder", "tensorrt", "tensorrt_plan")
    assert gpu.max_batch_size == 3, "as the plan was built"
    (group,) = gpu.instance_group
    assert (group.kind, group.count) == (ModelInstanceGroup.KIND_GPU, 1)
    assert gpu.dynamic_batching.max_queue_delay_microseconds > 0
    assert gpu.dynamic_batching.default_queue_policy == cpu.dynamic_batching.default_queue_policy
    assert gpu.dynamic_batching.default_queue_policy.max_queue_size == 64


def test_tensors_are_those_of_the_cpu(pair: tuple[Any, Any]) -> None:
    """With the batch before them, shapes are of the CPU's form; names and types are the same."""
    for gpu, cpu in zip(*((*c.input, *c.output) for c in pair), strict=True):
        assert (gpu.name, gpu.data_type) == (cpu.name, cpu.data_type)
        shape = (-1, *gpu.dims)
        assert len(shape) == len(cpu.dims)
        assert all(c in (-1, g) for g, c in zip(shape, cpu.dims, strict=True))
        assert all(side > 0 for side in gpu.dims)
    assert [list(tensor.dims) for tensor in (*pair[0].input, *pair[0].output)] == [
        [256, 256, 3],
        [2],
        [64, 64, 32],
    ]


def test_nothing_else_differs_but_the_cache(rendered: Path, settings: Settings) -> None:
    gpu, cpu = read(rendered), read(settings.model_repository)
    assert cpu["embed"].response_cache.enable
    assert not gpu["embed"].response_cache.enable
    for name in TRITON_MODELS:
        assert gpu[name].parameters["model"].string_value == "small"
        gpu[name].ClearField("response_cache")
        for config in (gpu[name], cpu[name]):
            config.ClearField("parameters")
        cpu[name].ClearField("response_cache")
        if name != "sam_encoder":
            assert gpu[name] == cpu[name]


def test_the_files_are_complete(rendered: Path, model_with_plan: Path) -> None:
    version = rendered / "sam_encoder" / "1"
    assert [path.name for path in version.iterdir()] == ["model.plan"]
    plan = plan_file(model_with_plan / "encoder").read_bytes()
    assert (version / "model.plan").read_bytes() == plan
    assert (rendered / "preprocess" / "1" / "model.py").is_file()
    assert [path.name for path in rendered.parent.iterdir()] == ["repository"]


def test_without_a_plan_nothing_is_written(model: Path, settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="has no TensorRT plan: build it with"):
        write_tensorrt_repository(settings, model.name, tmp_path / "repository")
    assert [path.name for path in tmp_path.iterdir()] == ["models"]
