"""The application: routes, middleware, error handlers, and what lives as long as it runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from ovseg.server.service_status import StatusReader
from ovseg.settings import Settings
from ovseg_gateway import docs_routes, page_routes, segmentation_routes, status_routes
from ovseg_gateway.admission import Admission
from ovseg_gateway.admission_middleware import AdmissionMiddleware
from ovseg_gateway.bearer_tokens import BearerTokenMiddleware, document_tokens
from ovseg_gateway.compressed_body import CompressedBodyMiddleware
from ovseg_gateway.draining import Draining, DrainingMiddleware
from ovseg_gateway.errors import install_error_handlers
from ovseg_gateway.inference import InferenceClient
from ovseg_gateway.metrics import Metrics
from ovseg_gateway.middleware import BodyLimitMiddleware, InstrumentationMiddleware
from ovseg_gateway.security_headers import SecurityHeadersMiddleware
from ovseg_gateway.state import Gateway, open_gateway


def create_app(
    settings: Settings,
    *,
    client: InferenceClient | None = None,
    status: StatusReader | None = None,
    draining: Draining | None = None,
) -> FastAPI:
    """Make the gateway for one set of settings.

    Args:
        settings: addresses, limits and defaults.
        client: replaces the connection to Triton at `settings.triton_grpc_address`.
        status: what the supervisor says of the service, where there is one beside the gateway.
        draining: used by who stops the application in order.
    """

    draining = draining or Draining()
    metrics = Metrics()
    admission = Admission(settings, metrics)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_gateway(settings, client, admission, status, draining) as gateway:
            app.state.gateway = gateway
            yield

    app = FastAPI(
        title="Promptable segmentation",
        version=_version(),
        description="Masks for boxes and points, from SAM on Triton.",
        lifespan=lifespan,
        docs_url=None,  # `docs_routes` has them, with a Content-Security-Policy.
        redoc_url=None,
    )
    app.state.metrics = metrics
    app.include_router(segmentation_routes.router)
    app.include_router(status_routes.router)
    app.include_router(docs_routes.router)
    app.include_router(page_routes.router)
    install_error_handlers(app)
    app.add_middleware(
        AdmissionMiddleware,
        path=segmentation_routes.PATH,
        settings=settings,
        admission=admission,
        metrics=metrics,
    )
    app.add_middleware(CompressedBodyMiddleware, limit=settings.max_body_bytes)
    app.add_middleware(BodyLimitMiddleware, limit=settings.max_body_bytes)
    if settings.token_digests:
        app.add_middleware(BearerTokenMiddleware, digests=settings.token_digests)
        document_tokens(app)
    if settings.cors_allow_list:
        # Outside of the tokens: a browser's preflight request has none.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_allow_list,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type"],
            expose_headers=["Retry-After", "Server-Timing"],
        )
    app.add_middleware(DrainingMiddleware, draining=draining)
    app.add_middleware(InstrumentationMiddleware, metrics=metrics)
    app.add_middleware(SecurityHeadersMiddleware)
    return app


def start_draining(app: FastAPI) -> None:
    """Make `/health/ready` answer 503 so that callers go elsewhere; requests still work."""
    gateway: Gateway = app.state.gateway
    gateway.draining.is_draining = True


def _version() -> str:
    try:
        return version("ovseg")
    except PackageNotFoundError:
        return "0"
