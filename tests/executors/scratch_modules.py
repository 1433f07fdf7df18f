"""Installed and local modules for tests of names: written into folders of a test, and imported from there."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from wrenla.executors.transport import distributions, local_modules
from wrenla.executors.transport.dependencies import packed_function

INSTALLED = {
    "behind_pkg/__init__.py": "from .constants import FACTOR\n\ndef scale(x):\n    return FACTOR * x\n",
    "behind_pkg/constants.py": "FACTOR = 1.0\n",
    "behind_pkg/fast.so": "machine code",
    "behind_pkg/table.csv": "1,2",
    "behind_single.py": "VALUE = 1.0\n\nclass Kind:\n    def call(self, i):\n        return i\n",
    "behind_above.py": "import behind_single\n\ndef up(i):\n    return behind_single.VALUE\n",
    "behind_wraps.py": (
        "import functools\nimport behind_single\n\ndef decorated(f):\n    @functools.wraps(f)\n"
        "    def inner(*a):\n        return behind_single.VALUE * f(*a)\n    return inner\n"
    ),
    "behind_big/__init__.py": "",
    "behind_big-1.0.dist-info/METADATA": (
        "Metadata-Version: 2.1\nName: behind-big\nVersion: 1.0\n"
        "Requires-Dist: Behind.Needed>=1 ; python_version > '3'\nRequires-Dist: behind_single; extra == 'x'\n"
    ),
    "behind_big-1.0.dist-info/top_level.txt": "behind_big\n",
    "behind_needed/__init__.py": "A = 1\n",
    "behind_needed-2.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: behind_needed\nVersion: 2.0\n",
    "behind_needed-2.0.dist-info/top_level.txt": "behind_needed\n",
}

LOCAL = {
    "behind_local.py": "import behind_pkg\nfrom behind_deep import deep\n\ndef g(i):\n    return deep(i)\n",
    "behind_deep.py": "def deep(i):\n    from behind_single import VALUE\n    return VALUE\n",
    "behind_dynamic.py": (
        "import importlib\n\nNAME = 'behind_single'\n\ndef g(i):\n"
        "    return importlib.import_module(NAME).VALUE\n"
    ),
    "behind_relative/__init__.py": (
        "import importlib\n\ndef late():\n    return importlib.import_module('.late', __name__)\n"
    ),
    "behind_relative/late.py": "VALUE = 1\n",
    "behind_ext.so": "machine code",
    "behind_state.py": (
        "import functools, logging, threading\nimport numpy as np\nfrom behind_deep import deep as other\n\n"
        "CONST = 3\nCFG = {'a': 1}\nTABLE = np.zeros(3)\nLOCK = threading.Lock()\n"
        "LOG = logging.getLogger(__name__)\nONCE = (x for x in ())\nUNUSED = object()\n\n"
        "def k(i, n=[]):\n    return i\n\ndef h(i):\n    return k(i) * CONST\n\n"
        "def locked(i):\n    with LOCK:\n        LOG.info(i)\n        return other(i)\n\n"
        "@functools.cache\ndef cached(i):\n    return k(i)\n\ndef once(i):\n    return next(ONCE)\n\n"
        "class Base:\n    scale = 1.0\n    def m(self, i):\n        return self.scale\n\n"
        "class C(Base):\n    pass\n\n"
        "class Times:\n    def __init__(self, f, n):\n        functools.update_wrapper(self, f)\n"
        "        self.n = n\n    def __call__(self, i):\n        return self.n * self.__wrapped__(i)\n\n"
        "times = Times(h, 2)\n\n@functools.singledispatch\ndef kind(i):\n    return CONST\n\n"
        "@kind.register\ndef _(i: int):\n    return 2\n\n"
        "if CFG['a']:\n    def either(i): return 1\nelse:\n    def either(i): return 2\n"
    ),
}


@dataclass
class ScratchSpace:
    """Installed and local modules, and scripts that use them."""

    site: Path
    local: Path
    file: str = "script.py"

    def function(self, script: str) -> Any:
        """Run a script as a new process would."""
        for name in [name for name in sys.modules if name.startswith("behind_")]:
            del sys.modules[name]
        importlib.invalidate_caches()
        space: dict[str, Any] = {
            "__name__": "__main__",
            "__builtins__": __builtins__,
            "__file__": self.file,
        }
        exec(compile(script, self.file, "exec", dont_inherit=True), space)
        return space["f"]

    def name(self, script: str) -> str:
        return packed_function(self.function(script)).name


def scratch_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScratchSpace]:
    """Write the modules, and forget them afterwards."""
    made = ScratchSpace(tmp_path / "site", tmp_path / "local")
    for folder, files in ((made.site, INSTALLED), (made.local, LOCAL)):
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
            os.utime(folder / name, (1e9, 1e9))  # long before this process
        monkeypatch.syspath_prepend(str(folder))
    installed = (*local_modules._installed(), f"{os.path.realpath(made.site)}/")
    monkeypatch.setattr(local_modules, "_installed", lambda: installed)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    distributions.distributions.cache_clear()
    distributions.required.cache_clear()
    yield made
    for name in [name for name in sys.modules if name.startswith("behind_")]:
        del sys.modules[name]
    distributions.distributions.cache_clear()
    distributions.required.cache_clear()
