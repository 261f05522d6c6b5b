"""Health checks and metrics."""

from __future__ import annotations

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from ovseg_gateway.context import context_of
from ovseg_gateway.errors import ShuttingDownError, UnavailableError
from ovseg_gateway.metrics import Metrics
from ovseg_gateway.restart_metrics import render_status
from ovseg_gateway.schemas import StatusResponse
from ovseg_gateway.state import gateway_of

router = APIRouter()


@router.get("/health", operation_id="checkHealth", response_model=StatusResponse)
async def health(request: Request) -> Response:
    """Whether the gateway answers, in PaddleX's words."""
    return _status(request, "Healthy")


@router.get("/health/live", operation_id="checkLive", response_model=StatusResponse)
async def live(request: Request) -> Response:
    """Whether the gateway answers; says nothing about Triton."""
    return _status(request, "Alive")


@router.get(
    "/health/ready",
    operation_id="checkReady",
    response_model=StatusResponse,
    responses={503: {"model": StatusResponse, "description": "Not ready, or shutting down."}},
)
async def ready(request: Request) -> Response:
    """Whether a segmentation request would succeed now, shown by an inference."""
    gateway = gateway_of(request)
    if gateway.draining.is_draining:
        raise ShuttingDownError
    if not await gateway.readiness.is_ready():
        raise UnavailableError("Triton is not ready")
    return _status(request, "Ready")


@router.get("/metrics", operation_id="metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """Prometheus metrics of the gateway; Triton has its own at its metrics port."""
    collected: Metrics = request.app.state.metrics
    text = collected.render()
    if status := gateway_of(request).status:
        text += render_status(status.read())
    return Response(text, media_type=collected.content_type)


def _status(request: Request, message: str) -> Response:
    content = {"logId": context_of(request).log_id, "errorCode": 0, "errorMsg": message}
    return Response(orjson.dumps(content), media_type="application/json")
