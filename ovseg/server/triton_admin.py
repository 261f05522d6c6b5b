"""Triton's admin interfaces, closed to all but the user who started it.

Whoever reaches Triton's ports could otherwise unload models, load one with a configuration of his
own, map this machine's shared memory, or have traces and logs written to a file of his choice. The
server expects a secret with such calls (`--grpc-restricted-protocol`, `--http-restricted-api`). It
is made anew at every start and lies in a file that only this user can read, where `ovseg load`
finds it by Triton's port. Inference, health, metadata, model configuration and statistics stay
open, and are all that the gateway uses: it does not hold the secret.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ovseg.private_folder import private_folder

ADMIN_HEADER = "ovseg-admin"
"""HTTP header with the secret; over gRPC it is called `triton-grpc-protocol-ovseg-admin`."""

_GRPC_HEADER = f"triton-grpc-protocol-{ADMIN_HEADER}"
_SECRET_BYTES = 32
# Of /proc/PID/stat, counted behind the command's name: proc(5).
_ARG_START, _ARG_END = 45, 46


def new_secret(port: int) -> str:
    """Make the secret of the Triton at a gRPC port of this machine, and put it into its file.

    Raises:
        OSError: the file cannot be written.
    """
    secret = secrets.token_hex(_SECRET_BYTES)
    file = _secret_file(port)
    file.unlink(missing_ok=True)  # A reader of the last one keeps the last one.
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="ascii") as opened:
        opened.write(secret)
    return secret


def forget_secret(port: int) -> None:
    """Remove the file: that Triton has ended."""
    with contextlib.suppress(OSError):
        _secret_file(port).unlink(missing_ok=True)


def restrictions(protocols: tuple[str, ...], secret: str) -> list[str]:
    """Arguments of tritonserver that close protocols to callers without the secret."""
    if not protocols:
        return []
    rule = f"{','.join(protocols)}:{ADMIN_HEADER}={secret}"
    return [f"--grpc-restricted-protocol={rule}", f"--http-restricted-api={rule}"]


def blank_argument(pid: int, secret: str) -> bool:
    """Overwrite a secret in a child's argument list, which every user of the machine can read.

    tritonserver takes the secret in no other way. It has copied its arguments by the time that it
    writes its first line of log: call this then, not earlier.

    Returns:
        Whether it is gone; False where the kernel does not let a parent write there.
    """
    wanted = secret.encode()
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
        start, end = int(fields[_ARG_START]), int(fields[_ARG_END])
        with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
            memory.seek(start)
            arguments = memory.read(end - start)
            at = arguments.find(wanted)
            while at >= 0:
                memory.seek(start + at)
                memory.write(b"*" * len(wanted))
                at = arguments.find(wanted, at + len(wanted))
        return wanted not in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return False


@contextmanager
def admin_client(address: str) -> Iterator[Any]:
    """A `tritonclient.grpc.InferenceServerClient` that may use the closed protocols.

    Args:
        address: host:port of Triton. Where that is another machine, or another user's server, the
            client is an ordinary one and Triton refuses it.
    """
    import tritonclient.grpc as triton

    class AdminHeader(triton.InferenceServerClientPlugin):
        def __call__(self, request: Any) -> None:
            # Read for each call: a restarted Triton has another secret.
            request.headers = {**request.headers, **_headers(address)}

    with triton.InferenceServerClient(address) as client:
        client.register_plugin(AdminHeader())
        yield client


def _headers(address: str) -> dict[str, str]:
    host, _, port = address.rpartition(":")
    if not (port.isdecimal() and _is_this_machine(host.strip("[]"))):
        return {}
    try:
        return {_GRPC_HEADER: _secret_file(int(port)).read_text("ascii")}
    except OSError:
        return {}


def _is_this_machine(host: str) -> bool:
    """Whether one can listen on the address: the secret goes to no other machine."""
    try:
        family, *_, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as listener:
            listener.bind(address)
    except OSError:
        return False
    return True


def _secret_file(port: int) -> Path:
    return private_folder("admin") / str(port)
