"""A service of one's own ends with whoever started it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ovseg.server.child_process import process_state

# Its service is a stand-in for `python -m ovseg serve`.
STARTER = """
import sys, time
from ovseg.server.service import running_service
sys.executable = sys.argv[1]
with running_service() as service:
    print(service.process.pid, flush=True)
    time.sleep(600)
"""
SERVICE = "#!/bin/sh\necho 'ready in 0.0 s'\nexec sleep 600\n"
END_TIMEOUT_S = 60.0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_service_ends_with_the_process_that_started_it(
    tmp_path: Path, number: signal.Signals
) -> None:
    serve = tmp_path / "python"
    serve.write_text(SERVICE)
    serve.chmod(0o700)
    command = [sys.executable, "-c", STARTER, str(serve)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        service = int(starter.stdout.readline())
        starter.send_signal(number)

    assert starter.returncode == -number
    deadline = time.monotonic() + END_TIMEOUT_S
    while (state := process_state(service)) and state.letter != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.05)
