"""Write the small network as PaddleX's box and point models in the older format.

    python -m tests.checkpoints.write_older_format FOLDER

A process of its own: whether Paddle works in the older form is decided when it is imported. Paddle
3.3.1 can write that form still, but for a few operations whose functions know the new one only.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

OLDER_OPERATIONS = {"matmul": "matmul_v2", "sin": "sin", "cos": "cos", "gelu": "gelu"}
"""Functions of Paddle -> the operations of the older form that do the same."""
OLDER_ATTRIBUTES = {"transpose_x": "trans_x", "transpose_y": "trans_y"}


def main(target: Path) -> None:
    """Write `<target>/SAM-H_box/inference.pdmodel`, `.pdiparams`, and the same for points."""
    os.environ.update(FLAGS_enable_pir_api="0")
    import paddle

    from ovseg.exporting.fused_program import FusedProgram
    from ovseg.network.serving import save_program
    from tests.small_model import small_network

    network = small_network()
    for function, operation in OLDER_OPERATIONS.items():
        module = paddle if hasattr(paddle, function) else paddle.nn.functional
        setattr(module, function, in_older_form(getattr(module, function), operation))
    paddle.base.framework.Variable.__matmul__ = paddle.matmul
    paddle.base.framework.Variable.sum = sum_in_older_form
    save_program(FusedProgram(network, "box"), target / "SAM-H_box")
    save_program(FusedProgram(network, "point"), target / "SAM-H_point")


def in_older_form(function: Callable[..., Any], operation: str) -> Callable[..., Any]:
    """A function of one or two tensors that adds an operation of the older form."""
    import paddle
    from paddle.base.layer_helper import LayerHelper

    def add(*arguments: Any, **attributes: Any) -> Any:
        if paddle.in_dynamic_mode():
            return function(*arguments, **attributes)
        tensors = [it for it in arguments if isinstance(it, paddle.base.framework.Variable)]
        helper = LayerHelper(operation)
        result = helper.create_variable_for_type_inference(dtype=tensors[0].dtype)
        helper.append_op(
            type=operation,
            inputs=dict(zip(("X", "Y"), tensors, strict=False)),
            outputs={"Out": result},
            attrs={OLDER_ATTRIBUTES[name]: value for name, value in attributes.items()},
        )
        return result

    return add


def sum_in_older_form(tensor: Any, axis: int) -> Any:
    """The method `sum` over one axis, as an operation of the older form."""
    from paddle.base.layer_helper import LayerHelper

    helper = LayerHelper("reduce_sum")
    result = helper.create_variable_for_type_inference(dtype=tensor.dtype)
    attributes = {"dim": [axis], "keep_dim": False, "reduce_all": False}
    helper.append_op(
        type="reduce_sum", inputs={"X": tensor}, outputs={"Out": result}, attrs=attributes
    )
    return result


if __name__ == "__main__":
    main(Path(sys.argv[1]))
