"""What the measurements ran on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ovseg import __version__
from ovseg.settings import available_cpus

_SPEED_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
_PACKAGES = ("nvidia-pytriton", "openvino", "paddlepaddle", "onnxruntime", "numpy", "uvicorn")


def describe_machine() -> dict[str, str]:
    """CPU, its extensions that matter here, memory, kernel, load."""
    cpu = _proc_fields("/proc/cpuinfo")
    memory_kb = int(_proc_fields("/proc/meminfo")["MemTotal"].split()[0])
    flags = cpu.get("flags", "").split()
    return {
        "CPU": f"{cpu.get('model name', platform.processor())} "
        f"(family {cpu.get('cpu family', '?')}, model {cpu.get('model', '?')})",
        "cores": str(available_cpus()),
        "extensions": ", ".join(flag for flag in _SPEED_FLAGS if flag in flags) or "none",
        "memory": f"{memory_kb / 1024**2:.1f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "load when it started": f"{os.getloadavg()[0]:.2f}",
    }


def has_cpu_flag(name: str) -> bool:
    """Whether the CPU has an extension, by its name in /proc/cpuinfo."""
    return name in _proc_fields("/proc/cpuinfo").get("flags", "").split()


def describe_versions() -> dict[str, str]:
    """Versions of what computes."""
    found = {"ovseg": __version__}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _proc_fields(path: str) -> dict[str, str]:
    """`name : value` lines; of repeated names the first."""
    fields: dict[str, str] = {}
    for line in Path(path).read_text("utf-8", "replace").splitlines():
        name, found, value = line.partition(":")
        if found:
            fields.setdefault(name.strip(), value.strip())
    return fields
