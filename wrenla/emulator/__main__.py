"""``python -m wrenla.emulator OPTIONS``: one emulator; it is started by `LambdaEmulator`."""

from __future__ import annotations

import sys

from wrenla.emulator.main import main

if __name__ == "__main__":
    main(sys.argv[1:])
