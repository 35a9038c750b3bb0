# SPDX-License-Identifier: MIT
"""The programs that are compared: how each is started, watched and spoken to."""

import itertools
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import time

MEMORY_MIB = 128
TIMEOUT = 60            # seconds for what must happen
# What brings a Linux kernel to its first byte the soonest: the smaller firmware, which microvm has
# without ACPI; it loads the kernel itself, and what is not there needs no initialisation.  The PIC
# has to be: user space can not write to the serial port without.
MICROVM_FOR_LINUX = "microvm,acpi=off,x-option-roms=off,pit=off,pic=on,rtc=off,isa-serial=on"

_numbers = itertools.count()


class Vmond:
    name = "vmond"

    def __init__(self, tools, program):
        self.tools = tools
        self.program = program

    def argv(self, guest, cpus, monitor):
        return [self.program, "run", "--kernel", self.tools.image(guest), "--cpus", str(cpus),
                "--memory", f"{MEMORY_MIB}M", "--serial", "stdio", "--monitor", f"unix:{monitor}"]

    def linux_argv(self, kernel, initrd, append):
        return [self.program, "run", "--kernel", kernel, "--initrd", initrd, "--append", append,
                "--memory", f"{MEMORY_MIB}M", "--serial", "stdio"]


class Qemu:
    name = "QEMU"

    def __init__(self, tools, program):
        self.tools = tools
        self.program = program

    def _argv(self, machine, cpus, *more):
        return [self.program, "-M", machine, "-cpu", "host,-arch-capabilities", "-accel", "kvm",
                "-m", str(MEMORY_MIB), "-smp", str(cpus), "-nodefaults", "-no-user-config",
                "-display", "none", "-serial", "stdio", *more]

    def argv(self, guest, cpus, monitor):
        return self._argv("microvm", cpus, "-bios", self.tools.rom(guest),
                          "-qmp", f"unix:{monitor},server=on,wait=off")

    def linux_argv(self, kernel, initrd, append):
        return self._argv(MICROVM_FOR_LINUX, 1, "-kernel", kernel, "-initrd", initrd,
                          "-append", append)


class Bare:
    name = "bare"

    def __init__(self, tools):
        self.tools = tools

    def argv(self, guest, cpus, _monitor):
        return [self.tools.program("bare"), self.tools.image(guest), str(cpus), str(MEMORY_MIB)]


class Kvmtool:
    name = "kvmtool"

    def __init__(self, tools, program):
        self.tools = tools
        self.program = program

    def argv(self, guest, cpus, monitor):
        return [self.program, "run", "--name", os.path.basename(monitor), "--cpus", str(cpus),
                "--mem", str(MEMORY_MIB), "--console", "serial", "--network", "mode=none",
                "--kernel", self.tools.image(guest)]

    def linux_argv(self, kernel, initrd, append):
        """It puts more words before those of the command line."""
        name = os.path.basename(new_socket_path(self.tools))
        return [self.program, "run", "--name", name, "--cpus", "1", "--mem", str(MEMORY_MIB),
                "--console", "serial", "--network", "mode=none", "--kernel", kernel,
                "--initrd", initrd, "--params", append]


def new_socket_path(tools):
    return os.path.join(tools.directory, f"socket-{next(_numbers)}")


class Connection:
    """A socket whose round trips are measured: nothing is parsed but the end of the answer."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(TIMEOUT)
        self.socket.connect(path)

    def round_trip(self, request):
        """Nanoseconds from sending to the end of the answer, and the answer.

        Events may come before it, in lines of their own."""
        start = time.perf_counter_ns()
        self.socket.send(request)
        answer = self.socket.recv(1 << 20)
        while not (answer.endswith(b"\r\n") and b'"return"' in answer):
            if b'"error"' in answer:
                raise RuntimeError(f"{request!r}: {answer!r}")
            more = self.socket.recv(1 << 20)
            if not more:
                raise RuntimeError(f"{request!r}: the connection was closed")
            answer += more
        return time.perf_counter_ns() - start, answer

    def close(self):
        self.socket.close()


def request(command, **arguments):
    """The bytes of a QMP command."""
    message = {"execute": command}
    if arguments:
        message["arguments"] = {k.replace("_", "-"): v for k, v in arguments.items()}
    return json.dumps(message).encode() + b"\r\n"


def hmp(line):
    return request("human-monitor-command", command_line=line)


def others(tools):
    """What vmond is compared with besides QEMU, and a line on what is left out, or None."""
    kinds = [Bare(tools)]
    program = shutil.which(os.environ.get("KVMTOOL", "lkvm"))
    if not program:
        return kinds, "kvmtool takes no part: no lkvm found, and KVMTOOL names no other"
    kvmtool = Kvmtool(tools, program)
    try:
        with Machine(kvmtool, "hello", 1):
            pass
    except RuntimeError as e:
        return kinds, f"kvmtool takes no part: {e}"
    return [*kinds, kvmtool], None


class Process:
    """A running program, until the end of the with statement."""

    def __init__(self, argv):
        # Nothing comes from the input, but not its end either: see launch.c.
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE)
        self.pid = self.process.pid

    def await_bytes(self, wanted):
        """Waits until so many bytes came on standard output."""
        fd, seen, end = self.process.stdout.fileno(), b"", time.monotonic() + TIMEOUT
        while len(seen) < wanted:
            if not select.select([fd], [], [], max(0, end - time.monotonic()))[0]:
                raise RuntimeError(f"{self.process.args[0]}: {len(seen)} of {wanted} processors "
                                   "have come up")
            piece = os.read(fd, 4096)
            if not piece:
                said = (seen + self.process.stderr.read()).decode(errors="replace").split("\n")
                raise RuntimeError("; ".join(line.strip() for line in said if line.strip()))
            seen += piece

    def freeze(self):
        """Takes it off the processors while something else is measured."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self):
        os.kill(self.pid, signal.SIGCONT)

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.stderr.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Machine(Process):
    """A machine all of whose processors are where the guest leaves them, and its monitor."""

    def __init__(self, kind, guest, cpus, prefix=()):
        self.name = kind.name
        self.monitor = None
        path = new_socket_path(kind.tools)
        super().__init__([*prefix, *kind.argv(guest, cpus, path)])
        try:
            self.await_bytes(cpus)
            if os.path.exists(path):
                self.monitor = Connection(path)
                self.monitor.socket.recv(4096)  # the greeting
                self.monitor.round_trip(request("qmp_capabilities"))
        except BaseException:
            self.close()
            raise

    def close(self):
        if self.monitor:
            self.monitor.close()
        super().close()
