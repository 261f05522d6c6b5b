"""The one exception that stages raise for a caller's mistake."""

from __future__ import annotations


class InvalidInputError(ValueError):
    """A request's tensor cannot be used.

    Its text is `<field>: <what is wrong>`, where field is the ensemble's input (DESIGN section 2).
    Triton carries it to the client as INVALID_ARGUMENT; the gateway turns it into a 422.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem
