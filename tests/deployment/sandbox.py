"""What a container engine does to a process, done by hand with Linux's own means.

Needs root. A root file system of its own, read-only, with the machine's programs in it; a user who
is not root and has no capabilities; a network of its own, in which ports are free and names
resolve as the compose file's network would; nothing of this process's environment.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.deployment.compose import ROOT

USER = 10001
_NAMESPACES = ("unshare", "--mount", "--net", "--pid", "--fork")
_SET_UP = r"""
set -eu
ip link set lo up 2>/dev/null || python3 -c '
import fcntl, socket, struct
flags = struct.pack("16sh14x", b"lo", 1 | 64)
fcntl.ioctl(socket.socket(), 0x8914, flags)'
mount --make-rprivate /
new=$SANDBOX/root
mount -t tmpfs -o mode=755 tmpfs "$new"
for name in usr bin sbin lib lib64 etc; do
  if [ -L /$name ]; then
    cp -a /$name "$new/"
  else
    mkdir "$new/$name"
    mount --bind /$name "$new/$name"
  fi
done
mkdir -p "$new"/{proc,dev,sys,tmp,models,run/secrets,home/ovseg}
mount -t proc proc "$new/proc"
mount --rbind /dev "$new/dev"
mount -t tmpfs -o mode=1777,size=1g tmpfs "$new/dev/shm"
mount --rbind /sys "$new/sys"
for entry in $TMPFS; do  # As an engine does: without exec, unless it is asked for.
  mount -t tmpfs -o "noexec,nosuid,nodev,${entry#*:}" tmpfs "$new${entry%%:*}"
done
for folder in $PROGRAMS; do
  mkdir -p "$new$folder"
  mount --bind "$folder" "$new$folder"
  mount -o remount,ro,bind "$new$folder"
done
mount --bind "$SANDBOX/models" "$new/models"
mount --bind "$SANDBOX/secrets" "$new/run/secrets"
mount -o remount,ro,bind "$new/run/secrets"
mount --bind "$SANDBOX/hosts" "$new/etc/hosts"
for name in usr etc; do mount -o remount,ro,bind "$new/$name"; done
mount -o remount,ro "$new"
echo sandbox is ready
exec sleep infinity
"""


def why_not() -> str | None:
    """Why there can be no sandbox on this machine, if there is a reason."""
    if os.getuid() != 0:
        return "only root can make a container by hand"
    if not all(map(shutil.which, ("unshare", "nsenter", "setpriv", "chroot"))):
        return "needs util-linux: unshare, nsenter, setpriv"
    tried = subprocess.run([*_NAMESPACES, "true"], capture_output=True)
    return None if tried.returncode == 0 else f"no namespaces: {tried.stderr.decode().strip()}"


class Sandbox:
    """A file system and a network that processes run in; use as a context manager."""

    def __init__(
        self,
        folder: Path,
        hosts: Sequence[str],
        secrets: Mapping[str, str],
        tmpfs: Sequence[str],
    ) -> None:
        """Prepare it.

        Args:
            folder: for its parts; `models` in it is the volume.
            hosts: names of services, all of them the sandbox's own loopback address.
            secrets: contents of the files in /run/secrets.
            tmpfs: `/folder:options`, as the compose file has them; all else is read-only.
        """
        self.models = folder / "models"
        self._folder = folder
        self._tmpfs = tmpfs
        for name in ("root", "models", "secrets"):
            (folder / name).mkdir()
        (folder / "hosts").write_text(f"127.0.0.1 localhost {' '.join(hosts)}\n")
        for name, text in secrets.items():
            (folder / "secrets" / name).write_text(text)

    def __enter__(self) -> Sandbox:
        for path in (self.models, *self.models.rglob("*")):
            os.chown(path, USER, USER)
        environment = {
            **os.environ,
            "SANDBOX": str(self._folder),
            "TMPFS": " ".join(self._tmpfs),
            "PROGRAMS": f"{sys.base_prefix} {ROOT}",
        }
        self._keeper = subprocess.Popen(
            [
                "unshare",
                "--mount",
                "--net",
                "--pid",
                "--fork",
                "--kill-child",
                "bash",
                "-c",
                _SET_UP,
            ],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._keeper.stdout
        if self._keeper.stdout.readline() != "sandbox is ready\n":
            raise RuntimeError(f"no sandbox: exit code {self._keeper.wait()}")
        return self

    def __exit__(self, *_: object) -> None:
        self._keeper.kill()  # The first process of its pid namespace: all others go with it.
        self._keeper.wait()

    def start(
        self, command: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> subprocess.Popen[bytes]:
        """Start a program of the virtual environment as the container's user."""
        with log.open("wb") as output:
            return subprocess.Popen(
                self._entering(command, environment), stdout=output, stderr=subprocess.STDOUT
            )

    def run(
        self, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run one to its end."""
        return subprocess.run(
            self._entering(command, environment or {}),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def wait_until(
        self, check: Sequence[str], process: subprocess.Popen[bytes], timeout_s: float
    ) -> None:
        """Wait until a health check passes.

        Raises:
            RuntimeError: the process ended, or time is up.
        """
        deadline = time.monotonic() + timeout_s
        while process.poll() is None and time.monotonic() < deadline:
            if self.run(check).returncode == 0:
                return
            time.sleep(0.5)
        raise RuntimeError(f"not healthy: {' '.join(process.args)}")  # type: ignore[arg-type]

    def _entering(self, command: Sequence[str], environment: Mapping[str, str]) -> list[str]:
        inside = Path(f"/proc/{self._keeper.pid}/task/{self._keeper.pid}/children")
        first = inside.read_text().split()[0]
        root = self._folder / "root"
        programs = Path(sys.executable).parent
        variables = {"PATH": f"{programs}:/usr/bin:/bin", "HOME": "/home/ovseg", **environment}
        return [
            *("nsenter", f"--target={first}", "--mount", "--net", "--pid"),
            *("chroot", str(root), "setpriv", f"--reuid={USER}", f"--regid={USER}"),
            *("--clear-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"),
            *("env", "--ignore-environment"),
            *(f"{name}={value}" for name, value in variables.items()),
            *("sh", "-c", f"cd {shlex.quote(str(ROOT))} && exec {shlex.join(command)}"),
        ]
