"""What a plain process begins with: ``python start.py PARENT HANDLER``.

It becomes AWS's runtime client, and ends with the sandbox. Neither wrenla nor any other package can be
imported here: nothing is on the path but the function's code and the runtime.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Run the client."""
    parent, handler = sys.argv[1:]
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(parent):  # it has ended before we asked
        sys.exit("the sandbox is gone")
    sys.path[0] = os.environ["LAMBDA_TASK_ROOT"]
    sys.argv[1:] = [handler]
    runpy.run_module("awslambdaric", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
