"""Out-of-memory messages: what the memory was wanted for, and what can be done."""

from __future__ import annotations

import errno
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["memory_for", "no_memory"]


@contextmanager
def memory_for(what: str | Callable[[], str]) -> Iterator[None]:
    """Name what the memory is for that cannot be had in the block; a function makes the name then."""
    try:
        yield
    except (MemoryError, OSError) as error:
        if _is_the_systems(error):
            raise no_memory(what if isinstance(what, str) else what(), error) from error
        raise


def _is_the_systems(error: MemoryError | OSError) -> bool:
    """Tell whether this is Python's, NumPy's or Linux's word for it, and no class of somebody else's."""
    if isinstance(error, OSError):
        return type(error) is OSError and error.errno == errno.ENOMEM
    return type(error) is MemoryError or type(error).__module__.startswith("numpy")


def no_memory(what: str, error: BaseException) -> MemoryError:
    """Return the error for memory that the system has refused.

    Examples
    --------
    >>> str(no_memory("a tile", MemoryError()))[:26]
    'a tile: no more memory. Us'
    """
    text = str(error) or "no more memory"
    if _REMEDY not in text:
        soft = resource.getrlimit(resource.RLIMIT_AS)[0]
        limit = "" if soft == resource.RLIM_INFINITY else f" (now {soft >> 20} MiB)"
        text = f"{text}. {_REMEDY}{limit}"
    return MemoryError(f"{what}: {text}")


_REMEDY = (
    "Use smaller tiles or fewer workers, let them use less (allowed_mem), or give the program more memory: "
    "end others, raise its control group's limit or ulimit -v"
)
