"""The page at `/`, where people try what this service does, and the files that pages load."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from ovseg_gateway.security_headers import page_response
from ovseg_gateway.static_files import page_text, static_files, static_version

_ONE_YEAR = "public, max-age=31536000, immutable"

router = APIRouter(include_in_schema=False)


@router.get("/")
async def home() -> HTMLResponse:
    """The page. It uses the public REST API, and nothing from other hosts."""
    return page_response(
        page_text("index.html"),
        script_src="'self'",
        style_src="'self'",
        img_src="'self'",
        connect_src="'self'",
    )


@router.get("/static/{version}/{name:path}")
def static_file(request: Request, version: str, name: str) -> Response:
    """A file that a page loads.

    One of another version, which another gateway's page asks for while a service is being
    updated, is answered with the present one, which nobody keeps.
    """
    file = static_files().get(name)
    if file is None:
        raise HTTPException(404)
    headers = {
        "Cache-Control": _ONE_YEAR if version == static_version() else "no-cache",
        "ETag": file.etag,
        "Vary": "Accept-Encoding",
    }
    if file.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if file.compressed is not None and "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        return Response(file.compressed, headers=headers, media_type=file.media_type)
    return Response(file.content, headers=headers, media_type=file.media_type)
