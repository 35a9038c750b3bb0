# SPDX-License-Identifier: MIT
"""A Debian kernel as a guest: from its boot to its end, looked at and stopped in between.

FILES in the environment is the directory that run.py has filled: vmlinuz and vmlinux of the
kernel, its symbols, and the initrd whose first process tests/lab/initrd describes.
"""

import os
import random
import re
import time
import unittest

import kallsyms
import vmond

FILES = os.environ.get("FILES", "")
ROUNDS = 30
# What it says under QEMU -M microvm in the lab too: processor and clock there are not perfect, and
# there is no PCI.
KNOWN_WARNINGS = re.compile(r"XSAVE consistency problem|TSC unstable|TSCs unsynchronized|"
                            r"PCI: Fatal: No config space|System does not support PCI")
TROUBLE = re.compile(r"soft lockup|rcu.*stall|Call Trace|BUG:|Oops|hung_task|blocked for more")

# What only looks: a line for the human monitor, and the shape of each line of the answer.
NUMBER = "[0-9a-f]{16}"
LOOKS = [
    ("info cpus", r"\* CPU #0: .*|  CPU #\d+: .*"),
    ("info registers -a", None),
    ("info tlb", rf"{NUMBER}: {NUMBER} [X-][G-][P-][D-][A-][C-][T-][U-][W-]"),
    ("info mem", rf"{NUMBER}-{NUMBER} {NUMBER} [u-]r[w-]"),
    ("info lapic", None),
    ("info vcpu-sync", None),
    ("info mtree", None),
    ("xp /8xg 0x1000000", r"[0-9a-f]{16}: 0x[0-9a-f]{16} 0x[0-9a-f]{16}"),
]


class Linux(vmond.Machine):
    """A machine with the kernel and the initrd, which has come to user space."""

    def __init__(self, image, *options, cpus=1, memory="128M", append=""):
        super().__init__(
            os.path.join(FILES, image), "--initrd", os.path.join(FILES, "initrd"),
            # Symbols are where the image has them.
            "--append", f"console=ttyS0 nokaslr {append}", *options,
            cpus=cpus, memory=memory, typed=True)
        self.cpus = cpus
        try:
            self.wait_for_user_space()
        except BaseException as err:
            self.__exit__(type(err), err, err.__traceback__)
            raise

    def wait_for_user_space(self):
        self.serial.wait(rf"^vmond-lab: user space reached, {self.cpus} cpus")

    def run(self, command):
        """What a line of shell prints."""
        # What is typed comes back too, at a time of its own.
        self.type(f"run echo begin; {command}\n")
        start = self.serial.wait(r"^begin\r?\n").end()
        end = self.serial.wait(r"^vmond-lab: status 0\r?$").start()
        return self.serial.text()[start:end].replace("\r", "")


class LinuxTest(vmond.LiveTest):
    """Tests of one machine, which goes on from one to the next."""

    image, options = None, {}

    @classmethod
    def setUpClass(cls):
        if not FILES:
            raise unittest.SkipTest("FILES is not set: run tests/lab/run.py")
        cls.machine = Linux(cls.image, **cls.options)
        cls.addClassCleanup(cls.machine.close, check=True)

    def assert_ends(self, how):
        """The guest ends itself, and vmond with it."""
        self.machine.type(how + "\n")
        self.assertEqual(self.machine.qmp.event("SHUTDOWN"),
                         {"guest": True, "reason": "guest-shutdown"})
        self.assertEqual(self.machine.wait_exit(), 0)
        self.assertEqual(self.machine.stderr(), "")


