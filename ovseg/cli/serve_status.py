"""What `ovseg serve` tells once it is ready: what is served, by which engines, and where."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from ovseg.cli.models_command import choices_of
from ovseg.manifest import ModelManifest
from ovseg.served_models import ENSEMBLE
from ovseg.server.supervisor import Part
from ovseg.settings import Settings

Choices = dict[str, str]
"""Engine and precision of the default model's parts, such as {"encoder": "openvino bf16"}."""


@dataclass(frozen=True)
class Status:
    """A service that is ready."""

    seconds: float
    """From its start."""
    addresses: dict[str, str]
    """By name: page, rest, docs, metrics, grpc, triton, triton_metrics; those of the parts that
    run here."""
    manifest: ModelManifest | None = None
    """Of the default model; None where only the gateway runs."""
    further_models: tuple[str, ...] = ()
    engines: Choices = field(default_factory=dict)
    threads: int = 0

    def as_json(self) -> dict[str, Any]:
        """For scripts: the event `ready`."""
        told: dict[str, Any] = {"event": "ready", "seconds": round(self.seconds, 2)}
        if self.manifest:
            told["model"] = self.manifest.name
            told["parameters"] = self.manifest.parameters
            told["further_models"] = list(self.further_models)
            told["threads"] = self.threads
            for part, choice in self.engines.items():
                engine, _, precision = choice.partition(" ")
                # A fused model has no encoder of its own.
                told[part] = {"engine": engine, "precision": precision} if precision else None
        return {**told, "addresses": self.addresses}

    def rows(self) -> list[tuple[str, str]]:
        """For people: names and what stands behind them."""
        at, shown = self.addresses, []
        if manifest := self.manifest:
            model = (
                f"{manifest.name}, {manifest.parameters / 1e6:.1f} M parameters, "
                f"{manifest.input_size} px"
            )
            also = f"; also {', '.join(self.further_models)}" if self.further_models else ""
            parts = ", ".join(f"{part} {choice}" for part, choice in self.engines.items())
            shown += [("model", model + also), ("engines", f"{parts}, {self.threads} threads")]
        if "rest" in at:
            shown += [
                ("page", f"{at['page']}   docs {at['docs']}"),
                ("REST", at["rest"]),
            ]
        if "grpc" in at:
            shown.append(("gRPC", f"{at['grpc']}   model {ENSEMBLE}"))
        metrics = [at[name] for name in ("metrics", "triton_metrics") if name in at]
        shown.append(("metrics", "   ".join(metrics)))
        return shown


def addresses_of(settings: Settings, part: Part) -> dict[str, str]:
    """Where the parts that run here answer: see `Status.addresses`."""
    found = {}
    if part != "triton":
        gateway = settings.gateway_url
        found = {
            "page": f"{gateway}/",
            "rest": f"{gateway}/open-vocabulary-segmentation",
            "docs": f"{gateway}/docs",
            "metrics": f"{gateway}/metrics",
        }
    if part != "gateway":
        host = settings.triton_host
        found |= {
            "grpc": f"{host}:{settings.grpc_port}",
            "triton": f"http://{host}:{settings.triton_http_port}",
            "triton_metrics": f"http://{host}:{settings.metrics_port}/metrics",
        }
    return found


def engines_meanwhile(manifest: ModelManifest, settings: Settings) -> Callable[[], Choices]:
    """Find out in another process what runs a model; returns what waits for the answer.

    Asking what the CPU can do loads OpenVINO, which a supervisor that runs for months has no use
    for. Call this before threads are started: it forks.
    """
    forking = get_context("fork")
    receiver, sender = forking.Pipe(duplex=False)
    process = forking.Process(target=_send_choices, args=(sender, manifest, settings), daemon=True)
    process.start()
    sender.close()

    def choices() -> Choices:
        try:
            found: Choices = receiver.recv()
        except EOFError:
            found = {}  # It was killed; the service runs without knowing.
        process.join()
        return found

    return choices


def _send_choices(sender: Connection, manifest: ModelManifest, settings: Settings) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the supervisor's business.
    sender.send({str(part): choice for part, choice in choices_of(manifest, settings).items()})


def curl_example(settings: Settings) -> str:
    """A line to paste into a shell in the project's folder."""
    token = '-H "Authorization: Bearer $OVSEG_TOKEN" ' if settings.token_hashes else ""
    return (
        '  (printf \'{"promptType":"box","visualize":false,"prompt":[[150,12,300,150]],'
        '"image":"\'; base64 -w0 examples/photo.jpg; printf \'"}\') | \\\n'
        f"  curl -sS {settings.gateway_url}/open-vocabulary-segmentation "
        f"-H 'Content-Type: application/json' {token}-d @-"
    )
