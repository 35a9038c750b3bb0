# SPDX-License-Identifier: MIT
"""A Debian kernel as a guest: looked at and stopped on its way, and brought to each of its ends."""

import random
import re
import time

import kallsyms
import linux

ROUNDS = 200
# Of a reading over the serial port, in seconds of guest time.
SLACK = 0.5


class Looked(linux.LinuxTest):
    """The longest life: everything but the end is one machine's."""

    options = {"cpus": 2, "memory": "256M"}

    def test_1_what_linux_finds(self):
        m = self.machine
        with self.subTest("processors"):
            self.assertEqual(m.run("grep -c ^processor /proc/cpuinfo"), "2\n")
        with self.subTest("serial port"):
            self.assertRegex(m.serial.text(), r"ttyS0 at I/O 0x3f8 \(irq = 4, .*\) is a 16550A")
        with self.subTest("interrupts"):
            text = m.run("cat /proc/interrupts")
            for row in r"\d+", "LOC":
                counts = re.search(rf"^ *{row}: +(\d+) +(\d+) .*(ttyS0|Local timer)", text, re.M)
                self.assertIsNotNone(counts, text)
                self.assertGreater(int(counts[1]) + int(counts[2]), 0)
            self.assertRegex(text, r"(?m)^ *9: .* acpi")
            for row in "ERR", "MIS":
                self.assertRegex(text, rf"(?m)^ *{row}: +0$")
        with self.subTest("time of day"):
            self.assertLess(abs(int(m.run("date +%s")) - time.time()), 5)

    def test_1_alarm(self):
        """An interrupt of the real-time clock, a few seconds ahead."""
        m = self.machine
        text = m.run("echo +2 >/sys/class/rtc/rtc0/wakealarm; sleep 4; grep rtc0 /proc/interrupts")
        counts = re.search(r"^ *8: +(\d+) +(\d+) ", text, re.M)
        self.assertIsNotNone(counts, text)
        self.assertGreater(int(counts[1]) + int(counts[2]), 0)

    def test_2_typed_input(self):
        for word in "one", "two three", "x" * 200:
            self.machine.type(f"echo {word}\n")
            self.machine.serial.wait(f"^vmond-lab: heard {word}\r?$")

    def test_3_symbols(self):
        """rip of a stopped guest, by the image's symbols and by the guest's own."""
        m, table = self.machine, linux.symbols(self.kernel)
        m.qmp.command("stop")
        rips = [v["regs"]["rip"] for v in m.qmp.command("query-vcpu-state")]
        shown = re.findall(r"^RIP=(\w+)", m.qmp.hmp("info registers -a"), re.M)
        self.assertEqual([int(r, 16) for r in shown], rips)
        m.qmp.command("cont")
        found = {linux.function(table, rip) for rip in rips if rip >> 63}
        self.assertNotIn(None, found)
        own = m.run(f"grep -wE '{'|'.join([*found, '_text'])}' /proc/kallsyms")
        starts = {name: int(address, 16) for address, name in
                  re.findall(r"^(\w+) \w (\S+)$", own, re.M)}
        for name in found:
            self.assertIn(starts[name], [a for a, _, n in table if n == name])
            self.assertTrue(any(0 <= rip - starts[name] < 1 << 16 for rip in rips), name)

    def look(self, dice):
        line, shape = dice.choice(linux.LOOKS)
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

    def test_4_stops_under_load(self):
        m, q, table = self.machine, self.machine.qmp, linux.symbols(self.kernel)
        seed = random.randrange(1 << 32)
        dice = random.Random(seed)
        start = len(m.serial.text())
        m.type("load\ntick\n")
        m.serial.wait("^vmond-lab: sum [01] 1 ")
        m.serial.wait("^vmond-lab: tick ")
        with self.subTest(seed=seed):
            clock = Clock(m)
            for _ in range(ROUNDS):
                time.sleep(dice.uniform(0, 0.1))
                if dice.randrange(2):
                    self.look(dice)
                clock.stop()
                self.assert_resolves(table)
                for _ in range(dice.randrange(3)):
                    self.look(dice)
                sync = q.command("query-vcpu-sync")
                self.assertEqual((sync["sets-since-stop"], sync["vm-sets-since-stop"]), (0, 0))
                clock.cont()
            low, guest, high = clock.bounds()
            self.assertLess(low, guest, "the guest's clock has lost time")
            self.assertLess(guest, high, "the guest's clock went on while it was stopped")
            for cpu in range(2):
                m.serial.wait_new(f"^vmond-lab: sum {cpu} ")
            m.type("quiet\n")
            m.serial.wait("^vmond-lab: quiet\r?$")
            self.assert_load_right(m.serial.text()[start:], cpus=2)

    def test_5_power_button(self):
        m = self.machine
        m.type("listen\n")
        m.serial.wait("^vmond-lab: listening\r?$")
        m.qmp.command("system_powerdown")
        m.qmp.event("POWERDOWN")
        m.serial.wait("^vmond-lab: the power button was pressed\r?$")
        self.assertEqual(m.qmp.event("SHUTDOWN"), {"guest": True, "reason": "guest-shutdown"})
        self.assertEqual(m.wait_exit(), 0)
        self.assertEqual(m.stderr(), "")


