# SPDX-License-Identifier: MIT
"""Starts vmond on real KVM, talks to it, and cleans up behind it.

The environment says where things are: VMOND, the program (else ../../vmond from here, and in the
directory the tests are run from); GUESTS, the directory of the guests' images (else tests/guests
beside the program).
"""

import binascii
import collections
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

import schema

HERE = os.path.dirname(os.path.abspath(__file__))
TIMEOUT = float(os.environ.get("VMOND_TEST_TIMEOUT", "60"))  # for what must happen, in seconds
KVM_GET_API_VERSION = 0xae00


def _find_program():
    named = os.environ.get("VMOND")
    for path in [named] if named else [os.path.join(HERE, "../../vmond"), "vmond"]:
        if os.access(path, os.X_OK) and os.path.isfile(path):
            return os.path.abspath(path)
    return None


PROGRAM = _find_program()
GUESTS = os.environ.get("GUESTS") or os.path.join(os.path.dirname(PROGRAM or HERE), "tests/guests")


def why_not():
    """Why live tests can not run here, or None if they can."""
    if PROGRAM is None:
        return "no vmond program found; build it, or set VMOND"
    try:
        fd = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
    except OSError as e:
        return f"/dev/kvm can not be used: {e.strerror}"
    try:
        if fcntl.ioctl(fd, KVM_GET_API_VERSION) != 12:
            return "/dev/kvm does not speak API version 12"
    except OSError as e:
        return f"/dev/kvm can not be used: {e.strerror}"
    finally:
        os.close(fd)
    return None


def guest(name):
    """The path of a guest's image."""
    path = os.path.join(GUESTS, name)
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path}: build the guests, or set GUESTS")
    return path


class Timeout(AssertionError):
    """Something that must happen did not."""


def wait_until(condition, what, timeout=None):
    """Returns the first true value of condition()."""
    end = time.monotonic() + (TIMEOUT if timeout is None else timeout)
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Timeout(f"waited in vain for {what}")
        time.sleep(0.005)


class Ended(Exception):
    """The daemon ended before its monitor was there."""

    def __init__(self, status, stderr):
        super().__init__(f"vmond ended with status {status}: {stderr}")
        self.status = status
        self.stderr = stderr


class QmpError(Exception):
    """An error reply."""

    def __init__(self, error):
        super().__init__(f"{error['class']}: {error['desc']}")
        self.error_class = error["class"]
        self.desc = error["desc"]


def base64(data):
    """As write-memory wants it."""
    return binascii.b2a_base64(data, newline=False).decode()


