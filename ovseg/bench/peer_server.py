"""PaddleX's own server, as a child process, with a model of ours exported in its format."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ovseg.bench.callers import RestCaller
from ovseg.bench.workload import SCENARIOS, make_photo
from ovseg.server.ports import free_ports
from ovseg.settings import PROJECT_ROOT, available_cpus

REQUIREMENTS = PROJECT_ROOT / "loadtest" / "peer-requirements.txt"
_START_TIMEOUT_S = 300.0
_FIRST_ANSWER_TIMEOUT_S = 300.0
_STOP_TIMEOUT_S = 15.0
_LOG_TAIL = 1500


class PeerError(Exception):
    """The peer cannot be installed or started; one line says why."""


@dataclass(frozen=True)
class PeerVariant:
    """How the peer is run.

    Attributes:
        name: in tables.
        description: what differs from its defaults.
        environment: variables on top of this process's.
        model_settings: added to each model's part of the pipeline's configuration.
        arguments: added to its command line.
    """

    name: str
    description: str
    environment: Mapping[str, str] = field(default_factory=dict)
    model_settings: Mapping[str, Any] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()


def _static_engine(run_mode: str) -> dict[str, Any]:
    return {
        "engine": "paddle_static",
        "engine_config": {"run_mode": run_mode, "cpu_threads": available_cpus()},
    }


AS_SHIPPED = PeerVariant("PaddleX as shipped", "paddlex --serve, its defaults")
TUNED = PeerVariant(
    "PaddleX tuned",
    "MKL_DEBUG_CPU_TYPE=5, oneDNN, one thread a core",
    {"MKL_DEBUG_CPU_TYPE": "5"},
    _static_engine("mkldnn"),
)
TUNED_BF16 = PeerVariant(
    "PaddleX tuned, bf16",
    "as tuned, run_mode mkldnn_bf16",
    {"MKL_DEBUG_CPU_TYPE": "5"},
    _static_engine("mkldnn_bf16"),
)
HIGH_PERFORMANCE = PeerVariant(
    "PaddleX high-performance plugin",
    "paddlex --serve --use_hpip; its `paddlex --install hpi-cpu` wants ultra-infer-python, of "
    "which PyPI had no version",
    arguments=("--use_hpip",),
)


class PeerServer:
    """One running `paddlex --serve`."""

    def __init__(self, python: Path, exported: Path, variant: PeerVariant, work: Path) -> None:
        """Prepare it.

        Args:
            python: of an environment with PaddleX.
            exported: what `ovseg export --format paddlex` wrote.
            variant: how to run it.
            work: folder for its configuration and log.
        """
        self.variant = variant
        self._python = python
        self._configuration = work / f"{variant.name}.yaml"
        self._log = work / f"{variant.name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.base_url = ""
        work.mkdir(parents=True, exist_ok=True)
        self._configuration.write_text(
            yaml.safe_dump(pipeline_configuration(exported, variant), sort_keys=False), "utf-8"
        )

    @property
    def pid(self) -> int:
        """Of the server."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> float:
        """Start it and wait for the first segmentation; returns the seconds that this took.

        Raises:
            PeerError: it ended, or did not answer in time; the message holds the end of its log.
        """
        started = time.monotonic()
        (port,) = free_ports(1)
        self.base_url = f"http://127.0.0.1:{port}"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *(str(self._python), "-m", "paddlex", "--serve"),
                    *("--pipeline", str(self._configuration), "--device", "cpu"),
                    *("--host", "127.0.0.1", "--port", str(port), *self.variant.arguments),
                ],
                env={
                    **os.environ,
                    "PADDLE_PDX_DISABLE_MODEL_SOURCE_CHECK": "True",
                    **self.variant.environment,
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        caller = RestCaller(self.base_url)
        request = SCENARIOS[0].request(make_photo())
        try:
            while time.monotonic() - started < _START_TIMEOUT_S:
                if self._process.poll() is not None:
                    raise PeerError(f"{self.variant.name} ended: {self._last_words()}")
                answer = caller.ask(request, _FIRST_ANSWER_TIMEOUT_S)
                if answer.failure is None:
                    return time.monotonic() - started
                if not answer.failure.startswith("ConnectionRefused"):
                    raise PeerError(f"{self.variant.name}: {answer.failure}")
                time.sleep(0.2)
        except BaseException:
            self.stop()
            raise
        finally:
            caller.close()
        self.stop()
        raise PeerError(f"{self.variant.name} did not start in time: {self._last_words()}")

    def stop(self) -> None:
        """Stop it and whatever it started."""
        if self._process is None or self._process.poll() is not None:
            return
        os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _last_words(self) -> str:
        lines = self._log.read_text("utf-8", "replace")[-_LOG_TAIL:].strip().splitlines()
        return lines[-1] if lines else "its log is empty"


def pipeline_configuration(exported: Path, variant: PeerVariant) -> dict[str, Any]:
    """The configuration of PaddleX's pipeline, with our model in the place of its two."""

    def part(module: str, kind: str) -> dict[str, Any]:
        name = f"SAM-H_{kind}"
        return {
            "module_name": module,
            "model_name": name,
            "model_dir": str(exported / name),
            "batch_size": 1,
            **variant.model_settings,
        }

    return {
        "pipeline_name": "open_vocabulary_segmentation",
        "SubModules": {
            "BoxPromptSegmentation": part("box_prompt_segmentation", "box"),
            "PointPromptSegmentation": part("point_prompt_segmentation", "point"),
        },
    }


def ensure_peer(folder: Path, say: Callable[[str], None]) -> Path:
    """The Python of an environment with PaddleX, made from pinned requirements if it is missing.

    Raises:
        PeerError: it cannot be installed.
    """
    python = folder / "bin" / "python"
    if (folder / "bin" / "paddlex").exists():
        return python
    say(f"installing PaddleX into {folder} (once, some minutes) …")
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [str(python), "-m", "pip", "install", "--quiet", "--no-input", "-r", str(REQUIREMENTS)],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise PeerError(f"PaddleX cannot be installed: {done.stderr.strip()[-300:]}")
    return python
