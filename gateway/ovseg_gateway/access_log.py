"""One log line for each request: no image, no prompt, no token, and the route instead of the path.

(A stranger's path may hold anything.)
"""

from __future__ import annotations

import logging

from ovseg_gateway.context import RequestContext

_QUIET_ROUTES = frozenset({"/health", "/health/live", "/health/ready", "/metrics"})
"""Asked every few seconds by machines: logged at level debug only."""

logger = logging.getLogger("ovseg_gateway.access")


def log_access(
    method: str, route: str, status: int, sent_bytes: int, context: RequestContext
) -> None:
    """Log a finished request.

    Args:
        method: of HTTP.
        route: template of the path that matched.
        status: of HTTP.
        sent_bytes: of the answer's body.
        context: of the request; its log id is added to the line by `ovseg.logs`.
    """
    level = logging.DEBUG if route in _QUIET_ROUTES and status < 400 else logging.INFO
    if not logger.isEnabledFor(level):
        return
    fields: dict[str, object] = {
        "method": method,
        "route": route,
        "status": status,
        "ms": round(context.elapsed * 1e3, 1),
        "received": context.received_bytes,
        "sent": sent_bytes,
    }
    if context.refusal:
        fields["refusal"] = context.refusal
    if context.cache_hit is not None:
        fields["cache"] = "hit" if context.cache_hit else "miss"
    if context.token_name is not None:
        fields["token"] = context.token_name
    logger.log(level, "answered", extra=fields)
