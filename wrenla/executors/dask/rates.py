"""Measured rates of the workers of a cluster: one of each machine is asked."""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Sequence

from wrenla.executors.dask import worker as theirs
from wrenla.executors.dask.connection import Connection
from wrenla.executors.dask.remote import Remote
from wrenla_handler.rates import Rates

__all__ = ["cluster_rates"]

logger = logging.getLogger("wrenla.executors")

_PATIENCE = 30.0
"""Seconds that machines have to measure themselves, which takes one or two. Others are not waited for."""


def cluster_rates(
    connection: Connection, remotes: Sequence[Remote], store: str, threads: int
) -> Rates | None:
    """Return the rates of a typical worker, as measured now; None if none of them answers.

    Parameters
    ----------
    connection : Connection
    remotes : sequence of Remote
        The workers.
    store : str
        URL of the store to try.
    threads : int
        Threads of BLAS for each task.
    """
    machines: dict[str, list[Remote]] = {}
    for remote in remotes:
        machines.setdefault(_host(remote.address), []).append(remote)
    asked = [
        connection.run(there[0].address, theirs.rates, store, sum(each.threads for each in there), threads)
        for there in machines.values()
    ]
    until, found = time.monotonic() + _PATIENCE, list[Rates]()
    for answer in asked:
        try:
            found.append(Rates.from_plain(answer.result(max(0.0, until - time.monotonic()))))
        except Exception as error:  # of Dask, of the worker, or of its store: plans do without
            logger.info("a machine of the Dask cluster was not measured: %r", error)
    if not found:
        return None
    # where machines differ, the middle one stands for all of them, whole, as its numbers belong together
    typical = statistics.median_low(rates.curve("gemm").flops for rates in found)
    return next(rates for rates in found if rates.curve("gemm").flops == typical)


def _host(address: str) -> str:
    """Return the machine in an address.

    Examples
    --------
    >>> _host("tcp://10.0.0.7:34567"), _host("tls://[::1]:8786"), _host("inproc://10.0.0.7/12/3")
    ('10.0.0.7', '[::1]', '10.0.0.7')
    """
    place = address.partition("://")[2].partition("/")[0]
    return place.rpartition(":")[0] or place
