"""Only callers with a known bearer token get past here, where the settings have tokens (RFC 6750).

Everything needs one but the paths listed here: a route that is added later is closed until somebody
opens it on purpose.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ovseg.tokens import name_of_token
from ovseg_gateway.context import context_of
from ovseg_gateway.errors import GatewayError, error_response
from ovseg_gateway.middleware import send_then_drain

OPEN_PATHS = frozenset(
    {"/", "/docs", "/redoc", "/openapi.json", "/health", "/health/live", "/health/ready"}
)
"""Pages and descriptions without any data, and health, which probes ask without credentials."""

OPEN_PREFIX = "/static/"
"""What the pages load."""

_SCHEME = "bearerToken"


class UnauthorizedError(GatewayError):
    """The request has no token, or one that nobody knows; its body was not read."""

    status_code = 401
    reason = "unauthorized"

    def __init__(self, message: str, challenge: str) -> None:
        super().__init__(message)
        self.headers = {"WWW-Authenticate": challenge, "Connection": "close"}


class BearerTokenMiddleware:
    """Answers 401 before the body is read, or notes whose token it is in the request's context."""

    def __init__(self, app: ASGIApp, digests: Mapping[str, bytes]) -> None:
        """Let callers of `app` in.

        Args:
            app: what tokens open.
            digests: SHA-256 of each token, by its name.
        """
        self._app = app
        self._digests = digests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _is_open(scope["path"]):
            await self._app(scope, receive, send)
            return
        context = context_of(Request(scope))
        try:
            context.token_name = self._token_name(Headers(scope=scope))
        except UnauthorizedError as error:
            context.refusal = error.reason
            response = error_response(context, error.status_code, str(error), error.headers)

            async def send_refusal(message: Message) -> None:
                await send_then_drain(message, receive, send)

            await response(scope, receive, send_refusal)
            return
        await self._app(scope, receive, send)

    def _token_name(self, headers: Headers) -> str:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise UnauthorizedError(
                "This service needs a token: send the header `Authorization: Bearer …`",
                'Bearer realm="ovseg"',
            )
        name = name_of_token(token.strip(), self._digests)
        if name is None:
            raise UnauthorizedError(
                "The token is not known here", 'Bearer realm="ovseg", error="invalid_token"'
            )
        return name


def _is_open(path: str) -> bool:
    return path in OPEN_PATHS or path.startswith(OPEN_PREFIX)


def document_tokens(app: FastAPI) -> None:
    """Say in the OpenAPI description which routes need a token, and what they answer without."""
    describe = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema:
            return app.openapi_schema
        schema = describe()
        schemes = schema.setdefault("components", {}).setdefault("securitySchemes", {})
        schemes[_SCHEME] = {"type": "http", "scheme": "bearer"}
        for path, operations in schema["paths"].items():
            if path in OPEN_PATHS:
                continue
            for operation in operations.values():
                operation["security"] = [{_SCHEME: []}]
                operation["responses"]["401"] = {
                    "description": "No token, or one that is not known.",
                    "content": {
                        "application/json": {
                            "schema": {"$ref": "#/components/schemas/StatusResponse"}
                        }
                    },
                }
        return schema

    app.openapi = described  # type: ignore[method-assign]
