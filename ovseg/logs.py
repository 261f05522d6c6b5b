"""The log on standard error: lines for people or JSON, each with the request that it is about.

`logId` is the caller's name for a request; it goes with the request to Triton, so that one search
finds its lines in the gateway's log and in Triton's. What a caller chose is never trusted: it is
cut to a length, and control characters are escaped, so that no line can be forged.
"""

from __future__ import annotations

import logging
import re
from contextvars import ContextVar

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.orjson import OrjsonFormatter

LOG_ID_LIMIT = 128
"""Characters of a log id in log lines and in Triton; an answer echoes all of it."""

log_id_now: ContextVar[str] = ContextVar("log_id_now", default="")
"""Of the request that is being worked on; "" between requests."""

_OUR_PACKAGES = ("ovseg", "ovseg_gateway")
_TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_UNPRINTABLE = re.compile(r"[^ -~\u00a0-\u2027\u202f-\ud7ff\ue000-\U0010ffff]")
"""Control characters, line separators of Unicode, and what changes the direction of writing."""


def printable(text: str) -> str:
    r"""The text with control characters escaped, as `\x0a` or `\u2028`."""
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def short_log_id(log_id: str) -> str:
    """A caller's log id as log lines and Triton get it."""
    return printable(log_id[:LOG_ID_LIMIT])


class LogIdFilter(logging.Filter):
    """Adds the field `logId` to each line that is about a request."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every line through."""
        if (log_id := log_id_now.get()) and not hasattr(record, "logId"):
            record.logId = log_id
        return True


class TextFormatter(logging.Formatter):
    """`time level logger: message name=value …`, one line but for a traceback."""

    def __init__(self) -> None:
        super().__init__(_TEXT)

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line, with the fields behind it."""
        fields = [
            f" {name}={value}"
            for name, value in record.__dict__.items()
            if name not in RESERVED_ATTRS
        ]
        return printable(super().formatMessage(record) + "".join(fields))


def configure_logging(level_name: str, form: str) -> None:
    """Send this process's log to standard error.

    Args:
        level_name: the setting `log_level`: what is less is left out.
        form: the setting `log_format`, "text" or "json".
    """
    handler = logging.StreamHandler()
    handler.addFilter(LogIdFilter())
    handler.setFormatter(
        OrjsonFormatter(
            "{asctime}{levelname}{name}{message}",
            style="{",
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
        )
        if form == "json"
        else TextFormatter()
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    level = logging.getLevelName(level_name.upper())
    # Libraries say more than is anybody's business: httpx logs the URLs that it fetches, with their
    # passwords, and Pillow at level debug what is written in image files.
    root.setLevel(max(level, logging.WARNING))
    for package in _OUR_PACKAGES:
        logging.getLogger(package).setLevel(level)
