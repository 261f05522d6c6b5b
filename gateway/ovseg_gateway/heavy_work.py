"""Work that would keep the event loop from answering others, done in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

ON_LOOP_BYTES = 1 << 20
"""A megabyte takes a few milliseconds at most; going to a thread costs a tenth of one."""

_THREADS = 2
"""All of them share Python's one lock: more would not get more done."""

_pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="heavy-work")

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


async def run_heavy(
    size: int,
    function: Callable[Arguments, Result],
    *arguments: Arguments.args,
    **options: Arguments.kwargs,
) -> Result:
    """Call `function`, in a thread if it has more than `ON_LOOP_BYTES` to work on.

    Args:
        size: of its work, in bytes.
        function: gives way to other threads at least every few milliseconds.
        arguments: of the function.
        options: of the function.
    """
    if size <= ON_LOOP_BYTES:
        return function(*arguments, **options)
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_pool, lambda: function(*arguments, **options))
