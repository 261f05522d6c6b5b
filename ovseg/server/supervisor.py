"""`ovseg serve`: Triton and the gateway, together, until told to stop.

Stopping is in order: `/health/ready` turns 503 and the gateway takes no new connection, requests
under way finish, then Triton stops. Triton must be last, because it fails whatever runs in it.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from types import FrameType
from typing import Literal

from ovseg.manifest import ModelManifest
from ovseg.server.errors import ServerStartError
from ovseg.server.model_control import connected
from ovseg.server.ports import check_port_free
from ovseg.server.triton_process import TritonProcess
from ovseg.server.warm_up import warm_up
from ovseg.settings import Settings

Part = Literal["all", "triton", "gateway"]
Say = Callable[[str], None]

READY_PREFIX = "ready in "
"""Start of the line that is said once requests are answered; scripts wait for it."""


class Terminated(BaseException):
    """SIGTERM came; not an error, so not an Exception."""


def serve(settings: Settings, part: Part, say: Say) -> None:
    """Serve until SIGINT or SIGTERM, then stop in order.

    Args:
        settings: everything.
        part: both processes, or one of them (as two containers do).
        say: takes lines for the person at the terminal.

    Raises:
        ServerStartError: something is missing, taken or broken; one line says what.
        ModelNotInstalledError: the model of the settings is not installed.
    """
    started = time.monotonic()
    with _sigterm_raises():
        try:
            if part == "gateway":
                check_port_free(settings.host, settings.port, "OVSEG_PORT")
                _run_gateway(settings, None, lambda: say(_gateway_ready(settings, started)))
                return
            manifest = ModelManifest.load(settings.model_folder)
            if part == "all":
                check_port_free(settings.host, settings.port, "OVSEG_PORT")
            with TritonProcess(settings) as triton:
                say(f"starting Triton with {manifest.name} ({manifest.parameters / 1e6:.1f} M) …")
                triton.start()
                triton.wait_ready()
                _load_and_warm_up(settings, say)
                if part == "triton":
                    say(_triton_ready(settings, started))
                    _wait_for_end(triton)
                else:
                    _run_gateway(settings, triton, lambda: say(_all_ready(settings, started)))
        except (KeyboardInterrupt, Terminated):
            pass
        say("stopped")


def _load_and_warm_up(settings: Settings, say: Say) -> None:
    from tritonclient.utils import InferenceServerException

    with connected(settings.triton_grpc_address) as control:
        served = [control.load(settings, settings.model, is_default=True)]
        for model in settings.further_models:
            say(f"loading {model} …")
            served.append(control.load(settings, model))
    say("warming up …")
    for served_model in served:
        try:
            warm_up(settings.triton_grpc_address, served_model, settings.start_timeout_s)
        except InferenceServerException as error:
            raise ServerStartError(
                f"the first inference of {served_model.name} failed: {error.message()}"
            ) from None


def _wait_for_end(triton: TritonProcess) -> None:
    while triton.poll() is None:
        time.sleep(0.2)
    raise _ended(triton)


def _ended(triton: TritonProcess) -> ServerStartError:
    return ServerStartError(
        f"tritonserver ended with exit code {triton.poll()}: {triton.failure_cause()}"
    )


def _run_gateway(
    settings: Settings, triton: TritonProcess | None, on_ready: Callable[[], None]
) -> None:
    """Run the gateway in this process until a signal, or until Triton ends."""
    import uvicorn
    from ovseg_gateway.app import create_app, start_draining

    app = create_app(settings)

    class GatewayServer(uvicorn.Server):
        async def startup(self, sockets: object = None) -> None:
            await super().startup(sockets)  # type: ignore[arg-type]
            if self.started:
                on_ready()

        async def shutdown(self, sockets: object = None) -> None:
            start_draining(app)
            await super().shutdown(sockets)  # type: ignore[arg-type]

    server = GatewayServer(
        uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            log_level=settings.log_level if settings.log_level != "info" else "warning",
            access_log=False,
            timeout_graceful_shutdown=int(settings.drain_timeout_s),
        )
    )
    finished = Event()

    def watch() -> None:
        while not finished.wait(0.2):
            if triton is not None and triton.poll() is not None:
                server.should_exit = True
                return

    watcher = Thread(target=watch, name="triton-watcher", daemon=True)
    watcher.start()
    try:
        server.run()
    finally:
        finished.set()
        watcher.join()
    if triton is not None and triton.poll() is not None:
        raise _ended(triton)


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    def on_sigterm(_signal: int, _frame: FrameType | None) -> None:
        raise Terminated

    previous = signal.signal(signal.SIGTERM, on_sigterm)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _gateway_ready(settings: Settings, started: float) -> str:
    address = settings.gateway_url
    return (
        f"{READY_PREFIX}{time.monotonic() - started:.1f} s\n"
        f"  REST     {address}/open-vocabulary-segmentation\n"
        f"  web      {address}/   docs {address}/docs   metrics {address}/metrics"
    )


def _triton_ready(settings: Settings, started: float) -> str:
    host = settings.triton_host
    return (
        f"{READY_PREFIX}{time.monotonic() - started:.1f} s\n"
        f"  gRPC     {host}:{settings.grpc_port}   model open_vocabulary_segmentation\n"
        f"  Triton   http://{host}:{settings.triton_http_port}   "
        f"metrics http://{host}:{settings.metrics_port}/metrics"
    )


def _all_ready(settings: Settings, started: float) -> str:
    gateway = _gateway_ready(settings, started)
    triton = _triton_ready(settings, started).split("\n", 1)[1]
    return f"{gateway}\n{triton}\n\nTry it (Ctrl-C stops the server):\n{curl_example(settings)}"


def curl_example(settings: Settings) -> str:
    """A line to paste into a shell in the project's folder."""
    return (
        '  (printf \'{"promptType":"box","visualize":false,"prompt":[[150,12,300,150]],'
        '"image":"\'; base64 -w0 examples/photo.jpg; printf \'"}\') | \\\n'
        f"  curl -sS {settings.gateway_url}/open-vocabulary-segmentation "
        "-H 'Content-Type: application/json' -d @-"
    )