class Qmp:
    """A client of the monitor, which holds every message against the server's own schema."""

    schemas = {}        # by greeting: one program says the same to everybody

    def __init__(self, path, negotiate=True):
        self.session = schema.Session()
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(path)
        self.buffer = b""
        self.events = collections.deque()
        self.next_id = 0
        self.greeting = self.receive()["QMP"]
        if negotiate:
            self.command("qmp_capabilities")
        server = json.dumps(self.greeting, sort_keys=True)
        if negotiate and server not in self.schemas:
            self.schemas[server] = schema.Schema(self.command("query-qmp-schema"))
        if server in self.schemas:
            self.session.use(self.schemas[server])

    def send(self, data):
        """Raw bytes, or an object as JSON."""
        self.session.sent(data)
        if not isinstance(data, bytes):
            data = json.dumps(data).encode() + b"\r\n"
        self.sock.sendall(data)

    def receive(self):
        """The next message, whatever it is; None at the end of the stream."""
        while b"\n" not in self.buffer:
            try:
                data = self.sock.recv(1 << 16)
            except socket.timeout:
                raise Timeout("the monitor is silent") from None
            except ConnectionResetError:
                data = b""
            if not data:
                if self.buffer:
                    raise AssertionError(f"the stream ends within a message: {self.buffer!r}")
                return None
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        if not line.endswith(b"\r") or not line.isascii() or len(line) == 1:
            raise AssertionError(f"not a line of the protocol: {line!r}")
        message = json.loads(line)
        self.session.received(message)
        return message

    def reply(self):
        """The next message that is no event; None at the end of the stream."""
        while True:
            message = self.receive()
            if message is None or "event" not in message:
                return message
            self.events.append(message)

    def command(self, name, **arguments):
        """Carries out a command.  Underscores of arguments stand for dashes."""
        self.next_id += 1
        request = {"execute": name, "id": self.next_id}
        if arguments:
            request["arguments"] = {k.replace("_", "-"): v for k, v in arguments.items()}
        self.send(request)
        message = self.reply()
        if message is None:
            raise EOFError(f"the monitor closed the connection instead of answering {name}")
        if message.get("id") != self.next_id:
            raise AssertionError(f"a reply to something else than {request}: {message}")
        if "error" in message:
            raise QmpError(message["error"])
        return message["return"]

    def hmp(self, line, **arguments):
        """A line of the human monitor; the answer with plain newlines."""
        text = self.command("human-monitor-command", command_line=line, **arguments)
        return text.replace("\r\n", "\n")

    def event(self, name):
        """Waits for an event, passing over others; returns its data."""
        while True:
            message = self.events.popleft() if self.events else self.receive()
            if message is None:
                raise EOFError(f"the monitor closed the connection before event {name}")
            if message.get("event") == name:
                return message.get("data")

    def drain_events(self):
        """The events that have come up to now, as (name, data)."""
        self.command("query-name")      # what came before its reply has come
        events = [(e["event"], e.get("data")) for e in self.events]
        self.events.clear()
        return events

    def until_eof(self):
        """The events up to the end of the stream, as (name, data)."""
        while (message := self.receive()) is not None:
            if "event" in message:
                self.events.append(message)
        events = [(e["event"], e.get("data")) for e in self.events]
        self.events.clear()
        return events

    def status(self):
        return self.command("query-status")["status"]

    def close(self):
        self.sock.close()


def connect(path, negotiate=True, check=lambda: None):
    """A client of a server on its way, whose socket is there before it listens."""
    def attempt():
        try:
            return Qmp(path, negotiate)
        except (FileNotFoundError, ConnectionRefusedError):
            check()
            return None
    return wait_until(attempt, f"a server at {path}")


class Serial:
    """What the guest has sent out of its serial port, as the file it is written to grows."""

    def __init__(self, path):
        self.path = path
        self.position = 0               # where wait() goes on looking
        self.content = ""
        self.file = None

    def text(self):
        if self.file is None:
            try:
                self.file = open(self.path, "rb")
            except FileNotFoundError:
                return ""
        self.content += self.file.read().decode("latin-1")
        return self.content

    def wait(self, pattern, timeout=None):
        """Waits for a match behind the last one that was waited for."""
        regex = re.compile(pattern, re.MULTILINE)
        try:
            match = wait_until(lambda: regex.search(self.text(), self.position),
                               f"{pattern!r} on the serial port", timeout)
        except Timeout as e:
            since = self.content[self.position:]
            if len(since) > 400:
                since = f"{since[:200]}...{since[-200:]}"
            raise Timeout(f"{e}; this came instead: {since!r}") from None
        self.position = match.end()
        return match

    def wait_new(self, pattern, timeout=None):
        """Waits for a match in what comes from now on."""
        self.position = len(self.text())
        return self.wait(pattern, timeout)

    def close(self):
        if self.file is not None:
            self.file.close()


