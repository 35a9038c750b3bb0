# SPDX-License-Identifier: MIT
"""Debian kernels as guests: of vmond, and of QEMU's microvm to compare with.

FILES in the environment is the directory that run.py has filled.  It has a directory for each
kernel, "cloud" and "generic", in which are vmlinuz and vmlinux, the kernel's symbols, and the
initrd whose first process tests/lab/initrd describes.
"""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import unittest

import kallsyms
import vmond

FILES = os.environ.get("FILES", "")
QEMU = shutil.which("qemu-system-x86_64")
# What no guest may ever say.
TROUBLE = re.compile(r"soft lockup|rcu.*stall|BUG:|Oops|hung_task|blocked for more")

# A turn of the guest's loop "tick", and its clock.  The end of the line is part of it: half a number
# is a number, too.
TICK = r"^vmond-lab: tick (\d+) ([\d.]+)\r?\n"

# Command lines.  Half the time that a kernel takes to boot in the lab goes into what it says on the
# way: with this it is silent up to warnings, which takes in all of the above.
BRIEF = "nokaslr loglevel=5"

# What only looks: a line for the human monitor, and the shape of each line of the answer.
NUMBER = "[0-9a-f]{16}"
LOOKS = [
    ("info cpus", r"\* CPU #0: .*|  CPU #\d+: .*"),
    ("info registers -a", None),
    ("info tlb", rf"{NUMBER}: {NUMBER} [X-][G-][P-][D-][A-][C-][T-][U-][W-]"),
    ("info mem", rf"{NUMBER}-{NUMBER} {NUMBER} [u-]r[w-]"),
    ("info lapic", None),
    ("info nested -a", r"CPU#\d+ (svm|vmx) guest-mode=0 run-pending=0 .*|this host.*"),
    ("info vcpu-sync", None),
    ("info mtree", None),
    ("xp /8xg 0x1000000", r"[0-9a-f]{16}: 0x[0-9a-f]{16} 0x[0-9a-f]{16}"),
]


def path(kernel, name):
    return os.path.join(FILES, kernel, name)


def symbols(kernel):
    """The kernel's functions, sorted by address, as kallsyms.resolve() takes them."""
    with open(path(kernel, "symbols"), encoding="utf-8") as f:
        return [(int(a, 16), k, n) for a, k, n in map(str.split, f)]


def function(table, address):
    """The name of the function that an address lies in, or None."""
    name = kallsyms.resolve(table, address).split("+")[0]
    return None if name == "?" else name


class Guest:
    """What can be done with the initrd's first process, over .type() and .serial."""

    def wait_for_user_space(self):
        return int(self.serial.wait(r"^vmond-lab: user space reached, (\d+) cpus")[1])

    def run(self, command):
        """What a line of shell prints."""
        # What is typed comes back too, at a time of its own.
        self.type(f"run echo begin; {command}\n")
        start = self.serial.wait(r"^begin\r?\n").end()
        end = self.serial.wait(r"^vmond-lab: status \d+\r?$").start()
        return self.serial.text()[start:end].replace("\r", "")

    def warnings(self):
        """What the kernel has said at the level of warnings and above, numbers left out."""
        rows = self.run("dmesg -r | grep '^<[0-4]>'").splitlines()
        # Level and time go; so do numbers, which differ from boot to boot.
        rows = [re.sub(r"^<\d>\[ *[\d.]+\] ", "", row) for row in rows]
        return {re.sub(r"\b(0x)?[0-9a-f]*[0-9][0-9a-f]*\b", "N", row) for row in rows}


class Linux(vmond.Machine, Guest):
    """A machine of vmond's that has come to user space."""

    def __init__(self, kernel, image, *options, cpus=1, memory="128M", append="nokaslr", **more):
        super().__init__(path(kernel, image), "--initrd", path(kernel, "initrd"),
                         "--append", f"console=ttyS0 {append}", *options, cpus=cpus, memory=memory,
                         typed=True, **more)
        try:
            self.cpus = self.wait_for_user_space()
        except BaseException as err:
            self.__exit__(type(err), err, err.__traceback__)
            raise


class Microvm(Guest):
    """The same under QEMU -M microvm."""

    def __init__(self, kernel, image, *, cpus=1, memory="128M", append="nokaslr"):
        self.directory = tempfile.mkdtemp(prefix="vmond-microvm-")
        self.serial = vmond.Serial(os.path.join(self.directory, "serial"))
        monitor = os.path.join(self.directory, "monitor")
        with open(self.serial.path, "wb") as out, \
                open(os.path.join(self.directory, "stderr"), "wb") as err:
            self.process = subprocess.Popen(
                [QEMU, "-M", "microvm,x-option-roms=off,isa-serial=on,rtc=on,pic=on,pit=on",
                 "-accel", "kvm", "-cpu", "host", "-smp", str(cpus), "-m", memory, "-nodefaults",
                 "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio",
                 "-qmp", f"unix:{monitor},server=on,wait=off", "-kernel", path(kernel, image),
                 "-initrd", path(kernel, "initrd"), "-append", f"console=ttyS0 {append}"],
                stdin=subprocess.PIPE, stdout=out, stderr=err)
        try:
            self.qmp = vmond.connect(monitor)
            self.cpus = self.wait_for_user_space()
        except BaseException:
            self.close()
            raise

    def type(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def close(self):
        if hasattr(self, "qmp"):
            self.qmp.close()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        self.process.stdin.close()
        self.serial.close()
        shutil.rmtree(self.directory)


class LinuxTest(vmond.LiveTest):
    """Tests of one machine, which goes on from one to the next."""

    kernel, image, options, more = "cloud", "vmlinuz", {}, ()

    @classmethod
    def setUpClass(cls):
        if not FILES:
            raise unittest.SkipTest("FILES is not set: run tests/lab/run.py")
        cls.machine = Linux(cls.kernel, cls.image, *cls.more, **cls.options)
        cls.addClassCleanup(cls.machine.close, check=True)

    def assert_ends(self, how):
        """The guest ends itself, and vmond with it."""
        self.machine.type(how + "\n")
        self.assertEqual(self.machine.qmp.event("SHUTDOWN"),
                         {"guest": True, "reason": "guest-shutdown"})
        self.assertEqual(self.machine.wait_exit(), 0)
        self.assertEqual(self.machine.stderr(), "")

    def assert_no_trouble(self, text):
        self.assertIsNone(TROUBLE.search(text), text[-2000:])

    def assert_load_right(self, text, cpus):
        """What the loops "load" and "tick" have printed: no turn lost, none wrong, none twice."""
        self.assert_no_trouble(text)
        self.assertNotIn("wrong", text)
        turn, uptime = 0, 0.0
        for number, now in re.findall(TICK, text, re.M):
            self.assertEqual(int(number), turn)
            self.assertGreaterEqual(float(now), uptime, "time goes back")
            turn, uptime = turn + 1, float(now)
        for cpu in range(cpus):
            turns = re.findall(rf"^vmond-lab: sum {cpu} (\d+) right\r?$", text, re.M)
            self.assertEqual(turns, [str(n + 1) for n in range(len(turns))])