class BzImage(LinuxTest):
    image, options = "vmlinuz", {"cpus": 2, "memory": "256M"}

    def test_1_what_linux_finds(self):
        m = self.machine
        with self.subTest("processors"):
            self.assertEqual(m.run("grep -c ^processor /proc/cpuinfo"), "2\n")
        with self.subTest("serial port"):
            self.assertRegex(m.serial.text(), r"ttyS0 at I/O 0x3f8 \(irq = 4, .*\) is a 16550A")
        with self.subTest("warnings"):
            rows = m.run("dmesg -r | grep '^<[0-4]>'").splitlines()
            # The first warning that is known comes with its own dump, between two such lines.
            text = re.sub(r"-+\[ cut here \].*\n.*XSAVE consistency(.*\n)*?.*end trace.*\n", "",
                          "\n".join(rows) + "\n")
            self.assertEqual([r for r in text.splitlines() if not KNOWN_WARNINGS.search(r)
                              and not re.search(r"CPUID\[0d, ", r)], [])
        with self.subTest("interrupts"):
            text = m.run("cat /proc/interrupts")
            for row in r"\d+", "LOC":
                counts = re.search(rf"^ *{row}: +(\d+) +(\d+) .*(ttyS0|Local timer)", text, re.M)
                self.assertIsNotNone(counts, text)
                self.assertGreater(int(counts[1]) + int(counts[2]), 0)

    def test_2_typed_input(self):
        for word in "one", "two three":
            self.machine.type(f"echo {word}\n")
            self.machine.serial.wait(f"^vmond-lab: heard {word}\r?$")

    def look(self, dice):
        line, shape = dice.choice(LOOKS)
        text = self.machine.qmp.hmp(line)
        self.assertNotEqual(text, "", line)
        if shape:
            other = [row for row in text.splitlines() if not re.fullmatch(shape, row)]
            self.assertEqual(other[:3], [], line)

    def assert_resolves(self, table):
        """rip of each vCPU is in a function of the kernel, if it is in the kernel's half."""
        for vcpu in self.machine.qmp.command("query-vcpu-state"):
            rip = vcpu["regs"]["rip"]
            if rip >> 63:
                self.assertNotEqual(kallsyms.resolve(table, rip), "?", f"rip {rip:#x}")

    def test_3_stops_under_load(self):
        m, q = self.machine, self.machine.qmp
        seed = random.randrange(1 << 32)
        dice = random.Random(seed)
        with open(os.path.join(FILES, "symbols"), encoding="utf-8") as f:
            table = [(int(a, 16), k, n) for a, k, n in map(str.split, f)]
        start = len(m.serial.text())
        m.type("load\ntick\n")
        m.serial.wait("^vmond-lab: sum [01] 1 ")
        m.serial.wait("^vmond-lab: tick ")
        with self.subTest(seed=seed):
            for _ in range(ROUNDS):
                time.sleep(dice.uniform(0, 0.3))
                if dice.randrange(2):
                    self.look(dice)
                q.command("stop")
                self.assert_resolves(table)
                for _ in range(dice.randrange(3)):
                    self.look(dice)
                sync = q.command("query-vcpu-sync")
                self.assertEqual((sync["sets-since-stop"], sync["vm-sets-since-stop"]), (0, 0))
                q.command("cont")
            m.serial.wait_new("^vmond-lab: tick ")
            for cpu in range(2):
                m.serial.wait_new(f"^vmond-lab: sum {cpu} ")
            m.type("quiet\n")
            m.serial.wait("^vmond-lab: quiet\r?$")
            self.check_load(m.serial.text()[start:])

    def check_load(self, text):
        self.assertIsNone(TROUBLE.search(text), text[-2000:])
        self.assertNotIn("wrong", text)
        turn, uptime = 0, 0.0
        for row in re.findall(r"^vmond-lab: tick (\d+) ([\d.]+)\r?$", text, re.M):
            self.assertEqual(int(row[0]), turn)
            self.assertGreaterEqual(float(row[1]), uptime, "time goes back")
            turn, uptime = turn + 1, float(row[1])
        for cpu in "0", "1":
            turns = re.findall(rf"^vmond-lab: sum {cpu} (\d+) right\r?$", text, re.M)
            self.assertEqual(turns, [str(n + 1) for n in range(len(turns))])

    def test_4_poweroff(self):
        self.assert_ends("poweroff")


class Vmlinux(LinuxTest):
    image, options = "vmlinux", {"append": "panic=-1"}

    def test_1_reboot_and_panic(self):
        for word in "reboot", "panic":
            with self.subTest(word):
                self.machine.type(word + "\n")
                self.assertEqual(self.machine.qmp.event("RESET"),
                                 {"guest": True, "reason": "guest-reset"})
                self.machine.wait_for_user_space()

    def test_2_poweroff(self):
        self.assert_ends("poweroff")


class MuchMemory(LinuxTest):
    image, options = "vmlinux", {"cpus": 4, "memory": "5G"}

    def test_memory(self):
        kib = int(self.machine.run("grep MemTotal /proc/meminfo").split()[1])
        # The kernel keeps some, above all its table of pages: 64 bytes for each.
        self.assertLess(kib, 5 << 20)
        self.assertGreater(kib, (5 << 20) * 95 // 100)
