"""Driver's side of an emulator: its process, and requests to its admin API."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import select
import subprocess
import sys
import tempfile
from typing import IO, Any

from wrenla.emulator.cleanup import sweep_after
from wrenla.emulator.options import Options, Ready
from wrenla.errors import WrenlaError

__all__ = ["EmulatorProcess"]

_START = 60.0
"""Seconds that it may take to start, on a machine that is busy."""

_END = 20.0
"""Seconds that it may take to end in order."""


class EmulatorProcess:
    """An emulator in a process of its own, which takes nothing from this one's interpreter lock.

    Parameters
    ----------
    options : Options

    Attributes
    ----------
    ready : Ready

    Raises
    ------
    WrenlaError
        It did not start; the message says why.
    """

    def __init__(self, options: Options) -> None:
        with contextlib.ExitStack() as undo:
            self._log: IO[bytes] = undo.enter_context(tempfile.TemporaryFile(prefix="wrenla-log-"))
            # moto would read these, and look for the profile that they name
            kept = {name: os.environ[name] for name in os.environ if not name.startswith(("AWS_", "MOTO_"))}
            self._process = subprocess.Popen(
                # -P: a file of the current folder must not pass for a module of the standard library
                [sys.executable, "-P", "-m", "wrenla.emulator", options.encode()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self._log,
                env=kept,
                # a Ctrl-C in the terminal is ours; and a function that had a terminal could type into it
                start_new_session=True,
            )
            undo.callback(self.close)
            self._region = options.region
            self.ready = self._greet()
            undo.pop_all()

    def _greet(self) -> Ready:
        output = self._process.stdout
        assert output is not None
        poll = select.poll()
        poll.register(output, select.POLLIN)
        line = output.readline() if poll.poll(_START * 1000) else b""
        if not line:
            self._process.kill()
            self._process.wait()
            said = self.said().strip()
            if said.startswith("Traceback"):  # what nobody has thought of: one line says the most
                said = f"the emulator did not start: {said.splitlines()[-1]}"
            raise WrenlaError(said or f"the emulator was not ready within {_START:g} s")
        return Ready.decode(line.decode())

    def said(self) -> str:
        """Return what it has written to standard error."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def ask(self, method: str, path: str, content: object = None) -> Any:
        """Send a signed request to the emulator itself, and return what it answers.

        Raises
        ------
        WrenlaError
            It refuses, or is gone.
        """
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials

        body = b"" if content is None else json.dumps(content).encode()
        request = AWSRequest(method, f"{self.ready.lambda_url}{path}", data=body)
        SigV4Auth(Credentials(self.ready.key, self.ready.secret), "lambda", self._region).add_auth(request)
        connection = http.client.HTTPConnection(self.ready.lambda_url.removeprefix("http://"), timeout=60)
        try:
            connection.request(method, path, body, dict(request.headers.items()))
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise WrenlaError(f"the emulator does not answer ({error}): {self.said()[-2000:]}") from error
        finally:
            connection.close()
        answered = json.loads(text)
        if answer.status != 200:
            raise WrenlaError(f"the emulator refuses {path}: {answered.get('message')}")
        return answered

    def close(self) -> None:
        """End it: in order if it can, else by force; then what it has left is removed from here."""
        if self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_END)
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._log.close()
        if self._process.returncode != 0:
            sweep_after(self._process.pid)

    def check(self) -> None:
        """Raise an error if it has ended by itself.

        Raises
        ------
        WrenlaError
        """
        if self._process.poll() is not None:
            raise WrenlaError(f"the emulator has ended: {self.said()[-2000:]}")