class Clock:
    """What the guest's clock should show, going by the host's and by when the guest was stopped."""

    def __init__(self, machine):
        self.machine = machine
        self.least = self.most = 0.0            # time stopped
        self.begin = self.read()

    def read(self):
        """(before, uptime, after): the guest's clock between two readings of the host's."""
        serial = self.machine.serial
        before = time.monotonic()
        # The first one's clock may have been read before, and only printed now.
        serial.wait_new(linux.TICK)
        tick = serial.wait(linux.TICK)
        return before, float(tick[2]), time.monotonic()

    def stop(self):
        asked = time.monotonic()
        self.machine.qmp.command("stop")
        self.stopped = asked, time.monotonic()

    def cont(self):
        asked = time.monotonic()
        self.machine.qmp.command("cont")
        self.least += asked - self.stopped[1]
        self.most += time.monotonic() - self.stopped[0]

    def bounds(self):
        """(least, shown, most): time that has gone by for the guest, in seconds."""
        end = self.read()
        return (end[0] - self.begin[2] - self.most - SLACK, end[1] - self.begin[1],
                end[2] - self.begin[0] - self.least + SLACK)


class Ends(linux.LinuxTest):
    kernel, image, options = "generic", "vmlinux", {"append": linux.BRIEF + " panic=-1"}

    def test_1_reboot(self):
        self.machine.type("reboot\n")
        self.assertEqual(self.machine.qmp.event("RESET"), {"guest": True, "reason": "guest-reset"})
        self.machine.wait_for_user_space()

    def test_2_panic(self):
        """It is told of by pvpanic; then the kernel reboots by itself."""
        m = self.machine
        m.qmp.command("set-action", panic="none")
        m.type("panic\n")
        self.assertEqual(m.qmp.event("GUEST_PANICKED"), {"action": "run"})
        self.assertEqual(m.qmp.event("RESET"), {"guest": True, "reason": "guest-reset"})
        m.wait_for_user_space()

    def test_3_panic_pauses(self):
        m = self.machine
        m.qmp.command("set-action", panic="pause")
        m.type("panic\n")
        self.assertEqual(m.qmp.event("GUEST_PANICKED"), {"action": "pause"})
        m.qmp.event("STOP")
        self.assertEqual(m.qmp.status(), "guest-panicked")
        self.assertTrue(any("panic" in (linux.function(linux.symbols(self.kernel), v["regs"]["rip"])
                                        or "") for v in m.qmp.command("query-vcpu-state")) or
                        m.qmp.hmp("info registers"))
        m.qmp.command("system_reset")
        m.qmp.command("cont")
        m.wait_for_user_space()

    def test_4_poweroff(self):
        self.assert_ends("poweroff")


class Aslr(linux.LinuxTest):
    """Where the kernel puts itself is its own business; its registers are found all the same."""

    options = {"cpus": 1, "append": ""}

    def test_kernel_elsewhere(self):
        m = self.machine
        own = int(m.run("awk '$3 == \"_text\" { print $1 }' /proc/kallsyms"), 16)
        m.qmp.command("stop")
        rip = m.qmp.command("query-vcpu-state")[0]["regs"]["rip"]
        rows = re.findall(rf"^({linux.NUMBER})-({linux.NUMBER}) {linux.NUMBER} -r-$", m.qmp.hmp("info mem"), re.M)
        self.assertTrue(any(int(start, 16) == own for start, _ in rows), f"{own:x}")
        if rip >> 63:
            self.assertTrue(any(int(a, 16) <= rip < int(b, 16) for a, b in rows), f"{rip:x}")
        m.qmp.command("cont")
        self.assert_ends("poweroff")