class Machine:
    """A `vmond run` process with one monitor and its serial port, in a directory of its own.

    Use as a context manager: at its end nothing of it is left, and a daemon that crashed, printed a
    sanitizer's report, or left a file behind after a clean end is a failure.
    """

    def __init__(self, image, *options, cpus=1, memory="64M", serial=None, typed=False,
                 paused=False, prefix=(), env=None, pass_fds=()):
        kernel = ["--kernel", image if "/" in image else guest(image)] if image else []
        self.directory = tempfile.mkdtemp(prefix="vmond-live-")
        self.monitor_path = self.path("monitor")
        self.serial = Serial(self.path("serial"))
        self.clients = []
        argv = [*prefix, PROGRAM, "run", "--memory", memory,
                "--monitor", "unix:" + self.monitor_path, *kernel]
        if cpus:                        # none: an option says how many
            argv += ["--cpus", str(cpus)]
        # Typing needs the guest's input to be our pipe, and its output then goes to our file.
        argv += ["--serial", serial or ("stdio" if typed else "file:" + self.serial.path)]
        if paused:
            argv.append("--paused")
        argv += options
        with open(self.path("stderr"), "wb") as stderr, \
                open(self.serial.path if typed else os.devnull, "wb") as stdout:
            self.process = subprocess.Popen(
                argv, stdin=subprocess.PIPE if typed else subprocess.DEVNULL, stdout=stdout,
                stderr=stderr, cwd=self.directory, env=env, pass_fds=pass_fds)
        try:
            self.qmp = self.connect()
        except BaseException:
            self.close()
            raise

    def path(self, name):
        return os.path.join(self.directory, name)

    def stderr(self):
        with open(self.path("stderr"), encoding="utf-8", errors="replace") as f:
            return f.read()

    def _check(self):
        if self.process.poll() is not None:
            raise Ended(self.process.returncode, self.stderr()) from None

    def connect(self, negotiate=True):
        """One more client."""
        client = connect(self.monitor_path, negotiate, self._check)
        self.clients.append(client)
        return client

    def type(self, text):
        """Input for the serial port; for typed=True."""
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def wait_exit(self):
        """Waits for the end of the process; returns its status."""
        try:
            return self.process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            raise Timeout("vmond does not end") from None

    def close(self, check=False):
        """Ends everything.  Returns what is wrong, if asked to look."""
        wrong = []
        for client in self.clients:
            client.close()
        ended_itself = self.process.poll() is not None
        if not ended_itself:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(TIMEOUT)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                wrong.append("SIGTERM did not end vmond")
        if self.process.stdin:
            try:
                self.process.stdin.close()
            except BrokenPipeError:
                pass
        self.serial.close()
        stderr = self.stderr()
        if self.process.returncode < 0 and not wrong:
            wrong.append(f"vmond died of signal {-self.process.returncode}")
        if re.search(r"runtime error:|Sanitizer|Assertion", stderr):
            wrong.append("vmond has found an error in itself")
        if not wrong and os.path.exists(self.monitor_path):
            wrong.append("vmond left its monitor socket behind")
        shutil.rmtree(self.directory)
        if check and wrong:
            raise AssertionError("; ".join(wrong) + (f"; stderr: {stderr}" if stderr else ""))

    def __enter__(self):
        return self

    def __exit__(self, kind, value, traceback):
        # What is wrong at the end does not hide why the test failed in the first place.
        if value is not None and hasattr(value, "add_note"):
            value.add_note(f"the guest's last words: {self.serial.text()[-200:]!r}\n"
                           f"vmond's: {self.stderr()[-500:]!r}")
        self.close(check=kind is None)


def run(*argv, **kwargs):
    """Runs the program to its end, for what must fail or daemonize; returns what it printed."""
    return subprocess.run([PROGRAM, *argv], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=TIMEOUT, check=False, **kwargs)


class LiveTest(unittest.TestCase):
    """A test of the running daemon."""

    maxDiff = None

    def temporary_directory(self):
        directory = tempfile.mkdtemp(prefix="vmond-live-")
        self.addCleanup(shutil.rmtree, directory)
        return directory

    def assert_refused(self, qmp, desc, name, **arguments):
        """A command that must fail with this text (a regular expression)."""
        with self.assertRaises(QmpError) as caught:
            qmp.command(name, **arguments)
        self.assertRegex(caught.exception.desc, desc)
        return caught.exception

    def assert_all_hear(self, qmp, clients, times):
        """A guest that runs is stopped and goes on; every client is told, and in the same words."""
        for _ in range(times):
            qmp.command("stop")
            qmp.command("cont")
        last = set()
        for client in clients:
            for name in ["STOP", "RESUME"] * times:
                message = client.receive()
                self.assertEqual(message["event"], name)
            last.add(json.dumps(message))
        self.assertEqual(len(last), 1)


class DirectoryTest(LiveTest):
    """One that has a directory, which is empty at first."""

    def setUp(self):
        self.directory = self.temporary_directory()

    def path(self, name):
        return os.path.join(self.directory, name)

    def write(self, name, data):
        """A file with these bytes; returns its path."""
        with open(self.path(name), "wb") as f:
            f.write(data)
        return self.path(name)
