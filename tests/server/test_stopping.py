"""How tritonserver is stopped: its requests end, the rest is cut short, and nothing outlives it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from ovseg.server.triton_process import _UNLOADING
from ovseg.server.triton_wheel import find_wheel
from ovseg.settings import PROJECT_ROOT

# It has a child, and after SIGTERM something under way for a while; it would never end by itself.
TRITON = """
import signal, subprocess, sys, time
folder, last_line = sys.argv[1:]
stub = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open(f"{folder}/stub", "w").write(str(stub.pid))
def end(*_):
    time.sleep(0.5)
    open(f"{folder}/finished", "w").close()
    print(last_line, flush=True)
signal.signal(signal.SIGTERM, end)
print("I1128 starting", flush=True)
while True:
    time.sleep(600)
"""
# In a process of its own: it becomes the parent of whatever is left alone below it.
SUPERVISOR = """
import sys
from pathlib import Path
from ovseg.server.child_process import adopt_orphans
from ovseg.server import triton_process
from tests.server.test_triton_process import settings_on_free_ports
folder, *command = sys.argv[1:]
adopt_orphans()
triton_process.STOP_TIMEOUT_S = 600.0
with triton_process.TritonProcess(settings_on_free_ports(model_dir=folder, model="none")) as triton:
    triton._command = lambda *_: command
    triton.start()
    while not (Path(folder) / "stub").exists():
        pass
print((Path("/proc") / (Path(folder) / "stub").read_text()).exists(), triton.poll())
"""


def test_triton_is_killed_once_its_requests_have_ended_and_its_stubs_are_gone_then(
    tmp_path: Path,
) -> None:
    triton = [sys.executable, "-c", TRITON, str(tmp_path), f'I1128 "{_UNLOADING}"']
    supervisor = subprocess.run(
        [sys.executable, "-c", SUPERVISOR, str(tmp_path), *triton],
        cwd=PROJECT_ROOT,
        env={**os.environ, "PYTHONPATH": str(PROJECT_ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=120,
    )

    assert (tmp_path / "finished").exists()
    assert supervisor.stdout.split() == ["False", "-9"]


def test_this_triton_says_so_when_its_requests_have_ended() -> None:
    (library,) = find_wheel().parent.glob("nvidia_pytriton.libs/libtritonserver-*.so")
    assert _UNLOADING.encode() in library.read_bytes()
