"""The real `tritonserver` of the nvidia-pytriton wheel, as a child process.

Found by measuring (nvidia-pytriton 0.7.0, tritonserver 2.51.0): the python backend's stubs ignore
PYTHONPATH and take their environment from the `python3` found first on PATH.
"""

from __future__ import annotations

import compileall
import os
import re
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ovseg.grpc_channel import RECONNECT_SOON
from ovseg.served_models import JSON_MODEL
from ovseg.server.child_process import die_with_parent, how_it_ended, oom_kills, wait_for_group
from ovseg.server.errors import ServerStartError
from ovseg.server.model_sets import TRITON_MODELS, rendered_repository
from ovseg.server.ports import check_port_free
from ovseg.server.shared_memory import (
    remove_regions,
    remove_stale_regions,
    shared_memory_prefix,
)
from ovseg.server.triton_admin import blank_argument, forget_secret, new_secret, restrictions
from ovseg.server.triton_log import failure_cause, logged_error
from ovseg.server.triton_wheel import check_numpy, find_wheel, link_python_backend
from ovseg.settings import Settings
from ovseg.stage_clock import FOLDER_VARIABLE
from ovseg.stages.settings import VARIABLE, StageSettings

LOG_FILE_NAME = "triton.log"
STOP_TIMEOUT_S = 15.0
_UNLOADING = "All models are stopped, unloading models"
"""What it logs when it is about to end and no request is under way: it fails those that come then.
"""
_LAST_ANSWERS_S = 0.2
"""For its last answers to leave."""
_FIRST_LOG_TIMEOUT_S = 10.0
_LOG_LINE = re.compile(rb"^[IWE]\d{4} ", re.MULTILINE)


class TritonKilledError(ServerStartError):
    """A signal ended tritonserver while it started: no fault of the settings or the models."""


