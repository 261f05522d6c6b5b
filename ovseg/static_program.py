"""Saved programs as graphs: read their weights, look at their operations, write parts of them.

Paddle's static mode is a state of the whole process; here it is entered for the length of a call
and left again. Programs are in Paddle's PIR form (`inference.json`, `inference.pdiparams`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from numpy.typing import NDArray

PROGRAM_NAME = "inference"
DATA_OPERATION = "pd_op.data"
PARAMETER_OPERATION = "builtin.parameter"

Value = Any
"""A tensor of the graph (paddle.pir.Value)."""
Operation = Any
"""A node of the graph (paddle.pir.Operation)."""


class StaticProgram:
    """A program and its weights, in memory.

    Attributes:
        inputs: the graph's inputs by name, in the program's order.
        outputs: what the program returns.
    """

    def __init__(self, folder: Path) -> None:
        """Load `<folder>/inference.json` and `.pdiparams`.

        Raises:
            Exception: Paddle's own, when it cannot read the files.
        """
        self._scope = paddle.static.Scope()
        with self._static_mode():
            self._executor = paddle.static.Executor(paddle.CPUPlace())
            self._program, _, self.outputs = paddle.static.load_inference_model(
                str(folder / PROGRAM_NAME), self._executor
            )
        self.inputs: dict[str, Value] = {
            operation.attrs()["name"]: operation.result(0)
            for operation in self.operations
            if operation.name() == DATA_OPERATION
        }

    @property
    def operations(self) -> list[Operation]:
        """The graph's operations, each after those that its operands come from."""
        return list(self._program.global_block().ops)

    @property
    def parameter_names(self) -> list[str]:
        """Names of the program's weights."""
        return [
            operation.attrs()["parameter_name"]
            for operation in self.operations
            if operation.name() == PARAMETER_OPERATION
        ]

    def parameter(self, name: str) -> NDArray[Any]:
        """The values of one weight, in Paddle's layout."""
        return np.asarray(self._scope.find_var(name).get_tensor())

    def rename_input(self, old: str, new: str) -> None:
        """Give an input another name."""
        self.inputs[old].get_defining_op().set_str_attr("name", new)
        self.inputs = {new if name == old else name: it for name, it in self.inputs.items()}

    def replace_by_input(self, value: Value, name: str, shape: Sequence[int]) -> None:
        """Let everything that reads a tensor of the graph read a new FP32 input instead."""
        first_input = next(iter(self.inputs.values())).get_defining_op()
        with self._static_mode(), paddle.static.program_guard(self._program):
            paddle.base.libpaddle.pir.set_insertion_point(first_input)
            new_input = paddle.static.data(name, list(shape), "float32")
        value.replace_all_uses_with(new_input)
        self.inputs = {name: new_input, **self.inputs}

    def save(self, folder: Path, inputs: Sequence[Value], outputs: Sequence[Value]) -> None:
        """Write the part of the program that leads from the inputs to the outputs."""
        with self._static_mode():
            paddle.static.save_inference_model(
                str(folder / PROGRAM_NAME),
                list(inputs),
                list(outputs),
                self._executor,
                program=self._program,
            )

    @contextmanager
    def _static_mode(self) -> Iterator[None]:
        with _static_mode(self._scope):
            yield


def translate_older_program(folder: Path, target: Path) -> None:
    """Write `<folder>/inference.pdmodel` and `.pdiparams` as a program in Paddle's PIR form.

    Its inputs and outputs are the same, in any order.

    Raises:
        Exception: Paddle's own, when it cannot read the files or translate the program.
    """
    with _static_mode(paddle.static.Scope()):
        executor = paddle.static.Executor(paddle.CPUPlace())
        with paddle.pir_utils.OldIrGuard():
            older, _, _ = paddle.static.load_inference_model(str(folder / PROGRAM_NAME), executor)
        program = paddle.pir.translate_to_pir(older.desc)
        block = program.global_block()
        inputs, outputs = [], []
        for operation in list(block.ops):
            if operation.name() == "pd_op.feed":
                fed = operation.result(0)
                paddle.base.libpaddle.pir.set_insertion_point(operation)
                with paddle.static.program_guard(program):
                    data = paddle.static.data(operation.attrs()["name"], fed.shape, fed.dtype)
                fed.replace_all_uses_with(data)
                block.remove_op(operation)
                inputs.append(data)
            elif operation.name() == "pd_op.fetch":
                outputs.append(operation.operand_source(0))
                block.remove_op(operation)
        paddle.static.save_inference_model(
            str(target / PROGRAM_NAME), inputs, outputs, executor, program=program
        )


@contextmanager
def _static_mode(scope: Any) -> Iterator[None]:
    was_dynamic = paddle.in_dynamic_mode()
    paddle.enable_static()
    try:
        with paddle.static.scope_guard(scope):
            yield
    finally:
        if was_dynamic:
            paddle.disable_static()
