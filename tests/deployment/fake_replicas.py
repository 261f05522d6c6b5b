"""Stand-ins for Tritons behind a load balancer: real gRPC servers that know who they are."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import grpc  # type: ignore[import-untyped]
from tritonclient.grpc import service_pb2, service_pb2_grpc


@dataclass
class FakeReplica:
    """Says that every model is ready, as soon as its gate is open; `stop` it at the end."""

    gate: threading.Event = field(default_factory=threading.Event)
    inside: int = 0
    """Calls that wait at the gate, or did."""

    def __post_init__(self) -> None:
        self.gate.set()
        self._server = grpc.server(
            ThreadPoolExecutor(8), options=[("grpc.max_receive_message_length", -1)]
        )
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(_Servicer(self), self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def stop(self) -> None:
        """Break all connections, and take no more."""
        self.gate.set()
        self._server.stop(None).wait(10)


class _Servicer(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    def __init__(self, replica: FakeReplica) -> None:
        self._replica = replica

    def ModelReady(self, request: Any, context: Any) -> Any:
        self._replica.inside += 1
        self._replica.gate.wait(30)
        return service_pb2.ModelReadyResponse(ready=True)

    def ModelInfer(self, request: Any, context: Any) -> Any:
        (content,) = request.raw_input_contents
        return service_pb2.ModelInferResponse(raw_output_contents=[content])
