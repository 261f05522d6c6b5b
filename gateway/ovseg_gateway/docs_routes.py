"""`/docs` and `/redoc`: the API description for people, each page with a policy that fits it."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import HTMLResponse

from ovseg_gateway.security_headers import page_response

_CDN = "https://cdn.jsdelivr.net"
_ICONS = "data: https://fastapi.tiangolo.com https://cdn.redoc.ly"

router = APIRouter(include_in_schema=False)


@router.get("/docs")
async def docs(request: Request) -> HTMLResponse:
    """Swagger UI."""
    page = get_swagger_ui_html(openapi_url=_description_url(request), title=request.app.title)
    return page_response(
        _text(page),
        script_src=_CDN,
        style_src=f"{_CDN} 'unsafe-inline'",  # Swagger UI sets style attributes.
        img_src=_ICONS,
        connect_src="'self'",
    )


@router.get("/redoc")
async def redoc(request: Request) -> HTMLResponse:
    """Redoc."""
    page = get_redoc_html(
        openapi_url=_description_url(request), title=request.app.title, with_google_fonts=False
    )
    return page_response(
        _text(page),
        script_src=_CDN,
        style_src="'unsafe-inline'",  # Redoc makes its style sheet while it runs.
        img_src=_ICONS,
        connect_src="'self'",
        worker_src="blob:",  # Its search.
    )


def _description_url(request: Request) -> str:
    return str(request.scope.get("root_path", "")).rstrip("/") + str(request.app.openapi_url)


def _text(page: HTMLResponse) -> str:
    return bytes(page.body).decode("utf-8")
