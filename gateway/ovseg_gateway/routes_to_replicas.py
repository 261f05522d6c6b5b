"""Which replica answers, where a load balancer is between the gateways and several Tritons.

Every call says by its gRPC metadata where it belongs. The balancer (deploy/scale-out) hashes that
consistently, so that all calls for one image come to the replica whose cache has its embedding,
whichever gateway sends them. A call without it may go to any replica. A Triton that is called
directly ignores it.
"""

from __future__ import annotations

import uuid

METADATA = "ovseg-image"
"""nginx calls it `$http_ovseg_image`."""


def route_headers(route: str) -> dict[str, str]:
    """The metadata of a call; `route` is an image's id, or `elsewhere()`."""
    return {METADATA: route}


def elsewhere() -> str:
    """A route that leads to a replica by chance, and to the same one if it is used again."""
    return uuid.uuid4().hex