class TritonProcess:
    """Start, watch and stop one tritonserver.

    Use as a context manager: leaving it stops the server, its stubs, and removes its shared
    memory and its run directory.
    """

    def __init__(
        self, settings: Settings, models: Sequence[str] = (*TRITON_MODELS, JSON_MODEL)
    ) -> None:
        self._settings = settings
        self._load_at_start = models
        self._process: subprocess.Popen[bytes] | None = None
        self._run_directory = tempfile.TemporaryDirectory(prefix="ovseg-")
        self._shm_prefix = shared_memory_prefix(os.getpid())
        self._admin_secret = ""
        self._oom_kills_before = oom_kills()

    @property
    def log_file(self) -> Path:
        """Triton's log; removed with the run directory."""
        return Path(self._run_directory.name) / LOG_FILE_NAME

    @property
    def clock_folder(self) -> Path:
        """Where its stages note how long they have been at it: see `ovseg.stage_clock`."""
        return Path(self._run_directory.name) / "clocks"

    def start(self) -> None:
        """Start the process; returns before it is ready.

        Raises:
            ServerStartError: a port is taken, numpy is 2 or newer, or the wheel is incomplete.
        """
        check_numpy()
        for port, name in (
            (self._settings.grpc_port, "OVSEG_GRPC_PORT"),
            (self._settings.triton_http_port, "OVSEG_TRITON_HTTP_PORT"),
            (self._settings.metrics_port, "OVSEG_METRICS_PORT"),
        ):
            check_port_free(self._settings.triton_host, port, name)
        remove_stale_regions()
        rendered_repository(self._settings).mkdir(parents=True, exist_ok=True)
        # A stage that writes its bytecode while it is loaded has changed its files: Triton would
        # load it a second time.
        compileall.compile_dir(self._settings.model_repository, quiet=2)
        wheel = find_wheel()
        backends = Path(self._run_directory.name) / "backends"
        link_python_backend(wheel, backends)
        self._admin_secret = new_secret(self._settings.grpc_port)
        with self.log_file.open("wb") as log:
            self._process = subprocess.Popen(
                self._command(wheel, backends),
                env=self._environment(wheel),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C goes to us alone, so that requests can drain before Triton stops.
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        self._blank_admin_secret(self._process)

    @property
    def pid(self) -> int:
        """Of tritonserver, once it is started; its stubs are its children."""
        assert self._process is not None
        return self._process.pid

    def poll(self) -> int | None:
        """The exit code if the process has ended, else None."""
        return self._process.poll() if self._process else None

    def end_cause(self) -> str:
        """How it ended and, unless somebody killed it, what its log says."""
        code = self.poll()
        ended = f"tritonserver {how_it_ended(code or 0, self._oom_kills_before)}"
        if code == -signal.SIGKILL:
            return ended  # It could not write why.
        logged = logged_error(self._log()) if code and code < 0 else self._failure_cause()
        return f"{ended}: {logged}" if logged else ended

    def wait_ready(self) -> None:
        """Wait until Triton says that it and all its models are ready.

        Raises:
            TritonKilledError: a signal ended it.
            ServerStartError: it ended or is not ready within `start_timeout_s`; the message
                carries the cause from Triton's log.
        """
        import tritonclient.grpc as triton

        deadline = time.monotonic() + self._settings.start_timeout_s
        address = f"{self._settings.triton_host}:{self._settings.grpc_port}"
        with triton.InferenceServerClient(address, channel_args=RECONNECT_SOON) as client:
            while True:
                if (code := self.poll()) is not None:
                    error = TritonKilledError if code < 0 else ServerStartError
                    raise error(self.end_cause())
                if cause := self._load_failure():
                    self.kill()  # It would unload the others first.
                    raise ServerStartError(f"tritonserver cannot load its models: {cause}")
                try:
                    if client.is_server_ready(client_timeout=1.0):
                        return
                except triton.InferenceServerException:
                    pass  # Not listening yet.
                if time.monotonic() > deadline:
                    self.kill()
                    raise ServerStartError(
                        f"tritonserver is not ready after {self._settings.start_timeout_s:g} s "
                        f"(OVSEG_START_TIMEOUT_S): {self._failure_cause()}"
                    )
                time.sleep(0.05)

    def _load_failure(self) -> str:
        """Why it is about to end, as far as it has told."""
        log = self._log()
        return logged_error(log) if _UNLOADING in log else ""

    def _failure_cause(self) -> str:
        if not self.log_file.exists():
            return "no log was written"
        return failure_cause(self._log())

    def _log(self) -> str:
        return self.log_file.read_text("utf-8", "replace") if self.log_file.exists() else ""

    def stop(self) -> None:
        """Stop the server and its stubs, and clean up; may be called more than once.

        What is under way in it ends first. Then it is killed: to unload its models in order takes
        it some 4 s more, which are of use to nobody.
        """
        if self._process is not None:
            if self._process.poll() is None:
                self._finish(self._process)
            self.kill()
            self._process.wait()
            # Who starts another one now needs the memory that the stubs have.
            wait_for_group(self._process.pid, STOP_TIMEOUT_S)
        if self._admin_secret:
            forget_secret(self._settings.grpc_port)
        remove_regions(self._shm_prefix)
        self._run_directory.cleanup()

    def _finish(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + STOP_TIMEOUT_S
        with self.log_file.open("rb") as log:
            log.seek(0, os.SEEK_END)
            process.send_signal(signal.SIGTERM)
            logged = b""
            while process.poll() is None and time.monotonic() < deadline:
                logged += log.read()
                if _UNLOADING.encode() in logged:
                    time.sleep(_LAST_ANSWERS_S)
                    return
                time.sleep(0.01)

    def kill(self) -> None:
        """Kill the server and all its stubs at once; `stop` cleans up. Any thread may call this."""
        if self._process is not None:
            # They are a process group of their own, which outlives its leader.
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def __enter__(self) -> TritonProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _blank_admin_secret(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _FIRST_LOG_TIMEOUT_S
        while process.poll() is None and time.monotonic() < deadline:
            if _LOG_LINE.search(self.log_file.read_bytes()):
                blank_argument(process.pid, self._admin_secret)
                return
            time.sleep(0.002)

    def _command(self, wheel: Path, backends: Path) -> list[str]:
        settings = self._settings
        command = [
            str(wheel / "tritonserver/bin/tritonserver"),
            f"--model-repository={settings.model_repository}",
            f"--model-repository={rendered_repository(settings)}",
            # Explicit control lets a stage whose stub crashed be unloaded and loaded again.
            "--model-control-mode=explicit",
            *(f"--load-model={name}" for name in self._load_at_start),
            f"--model-load-thread-count={len(self._load_at_start)}",
            "--disable-auto-complete-config",
            f"--backend-directory={backends}",
            f"--backend-config=python,shm-region-prefix-name={self._shm_prefix}",
            f"--http-address={settings.triton_host}",
            f"--http-port={settings.triton_http_port}",
            f"--grpc-address={settings.triton_host}",
            f"--grpc-port={settings.grpc_port}",
            f"--metrics-address={settings.triton_host}",
            f"--metrics-port={settings.metrics_port}",
            "--allow-gpu-metrics=false",
            "--exit-timeout-secs=10",
            *restrictions(settings.closed_protocols, self._admin_secret),
        ]
        if settings.cache_size_bytes:
            command += [
                f"--cache-directory={wheel / 'tritonserver/caches'}",
                f"--cache-config=local,size={settings.cache_size_bytes}",
            ]
        return command

    def _environment(self, wheel: Path) -> dict[str, str]:
        environment = dict(os.environ)
        for name, value in self._settings.model_dump(mode="json", exclude_none=True).items():
            # The stages read the very settings of this process, not what it inherited.
            environment[f"OVSEG_{name.upper()}"] = str(value)
        environment[VARIABLE] = StageSettings.of(self._settings).to_json()
        environment[FOLDER_VARIABLE] = str(self.clock_folder)
        environment.pop("OVSEG_TOKEN_HASHES", None)  # The gateway's business alone.
        python_bin = Path(sys.executable).parent
        libraries = [
            str(wheel.parent / "nvidia_pytriton.libs"),
            sysconfig.get_config_var("LIBDIR") or "",
            environment.get("LD_LIBRARY_PATH", ""),
        ]
        environment["LD_LIBRARY_PATH"] = ":".join(filter(None, libraries))
        environment["PATH"] = f"{python_bin}:{environment.get('PATH', '')}"
        # Paddle's MKL takes its slowest path on AMD unless told that the CPU has AVX2.
        environment.setdefault("MKL_DEBUG_CPU_TYPE", "5")
        environment.setdefault("OMP_NUM_THREADS", str(self._settings.threads))
        # Each replaced stage would leave the heaps of its threads behind, megabytes apiece. (With a
        # fixed MALLOC_TRIM_THRESHOLD_ bursts would not leave 70 MB behind either, but each tensor
        # would be faulted in anew: a pass over 3 MB took 3.7 ms of CPU instead of 0.2.)
        environment.setdefault("MALLOC_ARENA_MAX", "2")
        return environment
