"""SIGINT, which workers leave to the driver, and which programs that functions start get as ever."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import wrenla as wl
from tests.waiting import until

from .gate import Gate

pytestmark = pytest.mark.timeout(60)


def interrupt_a_program(by_shell: bool) -> int:
    command = ["sh", "-c", "sleep 30; exit 0"] if by_shell else ["sleep", "30"]
    program = subprocess.Popen(command, process_group=0)
    time.sleep(0.2)
    os.killpg(program.pid, signal.SIGINT)
    try:
        return program.wait(timeout=5)
    except subprocess.TimeoutExpired:
        os.killpg(program.pid, signal.SIGKILL)
        program.wait()
        return 0


@pytest.mark.parametrize("by_shell", [False, True])
def test_programs_of_functions_can_be_interrupted(processes: wl.LocalExecutor, by_shell: bool) -> None:
    assert processes.submit(interrupt_a_program, by_shell).result(timeout=30) == -signal.SIGINT


def test_a_worker_goes_on(gate: Gate) -> None:
    def busy(path: str) -> tuple[float, bytes, str]:
        start = time.monotonic()
        time.sleep(0.5)
        slept = time.monotonic() - start
        reader, writer = os.pipe()
        threading.Timer(0.3, os.write, (writer, b"from a pipe")).start()
        read = os.read(reader, 20)
        said = subprocess.run(
            ["sh", "-c", "sleep 0.3; echo said"], capture_output=True, text=True, check=True
        )
        os.close(reader)
        os.close(writer)
        return slept, read, said.stdout

    with wl.LocalExecutor(1, allowed_mem="300 MiB") as executor:
        worker = executor.submit(os.getpid).result(timeout=20)
        future = executor.submit(busy, str(gate.path))
        while not future.done():
            os.kill(worker, signal.SIGINT)
            time.sleep(0.01)
        slept, read, said = future.result(timeout=20)
        assert slept >= 0.5
        assert (read, said) == (b"from a pipe", "said\n")
        assert future.logs == ""
        for _ in range(20):  # also while it waits for calls
            os.kill(worker, signal.SIGINT)
        assert executor.submit(os.getpid).result(timeout=20) == worker


SCRIPT = """
import sys, time
from pathlib import Path
import wrenla as wl

folder = Path(sys.argv[1])

def slow(x):
    (folder / f"began-{x}").touch()
    time.sleep(30)

if __name__ == "__main__":
    with wl.LocalExecutor(2, allowed_mem="300 MiB") as executor:
        list(executor.map(slow, range(2)))
"""


def test_ctrl_c_in_a_terminal_prints_one_traceback(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    ours, theirs = pty.openpty()
    program = subprocess.Popen(
        [sys.executable, str(tmp_path / "script.py"), str(tmp_path)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=tmp_path,
        # a session of its own, whose terminal it is
        preexec_fn=lambda: (os.setsid(), __import__("fcntl").ioctl(0, 0x540E, 0)),
    )
    os.close(theirs)
    said: list[bytes] = []

    def listen() -> None:
        try:
            while piece := os.read(ours, 1 << 16):
                said.append(piece)
        except OSError:  # what a terminal says when nobody is there any more
            pass

    listener = threading.Thread(target=listen)
    listener.start()
    try:
        assert until(lambda: len(list(tmp_path.glob("began-*"))) == 2)
        os.write(ours, b"\x03")
        assert program.wait(timeout=20) == -signal.SIGINT
    finally:
        program.kill()
        program.wait()
        listener.join(10)
        os.close(ours)
    text = b"".join(said).decode()
    assert text.count("Traceback") == text.count("KeyboardInterrupt") == 1
