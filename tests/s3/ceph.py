"""A real S3 on this machine: one-node Ceph with two RADOS gateways, for as long as a command runs.

    python tests/s3/ceph.py COMMAND...

installs Debian's packages if they are missing, starts everything on free ports of the loopback interface in
a temporary folder, and runs the command with the addresses and keys in its environment (``TEST_S3_*``).
Whatever ends the command, or this process, also ends the daemons. Objects live in their memory.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["ceph"]

PROGRAMS = ("ceph", "ceph-authtool", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin")
PACKAGES = ("ceph-common", "ceph-mgr", "ceph-mon", "ceph-osd", "radosgw")
START_SECONDS = 60
GRACE_SECONDS = 20
ATTEMPTS = 3

CONFIGURATION = """
[global]
fsid = {fsid}
mon_host = v1:127.0.0.1:{mon_port}
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
auth_allow_insecure_global_id_reclaim = true
keyring = {folder}/keyring
run_dir = {folder}/run
admin_socket = {folder}/run/$name.asok
crash_dir = {folder}/run
log_file = {folder}/log/$name.log
mon_data = {folder}/mon
osd_data = {folder}/osd
osd_objectstore = memstore
memstore_device_bytes = 8589934592
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 4
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
osd_crush_update_on_start = false
osd_class_update_on_start = false
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
mon_warn_on_pool_no_redundancy = false
rgw_enable_usage_log = false
rgw_run_sync_thread = false
[client.rgw]
rgw_frontends = beast endpoint=127.0.0.1:{port} tcp_nodelay=1
[client.slow]
rgw_frontends = beast endpoint=127.0.0.1:{slow_port} tcp_nodelay=1
rgw_max_concurrent_requests = 2
"""


class CephError(Exception):
    """Ceph cannot be installed or started; the message says why, and what to do."""


@contextmanager
def ceph() -> Iterator[dict[str, str]]:
    """Start Ceph; yield the environment variables that tell the tests where it is and who they are."""
    with contextlib.ExitStack() as stack:
        yield start(stack)


def start(stack: contextlib.ExitStack) -> dict[str, str]:
    """Start Ceph, again if need be: others may take a port that was free."""
    for attempt in range(1, ATTEMPTS + 1):
        with contextlib.ExitStack() as attempted:
            folder = attempted.enter_context(own_folder())
            cluster = Cluster(folder)
            attempted.callback(cluster.kill)
            try:
                variables = cluster.start()
            except CephError as error:
                if attempt == ATTEMPTS:
                    for log in sorted(folder.glob("log/*")):
                        say(f"--- the end of {log.name}")
                        say("\n".join(log.read_text(errors="replace").splitlines()[-20:]))
                    raise
                say(f"Ceph: attempt {attempt} of {ATTEMPTS}: {error}")
            else:
                stack.push(attempted.pop_all())
                return variables
    raise AssertionError


@contextmanager
def own_folder() -> Iterator[Path]:
    """Make a folder that goes in the end; if this process is killed before, the next one removes it."""
    prefix = "wrenla-ceph-"
    for left in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with contextlib.suppress(OSError), locked(left):
            shutil.rmtree(left)
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    with locked(folder):
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a folder; raise OSError if another process has."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


class Cluster:
    """A monitor, an object daemon and two gateways, of which the second takes two requests at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "CEPH_CONF": str(folder / "ceph.conf")}
        self.daemons: list[subprocess.Popen[bytes]] = []

    def start(self) -> dict[str, str]:
        folder = self.folder
        for name in ("mon", "osd", "run", "log"):
            (folder / name).mkdir()
        fsid, (mon_port, port, slow_port) = str(uuid.uuid4()), free_ports(3)
        configuration = CONFIGURATION.format(
            fsid=fsid, folder=folder, mon_port=mon_port, port=port, slow_port=slow_port
        )
        (folder / "ceph.conf").write_text(configuration)
        access_key, secret_key = "wrenla-tests", secrets.token_hex(20)

        keyring, monmap = str(folder / "keyring"), str(folder / "monmap")
        everything = ("--cap", "mon", "allow *", "--cap", "osd", "allow *", "--cap", "mgr", "allow *")
        self.run("ceph-authtool", "--create-keyring", keyring, "--gen-key", "-n", "client.admin", *everything)
        self.run("ceph-authtool", keyring, "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
        self.run(
            "monmaptool", "--create", "--addv", "a", f"[v1:127.0.0.1:{mon_port}]", "--fsid", fsid, monmap
        )
        self.run("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap, "--keyring", keyring)
        self.daemon("ceph-mon", "-i", "a")
        osd = str(uuid.uuid4())
        self.ask("osd", "new", osd)  # waits for the monitor
        # by itself it would say so before it knows the cluster's fsid, now and then, and be refused
        self.ask("osd", "crush", "add", "osd.0", "1.0", "host=here", "root=default")
        self.run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        self.daemon("ceph-osd", "-i", "0")
        user = ("--uid", "wrenla", "--display-name", "wrenla")
        keys = ("--access-key", access_key, "--secret-key", secret_key)
        self.run("radosgw-admin", "user", "create", *user, *keys)  # waits for the object daemon
        for name, gateway_port in (("rgw", port), ("slow", slow_port)):
            self.daemon("radosgw", "-n", f"client.{name}")
            self.wait(functools.partial(answers, gateway_port), f"gateway {name}")
        return {
            "TEST_S3_ENDPOINT": f"http://127.0.0.1:{port}",
            "TEST_S3_SLOW_ENDPOINT": f"http://127.0.0.1:{slow_port}",
            "TEST_S3_ACCESS_KEY": access_key,
            "TEST_S3_SECRET_KEY": secret_key,
        }

    def run(self, *command: str, attempts: int = 1) -> None:
        """Run one of Ceph's tools to its end. They wait for daemons, also for those that have died."""
        for _ in range(attempts):
            with (
                open(self.folder / "log/tools.out", "a+") as out,
                subprocess.Popen(dying(command), env=self.environment, stdout=out, stderr=out) as tool,
            ):
                try:
                    self.wait(functools.partial(ended, tool), " ".join(command[:3]))
                finally:
                    tool.kill()
            if tool.returncode == 0:
                return
        raise CephError(f"{' '.join(command[:3])} failed with {tool.returncode}")

    def ask(self, *command: str) -> None:
        """Send a command to the monitor, which now and then refuses the first ones."""
        self.run("ceph", *command, attempts=20)

    def daemon(self, *command: str) -> None:
        """Start one of Ceph's daemons in a session of its own, which Ctrl-C does not reach: we end it."""
        with open(self.folder / f"log/{command[0]}.{command[-1]}.out", "wb") as out:
            daemon = subprocess.Popen(
                dying((*command, "-f")),
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self.daemons.append(daemon)

    def wait(self, done: Callable[[], bool], what: str) -> None:
        """Wait until something is done; raise CephError if a daemon ends, or if it takes too long."""
        deadline = time.monotonic() + START_SECONDS
        while not done():
            for daemon in self.daemons:
                if daemon.poll() is not None:
                    raise CephError(f"{what}: {daemon.args!r} ended with {daemon.returncode}")
            if time.monotonic() > deadline:
                raise CephError(f"{what}: not done after {START_SECONDS} s")
            time.sleep(0.05)

    def kill(self) -> None:
        """End the daemons at once: what they hold is not needed any more."""
        for daemon in reversed(self.daemons):
            daemon.kill()
        for daemon in self.daemons:
            daemon.wait()


def dying(command: tuple[str, ...]) -> tuple[str, ...]:
    """Return a command that the kernel ends when its parent dies, however that happens."""
    return ("setpriv", "--pdeathsig", "KILL", *command) if shutil.which("setpriv") else command


def ended(process: subprocess.Popen[bytes]) -> bool:
    return process.poll() is not None


def answers(port: int) -> bool:
    try:
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"http://127.0.0.1:{port}", None, 5)
    except urllib.error.HTTPError:
        return False  # it is still making its pools
    except OSError:
        return False
    return True


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [found.getsockname()[1] for found in sockets]
    for found in sockets:
        found.close()
    return ports


def install() -> None:
    """Install Debian's packages if a program is missing; raise CephError if we cannot."""
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if not missing:
        return
    command = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *PACKAGES]
    by_hand = f"as root, `apt-get update && {' '.join(command[:3])} {' '.join(PACKAGES)}`"
    if shutil.which("apt-get") is None:
        raise CephError(
            f"{missing[0]} is not installed, and there is no apt-get: install Ceph's gateway 16 or later"
        )
    if os.geteuid() == 0:
        prefix: list[str] = []
    elif shutil.which("sudo") is not None:
        prefix = ["sudo", "env", "DEBIAN_FRONTEND=noninteractive"]
    else:
        raise CephError(
            f"{missing[0]} is not installed, we are not root, and there is no sudo; run {by_hand}"
        )
    say(f"installing {' '.join(PACKAGES)}")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for step in (["apt-get", "update", "--quiet"], command):
        done = subprocess.run([*prefix, *step], env=quiet, capture_output=True, text=True)
        if done.returncode:
            raise CephError(f"{' '.join(step)}: {done.stdout[-2000:]}{done.stderr[-2000:]}\nrun {by_hand}")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def stop(number: int, _: object) -> None:
    raise SystemExit(128 + number)


def main(command: list[str]) -> int:
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    try:
        began = time.monotonic()
        install()
        installed = time.monotonic()
        with ceph() as variables:
            say(f"Ceph: installed in {installed - began:.0f} s, up in {time.monotonic() - installed:.0f} s")
            with subprocess.Popen(dying(tuple(command)), env={**os.environ, **variables}) as child:
                try:
                    return child.wait()
                except KeyboardInterrupt:
                    return child.wait(GRACE_SECONDS)  # it was told as well, and has something to say
                finally:
                    child.kill()
    except CephError as error:
        say(f"make test-s3: {error}")
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
