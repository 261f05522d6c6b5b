"""What the nvidia-pytriton wheel has, and what it lacks, to run tritonserver's python backend.

Found by measuring (nvidia-pytriton 0.7.0, tritonserver 2.51.0): the python backend lacks its stub
executable, which lies elsewhere in the wheel; with numpy 2 the stub passes empty tensors without
any error.
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import numpy as np

from ovseg.server.errors import ServerStartError


def check_numpy() -> None:
    """Refuse numpy 2, with which the embedded Triton silently loses tensors.

    Raises:
        ServerStartError: numpy is 2 or newer.
    """
    if int(np.__version__.split(".")[0]) >= 2:
        raise ServerStartError(
            f"numpy {np.__version__} is installed, but this Triton's python backend needs "
            "numpy below 2: pip install 'numpy<2'"
        )


def find_wheel() -> Path:
    """Folder of the installed `pytriton` package, which carries tritonserver.

    Raises:
        ServerStartError: the nvidia-pytriton wheel is not installed.
    """
    spec = importlib.util.find_spec("pytriton")
    if spec is None or spec.origin is None:
        raise ServerStartError("tritonserver is missing: pip install nvidia-pytriton")
    return Path(spec.origin).parent


def link_python_backend(wheel: Path, backends: Path) -> None:
    """Make a backend directory whose python backend has this Python's stub.

    The stub is a copy: Triton changes its mode when it starts, which only its owner may do.

    Raises:
        ServerStartError: the wheel has no stub for the running Python.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = wheel / "tritonserver/python_backend_stubs" / version / "triton_python_backend_stub"
    if not stub.is_file():
        raise ServerStartError(f"the nvidia-pytriton wheel has no stub for Python {version}")
    python_backend = backends / "python"
    python_backend.mkdir(parents=True)
    source = wheel / "tritonserver/backends/python"
    for file in (source / "libtriton_python.so", source / "triton_python_backend_utils.py"):
        (python_backend / file.name).symlink_to(file)
    shutil.copyfile(stub, python_backend / stub.name)
