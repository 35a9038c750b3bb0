# SPDX-License-Identifier: MIT
"""Memory read and written from outside, registers and ports from the human monitor."""

import binascii
import contextlib
import os
import struct

import chain
import vmond

COUNTER = 0x7c04                # of real-counter, which compares it with a register
RAM = 64 << 20


def read(q, address, size, **arguments):
    data = q.command("read-memory", address=address, size=size, **arguments)["data"]
    return binascii.a2b_base64(data)


def write(q, address, data, **arguments):
    q.command("write-memory", address=address, data=vmond.base64(data), **arguments)


class Memory(vmond.LiveTest):
    def saved(self, m, command, val, size, **arguments):
        m.qmp.command(command, val=val, size=size, filename=m.path("saved"), **arguments)
        with open(m.path("saved"), "rb") as f:
            return f.read()

    def test_reads_what_is_saved(self):
        with vmond.Machine("long.elf", cpus=2) as m:
            m.serial.wait("^ap 1 ")
            m.qmp.command("stop")
            for address, size in (0x200000, 1 << 20), (RAM - 5, 5), (0x200ffd, 7), (0, 1):
                self.assertEqual(read(m.qmp, address, size),
                                 self.saved(m, "pmemsave", address, size))
                self.assertEqual(read(m.qmp, address, size, space="virtual", cpu_index=1),
                                 self.saved(m, "memsave", address, size, cpu_index=1))
            sync = m.qmp.command("query-vcpu-sync")
            self.assertFalse(any(s["dirty"] for v in sync["vcpus"] for s in v["substates"]))

    def test_running(self):
        """The counter counts while it is looked at, and nobody sees a stop."""
        with vmond.Machine("real-counter.bin") as m:
            m.serial.wait("^count")
            first = struct.unpack("<I", read(m.qmp, COUNTER, 4))[0]
            vmond.wait_until(lambda: struct.unpack("<I", read(m.qmp, COUNTER, 4))[0] > first,
                             "the counter to move")
            vmond.wait_until(lambda: struct.unpack("<I", read(
                m.qmp, COUNTER, 4, space="virtual"))[0] > first + 1000, "the counter to move")
            self.assertEqual(m.qmp.drain_events(), [])
            m.serial.wait_new("^count")

    def test_guest_sees_writes(self):
        with vmond.Machine("real-counter.bin") as m:
            m.serial.wait("^count")

            def attempt():
                # In between its reading the counter and writing the next one it overwrites this.
                with contextlib.suppress(EOFError, OSError):
                    write(m.qmp, COUNTER, b"\xff\xff\xff\x7f")
                return "FAIL counter\n" in m.serial.text()
            vmond.wait_until(attempt, "the counter's end")
            self.assertEqual(m.wait_exit(), 1 * 2 + 1)

    def test_code_is_patched(self):
        """At the address where a vCPU stands, by its page tables: what it does next ends it."""
        with vmond.Machine("long.elf") as m:
            m.serial.wait("^step")
            m.qmp.command("stop")
            rip = m.qmp.command("query-vcpu-state")[0]["regs"]["rip"]
            # mov $0xf4, %dx; mov $7, %al; out %al, %dx: the debug exit port
            write(m.qmp, rip, bytes.fromhex("66baf400b007ee"), space="virtual", cpu_index=0)
            self.assertEqual(m.qmp.command("query-vcpu-sync")["sets-since-stop"], 0)
            m.qmp.command("cont")
            self.assertEqual(m.wait_exit(), 7 * 2 + 1)

    def test_refused(self):
        with vmond.Machine("long.elf") as m:
            m.serial.wait("^step")
            m.qmp.command("stop")
            before = read(m.qmp, RAM - 4, 4)
            data = vmond.base64(b"12345678")
            self.assert_refused(m.qmp, "^physical address 0x4000000 is not RAM$", "write-memory",
                                address=RAM - 4, data=data)
            self.assert_refused(m.qmp, "^virtual address 0x4000000 of vCPU 0 is physical address "
                                "0x4000000, which is not RAM$", "write-memory", address=RAM - 4,
                                data=data, space="virtual")
            self.assertEqual(read(m.qmp, RAM - 4, 4), before)
            for address in 0xfee00000, 0xfec00000, 0xd0000000:
                self.assert_refused(m.qmp, f"^physical address {address:#x} is not RAM$",
                                    "read-memory", address=address, size=4)
            self.assert_refused(m.qmp, "^virtual address 0x800000000000 is not mapped on vCPU 0$",
                                "read-memory", address=1 << 47, size=1, space="virtual")
            m.qmp.command("cont")
            m.serial.wait_new("^step")
            m.qmp.command("stop")
            chain.long(m.serial.text(), 1)

    def test_before_it_has_come(self):
        with vmond.Machine(None, "--incoming", "defer") as m:
            self.assert_refused(m.qmp, "^the machine waits for incoming state", "write-memory",
                                address=0, data="AA==")
            self.assertEqual(read(m.qmp, 0, 2), b"\0\0")


class HumanMonitor(vmond.LiveTest):
    def test_set(self):
        with vmond.Machine("real-counter.bin") as m:
            m.serial.wait("^count")
            self.assertRegex(m.qmp.hmp("set $rip=0x7c08"), "^Error: Registers can be set only while")
            m.qmp.command("stop")
            self.assertEqual(m.qmp.hmp("set $rip=0x7c08 $rax=0x1234abcd"), "")
            m.qmp.command("cont")
            self.assertEqual(m.qmp.command("query-vcpu-sync")["sets-since-stop"], 1)
            m.serial.wait("^landed 1234abcd$")

    def test_ports(self):
        with vmond.Machine("real-counter.bin") as m:
            m.serial.wait("^count")
            m.qmp.command("stop")
            m.serial.text()
            for c in "hello\n":
                self.assertEqual(m.qmp.hmp(f"o /b 0x3f8 {ord(c)}"), "")
            m.serial.wait("hello\n")
            self.assertEqual(m.qmp.hmp("o /b 0x3ff 0x5a"), "")
            self.assertEqual(m.qmp.hmp("i /b 0x3ff"), "portb[0x03ff] = 0x5a\n")
            self.assertRegex(m.qmp.hmp("i /b 0x21"), "^Port 0x0021 is of a device in the kernel")

    def test_savevm(self):
        """The line is answered when the file is there, and a clone goes on from it."""
        with vmond.Machine("real-counter.bin") as m:
            m.serial.wait("^count")
            self.assertEqual(m.qmp.hmp(f"savevm {m.path('snapshot')}"), "")
            self.assertTrue(os.path.exists(m.path("snapshot")))
            self.assertEqual(m.qmp.status(), "running")
            self.assertRegex(m.qmp.hmp("savevm /nonexistent/x"), "^Error: /nonexistent/x: ")
            with vmond.Machine(None, "--clone", m.path("snapshot")) as clone:
                clone.serial.wait("^count")

    def test_pic(self):
        with vmond.Machine("real-counter-halt.bin") as m:
            m.serial.wait("^count")
            self.assertRegex(m.qmp.hmp("info pic"),
                             r"^ioapic0: (.|\n)*\npic1: .*\npic0: irr=.. imr=fe .* irq_base=20 ")
