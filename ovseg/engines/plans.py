"""The TensorRT plan of a program: where it lies, and what is known of it.

    <program>/tensorrt/model.plan   what TensorRT made of the program, for one kind of GPU
    <program>/tensorrt/plan.json    this description

A plan works with the TensorRT and on the kind of GPU that it was built with, and with no other.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from ovseg.engine_names import PrecisionName
from ovseg.engines import EngineError

PLAN_FOLDER_NAME = "tensorrt"
PLAN_FILE_NAME = "model.plan"
DESCRIPTION_FILE_NAME = "plan.json"


class PlanDescription(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan was built for, and how."""

    precision: PrecisionName
    """Of matrix products; inputs and outputs are those of the program."""
    max_batch: int
    optimal_batch: int
    """The batch that TensorRT chose its kernels for."""
    tensorrt: str
    """Version of TensorRT."""
    gpu: str
    """Name of the GPU."""
    size_bytes: int
    sha256: str

    @classmethod
    def load(cls, program_folder: Path) -> PlanDescription:
        """Read the description of a program's plan.

        Raises:
            EngineError: there is no plan, or its description is damaged.
        """
        path = program_folder / PLAN_FOLDER_NAME / DESCRIPTION_FILE_NAME
        try:
            return msgspec.json.decode(path.read_bytes(), type=cls)
        except FileNotFoundError:
            raise EngineError(
                f"{program_folder} has no TensorRT plan: build it with `ovseg build-engine "
                f"{program_folder.parent.name}` on the machine with the GPU"
            ) from None
        except msgspec.DecodeError:
            raise EngineError(f"{path} is damaged: build the plan again") from None

    def save(self, plan_folder: Path) -> None:
        """Write it beside its plan."""
        text = msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"
        (plan_folder / DESCRIPTION_FILE_NAME).write_bytes(text)


def plan_file(program_folder: Path) -> Path:
    """Where a program's plan lies, whether or not there is one."""
    return program_folder / PLAN_FOLDER_NAME / PLAN_FILE_NAME


def has_plan(program_folder: Path) -> bool:
    """Whether a program has a plan."""
    return plan_file(program_folder).is_file()
