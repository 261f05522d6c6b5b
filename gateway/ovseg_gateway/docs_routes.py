"""`/docs`: the API description for people, in Swagger UI, which is served from here too."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import HTMLResponse

from ovseg_gateway.security_headers import page_response
from ovseg_gateway.static_files import page_text

router = APIRouter(include_in_schema=False)


@router.get("/docs")
@router.get("/redoc")  # FastAPI's other address of it; one is enough.
async def docs() -> HTMLResponse:
    """Swagger UI."""
    return page_response(
        page_text("docs.html"),
        script_src="'self'",
        style_src="'self'",
        img_src="'self' data:",  # Icons in its style sheet.
        connect_src="'self'",
    )
