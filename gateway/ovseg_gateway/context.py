"""What the gateway knows about one request: its log id and where the time went."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.types import Scope

from ovseg.logs import log_id_now, short_log_id
from ovseg.stage_reports import embedding_was_cached

PARTS_OF_STAGES = {
    "preprocess": "preprocess",
    "sam_encoder": "encoder",
    "prompt_decoder": "decoder",
    "postprocess": "rle",
    "visualize": "drawing",
}
"""Triton's stages, under the names that callers see."""


@dataclass(slots=True)
class RequestContext:
    """Lives as long as one request; the middleware makes it, handlers fill it."""

    log_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    log_id_settled: bool = False
    """Whether the body has been searched for the caller's `logId`."""
    started: float = field(default_factory=time.perf_counter)
    durations: dict[str, float] = field(default_factory=dict)
    """Seconds spent in each named part."""
    cache_hit: bool | None = None
    """Whether the image's embedding was known; None where nobody can tell."""
    timeout_s: float = float("inf")
    """Longest time from the request's head to its answer."""
    received_bytes: int = 0
    """Of the body."""
    refusal: str | None = None
    """Why there was no result, as `GatewayError.reason` names it."""
    token_name: str | None = None
    """Whose bearer token the request came with; None where the settings have no tokens."""

    @property
    def short_log_id(self) -> str:
        """The log id as log lines and Triton get it."""
        return short_log_id(self.log_id)

    @property
    def elapsed(self) -> float:
        """Seconds since the request's head arrived."""
        return time.perf_counter() - self.started

    @property
    def remaining_s(self) -> float:
        """Seconds until the request's deadline; negative when it has passed."""
        return self.timeout_s - self.elapsed

    @contextmanager
    def measure(self, part: str) -> Iterator[None]:
        """Add the block's duration to `durations[part]`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - start
            self.durations[part] = self.durations.get(part, 0.0) + spent

    def adopt_log_id(self, payload: object) -> None:
        """Take the caller's `logId` out of a decoded body, if there is one that can be echoed."""
        self.log_id_settled = True
        log_id = payload.get("logId") if isinstance(payload, dict) else None
        if isinstance(log_id, str) and log_id and _is_unicode(log_id):
            self.log_id = log_id
            log_id_now.set(self.short_log_id)

    def note_stages(
        self, stage_seconds: Mapping[str, float], waited_s: float | None = None
    ) -> None:
        """Break the part "triton" down into what the stages say that they took, and the rest.

        The rest is "queue": waiting for a stage that works for somebody else, and passing tensors
        from stage to stage. "wait" is waiting for another request to have this image encoded.
        """
        self.cache_hit = embedding_was_cached(stage_seconds)
        if waited_s is not None:
            self.durations["wait"] = waited_s
        if stage_seconds:
            rest = self.durations.pop("triton") - (waited_s or 0.0) - sum(stage_seconds.values())
            self.durations["queue"] = max(rest, 0.0)
            for stage, part in PARTS_OF_STAGES.items():
                if stage in stage_seconds:
                    self.durations[part] = stage_seconds[stage]

    def server_timing(self) -> str:
        """Value of the `Server-Timing` header (W3C), durations in milliseconds.

        E.g. `json;dur=0.61, base64;dur=0.11, queue;dur=3.20, decoder;dur=24.90, rle;dur=1.40,
        answer;dur=0.05, cache;desc=hit, total;dur=31.07`.
        """
        entries = [f"{part};dur={seconds * 1e3:.2f}" for part, seconds in self.durations.items()]
        if self.cache_hit is not None:
            entries.append(f"cache;desc={'hit' if self.cache_hit else 'miss'}")
        return ", ".join([*entries, f"total;dur={self.elapsed * 1e3:.2f}"])


def attach_context(scope: Scope) -> RequestContext:
    """Start the context of an ASGI request; `context_of` finds it again."""
    context = RequestContext()
    scope.setdefault("state", {})["context"] = context
    log_id_now.set(context.short_log_id)
    return context


def context_of(request: Request) -> RequestContext:
    """The context that the middleware attached to the request."""
    context: RequestContext = request.state.context
    return context


def _is_unicode(text: str) -> bool:
    """False for text with lone surrogates, which JSON can carry and UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
