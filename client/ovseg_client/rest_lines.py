"""Answers that come line by line: progress, and at the end what is the whole answer elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping

import httpx

from ovseg_client.everything import Report
from ovseg_client.rest_messages import Answer

LINES = "application/x-ndjson"


class AnswerLines:
    """One answer, as it comes."""

    def __init__(self, report: Report | None) -> None:
        """Nothing has come yet; `report` is called with progress."""
        self._report = report
        self._last: str | None = None

    def take(self, line: str) -> None:
        """The next line."""
        progress = json.loads(line).get("progress") if line.startswith('{"progress"') else None
        if progress is None:
            self._last = line or self._last
        elif self._report is not None:
            self._report(progress["done"], progress["total"])

    def answer(self, headers: Mapping[str, str]) -> Answer:
        """What the last line says, with its own status: HTTP's is from before it was known.

        Raises:
            httpx.RemoteProtocolError: there was none.
        """
        if self._last is None:
            raise httpx.RemoteProtocolError("the answer broke off")
        status = json.loads(self._last).get("errorCode") or 200
        return Answer(status, headers, self._last.encode())
