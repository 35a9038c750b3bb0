# SPDX-License-Identifier: MIT
"""Guests that notice when anything of theirs gets lost, looked at, stopped and sent on."""

import os
import random
import re
import time

import vmond
from test_sync import LOOKS

ROUNDS = 200
MASK = (1 << 64) - 1


def rol(value, count):
    return (value << count | value >> (64 - count)) & MASK


def long_steps():
    """What guests/long.S computes: a CRC for each step."""
    crc, number, words = 0x0123456789abcdef, 0x9e3779b97f4a7c15, [0] * 64
    while True:
        for i in range(64):
            number = (number * 6364136223846793005 + 1442695040888963407) & MASK
            words[i] = rol(words[i], 1) ^ number
            crc = (rol(crc, 5) + words[i]) & MASK
        yield crc


class Inspect(vmond.LiveTest):
    def check_long(self, text):
        """Every line must be there, in its order, and right.  Returns how many steps there were."""
        lines = text.split("\n")
        self.assertEqual(lines[0], "long")
        crcs, steps, ticks, counters = long_steps(), 0, 0, {}
        for line in lines[1:-1]:        # the last one may be on its way
            if m := re.fullmatch(r"step (\d+) ([0-9a-f]{16}) ticks (\d+)", line):
                steps += 1
                self.assertEqual((int(m[1]), int(m[2], 16)), (steps, next(crcs)))
                self.assertGreaterEqual(int(m[3]), ticks)
                ticks = int(m[3])
            elif m := re.fullmatch(r"ap (\d+) (\d+)", line):
                self.assertGreaterEqual(int(m[2]), counters.get(m[1], 0))
                counters[m[1]] = int(m[2])
            else:
                self.fail(f"the guest says: {line}")
        self.assertGreater(steps, 0)
        return steps

    def check_io(self, text):
        lines = text.split("\n")
        self.assertEqual(lines[0], "io-loop")
        rounds = 0
        for line in lines[1:-1]:
            if m := re.fullmatch(r"io (\d+) \d+", line):
                rounds += 16
                self.assertEqual(int(m[1]), rounds)
            elif not re.fullmatch(r"ap \d+ \d+", line):
                self.fail(f"the guest says: {line}")
        return rounds

    def check_rounds(self, image, cpus, check):
        """Stop, look, cont at random moments, and looks in between."""
        seed = random.randrange(1 << 32)
        dice = random.Random(seed)
        with self.subTest(f"{image}, {cpus} vCPUs, seed {seed}"), \
                vmond.Machine(image, cpus=cpus) as m:
            m.cpus = cpus
            m.serial.wait("^ap [0-9]+ " if cpus > 1 else "^(step|io) [0-9]+ ")
            for i in range(ROUNDS):
                for _ in range(dice.randrange(2)):
                    dice.choice(LOOKS)[1](m.qmp, m)
                m.qmp.command("stop")
                for _ in range(dice.randrange(3)):
                    dice.choice(LOOKS)[1](m.qmp, m)
                m.qmp.command("cont")
                time.sleep(dice.uniform(0, 0.008))
                if i % 20 == 0:
                    m.serial.wait_new("\n")
            self.assertEqual(m.qmp.status(), "running")
            m.serial.wait_new("^ap [0-9]+ " if cpus > 1 else "^(step|io) [0-9]+ ")
            m.qmp.command("stop")
            check(m.serial.text())

    def test_long_1(self):
        self.check_rounds("long.elf", 1, self.check_long)

    def test_long_4(self):
        self.check_rounds("long.elf", 4, self.check_long)

    def test_long_16(self):
        self.check_rounds("long.elf", 16, self.check_long)

    def test_long_halting_16(self):
        self.check_rounds("long-halt.elf", 16, self.check_long)

    def test_io_1(self):
        self.check_rounds("io-loop.elf", 1, self.check_io)

    def test_io_4(self):
        self.check_rounds("io-loop.elf", 4, self.check_io)

    def test_io_16(self):
        self.check_rounds("io-loop.elf", 16, self.check_io)

    def test_a_look_is_no_stop(self):
        """While it runs, looks cause no event and no change of state, and the guest goes on."""
        with vmond.Machine("long.elf", cpus=4) as m:
            m.cpus = 4
            m.serial.wait("^ap 3 ")
            other = m.connect()
            for name, look in LOOKS:
                with self.subTest(name):
                    look(m.qmp, m)
                    self.assertEqual(m.qmp.command("query-status"),
                                     {"status": "running", "running": True, "singlestep": False})
                    m.serial.wait_new("^step ")
            self.assertEqual(m.qmp.drain_events(), [])
            self.assertEqual(other.drain_events(), [])
            self.check_long(m.serial.text())

    def test_a_stopped_machine_stands_still(self):
        """Paused is a barrier: state and output do not change until cont."""
        for image in "long.elf", "io-loop.elf":
            with self.subTest(image), vmond.Machine(image, cpus=4) as m:
                m.serial.wait("^ap 3 ")
                for _ in range(10):
                    m.qmp.command("stop")
                    before = m.qmp.command("query-vcpu-state")
                    text = m.serial.text()
                    registers = m.qmp.hmp("info registers -a")
                    m.qmp.command("pmemsave", val=0, size=0x300000, filename=m.path("a"))
                    self.assertEqual(m.qmp.command("query-vcpu-state"), before)
                    self.assertEqual(m.qmp.hmp("info registers -a"), registers)
                    m.qmp.command("pmemsave", val=0, size=0x300000, filename=m.path("b"))
                    with open(m.path("a"), "rb") as a, open(m.path("b"), "rb") as b:
                        self.assertTrue(a.read() == b.read(), "memory changes in a paused VM")
                    self.assertEqual(m.serial.text(), text)
                    m.qmp.command("cont")
                    m.serial.wait_new("^ap ")

    def test_what_is_seen_is_what_is(self):
        """Registers, page tables and memory against what the guest is known to have in them."""
        with vmond.Machine("long.elf", cpus=2) as m:
            m.serial.wait("^step 20 ")
            m.qmp.command("stop")
            one, two = m.qmp.command("query-vcpu-state", msrs=True)
            self.assertEqual([one["cpu-index"], two["cpu-index"]], [0, 1])
            self.assertEqual(one["sregs"]["efer"] & 0x500, 0x500)
            self.assertEqual(one["sregs"]["cr3"], two["sregs"]["cr3"])
            self.assertTrue(one["sregs"]["cs"]["l"])
            step = one["regs"]["r15"]
            self.assertIn(one["debugregs"]["db"][0], (step, step - 1))
            msrs = {r["index"]: r["value"] for r in one["msrs"]}
            self.assertIn(msrs[0xc0000082], (step, step - 1))
            text = m.qmp.hmp("info registers", cpu_index=0)
            self.assertIn(f"R15={step:016x}", text)
            self.assertIn(f"RIP={one['regs']['rip']:016x}", text)
            self.assertIn(f"CR3={one['sregs']['cr3']:016x}", text)
            self.assertIn("CS64", text)
            self.assertRegex(m.qmp.hmp("info mem"),
                             r"0000000000000000-0000000100000000 0000000100000000 -rw")
            self.assertRegex(m.qmp.hmp("info tlb"),
                             r"0000000000200000: 0000000000200000 --P.A.?-*W")
            self.assertEqual(m.qmp.hmp("x /4xg 0x200000").replace("0x200000", ""),
                             m.qmp.hmp("xp /4xg 0x200000").replace("0x200000", ""))
            m.qmp.command("memsave", val=0x200000, size=4096, filename=m.path("v"))
            m.qmp.command("pmemsave", val=0x200000, size=4096, filename=m.path("p"))
            with open(m.path("v"), "rb") as v, open(m.path("p"), "rb") as p:
                virtual = v.read()
                self.assertEqual(virtual, p.read())
            with open(vmond.guest("long.elf"), "rb") as f:
                self.assertIn(virtual[:1024], f.read())
            for cpu in m.qmp.command("query-cpus-fast"):
                path = f"/proc/{m.process.pid}/task/{cpu['thread-id']}"
                self.assertTrue(os.path.exists(path), "thread-id is no thread")
