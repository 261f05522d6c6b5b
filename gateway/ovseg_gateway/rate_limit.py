"""How often one caller may ask: `OVSEG_RATE_LIMIT`, counted by the library `limits`.

Each gateway worker counts for itself.
"""

from __future__ import annotations

import math
import time
from ipaddress import IPv6Address, ip_address

from limits import parse_many
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from starlette.types import Scope

from ovseg_gateway.context import RequestContext
from ovseg_gateway.errors import RateLimitedError

_IPV6_NETWORK_BITS = 64
"""What one customer of a provider has for himself."""


class RateLimit:
    """Counts callers' requests. Two numbers are kept for each caller, until they are of no use."""

    def __init__(self, limit: str) -> None:
        """Allow each caller that much, e.g. `10/second;100/minute`; "": anything."""
        self._items = parse_many(limit) if limit else []
        self._counter = SlidingWindowCounterRateLimiter(MemoryStorage())

    def count(self, scope: Scope) -> None:
        """Count one request.

        Raises:
            RateLimitedError: its caller has asked too often.
        """
        for item in self._items:
            caller = caller_of(scope)
            if not self._counter.hit(item, caller):
                wait_s = self._counter.get_window_stats(item, caller).reset_time - time.time()
                raise RateLimitedError(math.ceil(wait_s))


def caller_of(scope: Scope) -> str:
    """Who asks: the name of the token, else the address (of IPv6 the network)."""
    context: RequestContext = scope["state"]["context"]
    if context.token_name is not None:
        return f"token {context.token_name}"
    host = scope["client"][0] if scope.get("client") else "unknown"
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return str(host)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
        return f"{int(address) >> (128 - _IPV6_NETWORK_BITS):x}/{_IPV6_NETWORK_BITS}"
    return str(getattr(address, "ipv4_mapped", None) or address)
