# SPDX-License-Identifier: MIT
"""Dumps: read back by hand, by gdb, and through a machine that goes on as if there was none."""

import json
import os
import re
import shutil
import socket
import struct
import subprocess
import time

import chain
import core
import vmond

GENERAL = "rax rbx rcx rdx rsi rdi rbp rsp r8 r9 r10 r11 r12 r13 r14 r15 rip rflags".split()
MSR_KERNEL_GS_BASE = 0xc0000102
# A part of the higher half that no guest of ours uses, where a test maps something.
HIGH = 0xffffa00000000000


def read_file(path):
    with open(path, "rb") as f:
        return f.read()


class DumpTest(vmond.LiveTest):
    def dump(self, m, paging=False, name="core", **arguments):
        """A dump to a file, complete when this returns."""
        m.qmp.command("dump-guest-memory", paging=paging, protocol="file:" + m.path(name),
                      **arguments)
        return core.Core(read_file(m.path(name)))

    def memory(self, m):
        """All of RAM, by pmemsave."""
        m.qmp.command("pmemsave", val=0, size=64 << 20, filename=m.path("pmemsave"))
        return read_file(m.path("pmemsave"))

    def write(self, q, address, data):
        q.command("write-memory", address=address, data=vmond.base64(data))


class Content(DumpTest):
    def check_qemu_note(self, note, state):
        regs, sregs = state["regs"], state["sregs"]
        self.assertEqual({r: note[r] for r in GENERAL}, {r: regs[r] for r in GENERAL})
        self.assertEqual(note["cr"], (sregs["cr0"], 0, sregs["cr2"], sregs["cr3"], sregs["cr4"]))
        for name in "cs ds es fs gs ss ldt tr".split():
            s = sregs[name]
            attributes = (s["type"] << 8 | s["s"] << 12 | s["dpl"] << 13 |
                          (s["present"] and not s["unusable"]) << 15 | s["avl"] << 20 |
                          s["l"] << 21 | s["db"] << 22 | s["g"] << 23)
            self.assertEqual(note[name], (s["selector"], s["limit"], attributes, s["base"]), name)
        for name in "gdt", "idt":
            self.assertEqual(note[name], (0, sregs[name]["limit"], 0, sregs[name]["base"]))
        self.assertEqual(note["kernel_gs_base"],
                         next((msr["value"] for msr in state["msrs"]
                               if msr["index"] == MSR_KERNEL_GS_BASE), 0))

    def test_long_mode(self):
        with vmond.Machine("long.elf", cpus=3) as m:
            m.serial.wait("^ap 2 ")
            m.qmp.command("stop")
            states = m.qmp.command("query-vcpu-state", msrs=True)
            dumped = self.dump(m)
            self.assertEqual((dumped.bits, dumped.machine), (64, core.EM_X86_64))
            self.assertEqual(sorted(dumped.threads), [1, 2, 3])
            self.assertEqual(len(dumped.qemu), 3)
            for i, state in enumerate(states):
                thread, regs, sregs = dumped.threads[i + 1], state["regs"], state["sregs"]
                self.assertEqual({r: thread[r] for r in GENERAL}, {r: regs[r] for r in GENERAL})
                self.assertEqual([thread[s] for s in ("cs", "ds", "es", "fs", "gs", "ss")],
                                 [sregs[s]["selector"] for s in ("cs", "ds", "es", "fs", "gs", "ss")])
                self.assertEqual((thread["fs_base"], thread["gs_base"]),
                                 (sregs["fs"]["base"], sregs["gs"]["base"]))
                self.check_qemu_note(dumped.qemu[i], state)
            self.assertEqual(dumped.loads, [(0, 0, dumped.loads[0][2], 64 << 20)])
            self.assertEqual(dumped.read(0, 64 << 20), self.memory(m))
            # A look is a look: nothing was written to a vCPU, nor will be.
            sync = m.qmp.command("query-vcpu-sync")
            self.assertEqual(sync["sets-since-stop"], 0)
            self.assertFalse(any(s["dirty"] for v in sync["vcpus"] for s in v["substates"]))
            # Sparse, and nobody else's.
            st = os.stat(m.path("core"))
            self.assertLess(st.st_blocks * 512, 4 << 20)
            self.assertEqual(st.st_mode & 0o777, 0o600)

    def test_32_bits(self):
        for image in "prot.elf", "real-counter.bin":
            with self.subTest(image), vmond.Machine(image) as m:
                m.serial.wait("^[a-z]+ [0-9]+")
                m.qmp.command("stop")
                state = m.qmp.command("query-vcpu-state", msrs=True)[0]
                dumped = self.dump(m, paging=True)
                self.assertEqual((dumped.bits, dumped.machine), (32, core.EM_386))
                thread = dumped.threads[1]
                for name in "eax ebx ecx edx esi edi ebp esp eip".split():
                    self.assertEqual(thread[name], state["regs"]["r" + name[1:]] & 0xffffffff, name)
                self.assertEqual(thread["eflags"], state["regs"]["rflags"])
                self.check_qemu_note(dumped.qemu[0], state)
                self.assertEqual(dumped.read(0, 64 << 20), self.memory(m))

    def test_range(self):
        with vmond.Machine("long.elf") as m:
            m.serial.wait("^step")
            m.qmp.command("stop")
            memory = self.memory(m)
            for begin, length in (0x200001, 0x3001), (0x3fffffd, 1 << 40), (0, 1):
                dumped = self.dump(m, begin=begin, length=length)
                size = min(length, (64 << 20) - begin)
                self.assertEqual([(load[1], load[3]) for load in dumped.loads], [(begin, size)])
                self.assertEqual(dumped.read(begin, size), memory[begin:begin + size])
                self.assertEqual(m.qmp.command("query-dump"),
                                 {"status": "completed", "completed": size, "total": size})

    def map_high(self, m):
        """Has HIGH mean two pages of RAM, in the wrong order, and a third that is not RAM."""
        q = m.qmp
        tables, pages = 0x3000000, (0x3800000, 0x3400000, 0xd0000000)
        root = q.command("query-vcpu-state", cpu_index=0)[0]["sregs"]["cr3"]
        slot = root + (HIGH >> 39 & 511) * 8
        self.write(q, slot, struct.pack("<Q", tables | 3))
        self.write(q, tables, struct.pack("<Q", tables + 0x1000 | 3))
        self.write(q, tables + 0x1000, struct.pack("<Q", tables + 0x2000 | 3))
        self.write(q, tables + 0x2000, struct.pack("<3Q", *(p | 3 for p in pages)))
        self.write(q, pages[0], b"first page\0" * 300)
        self.write(q, pages[1] + 0xff0, b"the second ends")

    def test_paging(self):
        with vmond.Machine("long.elf", cpus=2) as m:
            m.serial.wait("^ap 1 ")
            m.qmp.command("stop")
            self.map_high(m)
            dumped = self.dump(m, paging=True)
            self.assertEqual(dumped.read(HIGH, 22), b"first page\0" * 2)
            self.assertEqual(dumped.read(HIGH + 0x1ff0, 15), b"the second ends")
            self.assertIsNone(dumped.read(HIGH + 0x1ff0, 17))
            self.assertEqual([load[:2] for load in dumped.loads if load[0] >= HIGH],
                             [(HIGH, 0x3800000), (HIGH + 0x1000, 0x3400000)])
            # What maps to itself does so here, and is there once for both vCPUs.
            self.assertEqual(dumped.read(0x200000, 1 << 20), self.memory(m)[0x200000:0x300000])
            self.assertEqual(len([load for load in dumped.loads if load[0] == 0]), 1)

    def gdb(self, path, *commands):
        arguments = [a for c in commands for a in ("-ex", c)]
        done = subprocess.run(["gdb", "-nx", "-batch", "-core", path, *arguments,
                               vmond.guest("long.elf")], capture_output=True, text=True,
                              timeout=vmond.TIMEOUT, check=False)
        return done.stdout

    def test_gdb(self):
        if shutil.which("gdb") is None:
            self.skipTest("gdb is not installed")
        with vmond.Machine("long.elf", cpus=3) as m:
            m.serial.wait("^ap 2 ")
            m.qmp.command("stop")
            self.map_high(m)
            self.dump(m, paging=True)
            states = m.qmp.command("query-vcpu-state")
            printed = self.gdb(m.path("core"), "set width 0", "info threads",
                               *(f"thread apply {i + 1} p/x ${r}" for i in range(3)
                                 for r in ("rip", "rsp", "r14", "cs", "eflags")),
                               f"x/s {HIGH:#x}", f"x/15c {HIGH + 0x1ff0:#x}", "p (long) ticks",
                               "info symbol step")
            self.assertEqual(len(re.findall(r"^[* ] +\d+ +LWP \d", printed, re.M)), 3, printed)
            values = [int(v, 16) for v in re.findall(r"\$\d+ = (0x[0-9a-f]+)", printed)]
            expected = [v for s in states for v in
                        (s["regs"]["rip"], s["regs"]["rsp"], s["regs"]["r14"],
                         s["sregs"]["cs"]["selector"], s["regs"]["rflags"])]
            self.assertEqual(values, expected, printed)
            self.assertIn('"first page"', printed)
            self.assertRegex(printed, r"116 't'\s+104 'h'\s+101 'e'")
            self.assertIn("step in section .text", printed)


class Running(DumpTest):
    def test_goes_on(self):
        """Not one step of the guest is lost, nor any tick of a checksum, by ten dumps."""
        with vmond.Machine("long.elf", cpus=2) as m:
            m.serial.wait("^ap 1 ")
            for i in range(10):
                dumped = self.dump(m, paging=i % 2 == 1)
                self.assertEqual(len(dumped.threads), 2)
                self.assertEqual(m.qmp.drain_events(), [
                    ("STOP", None),
                    ("DUMP_COMPLETED", {"result": {"status": "completed", "completed": 64 << 20,
                                                   "total": 64 << 20}}),
                    ("RESUME", None)])
                m.serial.wait_new("^step")
            m.qmp.command("stop")
            chain.long(m.serial.text(), 2)

    def test_while_it_goes_on(self):
        """A reader that takes its time holds the dump, but nobody who asks."""
        with vmond.Machine("real-counter.bin") as m:
            m.serial.wait("^count")
            os.mkfifo(m.path("fifo"))
            reader = os.open(m.path("fifo"), os.O_RDONLY | os.O_NONBLOCK)
            self.addCleanup(os.close, reader)
            m.qmp.command("dump-guest-memory", paging=False, protocol="file:" + m.path("fifo"),
                          detach=True)
            self.assertEqual(m.qmp.event("STOP"), None)
            self.assertEqual(m.qmp.status(), "save-vm")
            busy = "^There is a dump in process, please wait.$"
            self.assert_refused(m.qmp, busy, "stop")
            self.assert_refused(m.qmp, busy, "cont")
            self.assert_refused(m.qmp, busy, "system_reset")
            self.assert_refused(m.qmp, busy, "dump-guest-memory", paging=False,
                                protocol="file:" + m.path("core"))
            self.assert_refused(m.qmp, busy, "write-memory", address=0, data="AA==")
            self.assert_refused(m.qmp, "^Live migration disabled: dump-guest-memory in progress$",
                                "migrate", uri="file:" + m.path("state"))
            self.assertEqual(m.qmp.hmp("stop"), "Error: There is a dump in process, please wait.\n")
            self.assertRegex(m.qmp.hmp("info dump"), r"^Status: active\nFinished: \d+\.\d\d %\n$")
            state = m.qmp.command("query-dump")
            self.assertEqual((state["status"], state["total"]), ("active", 64 << 20))
            # Progress is told four times a second at most: what is read from now on brings some.
            time.sleep(0.3)
            pieces, told = [], None
            while True:
                try:
                    piece = os.read(reader, 1 << 20)
                except BlockingIOError:
                    continue
                if not piece:
                    break
                pieces.append(piece)
                if told is None:
                    m.qmp.command("query-name")
                    told = next((e for e in m.qmp.events if e["event"] == "DUMP_PROGRESS"), None)
            self.assertIsNotNone(told)
            self.assertEqual(told["data"]["total"], 64 << 20)
            self.assertLessEqual(told["data"]["completed"], 64 << 20)
            m.qmp.event("DUMP_COMPLETED")
            m.qmp.event("RESUME")
            data = b"".join(pieces)
            dumped = core.Core(data)
            self.assertEqual(dumped.loads[0][3], 64 << 20)
            self.assertEqual(len(data), dumped.loads[0][2] + (64 << 20))
            self.assertFalse(os.path.exists(m.path("core")))
            m.serial.wait_new("^count")

    def test_out_of_band(self):
        """Who waits for the end can ask how far it is."""
        with vmond.Machine("real-counter.bin") as m:
            os.mkfifo(m.path("fifo"))
            reader = os.open(m.path("fifo"), os.O_RDONLY | os.O_NONBLOCK)
            q = m.connect(negotiate=False)
            q.command("qmp_capabilities", enable=["oob"])
            q.send({"execute": "dump-guest-memory", "id": "dump", "arguments":
                    {"paging": False, "protocol": "file:" + m.path("fifo")}})
            q.event("STOP")
            q.send({"exec-oob": "query-dump", "id": "urgent"})
            reply = q.reply()
            self.assertEqual((reply["id"], reply["return"]["status"]), ("urgent", "active"))
            reason = "Live migration disabled: dump-guest-memory in progress"
            self.assertEqual(m.qmp.command("query-migrate"), {"blocked-reasons": [reason]})
            self.assertEqual(m.qmp.hmp("info migrate"),
                             f"Outgoing migration blocked:\n  {reason}\n")
            with self.assertRaisesRegex(vmond.QmpError, reason):
                m.qmp.command("migrate", uri="exec:cat >/dev/null")
            os.close(reader)
            reply = q.reply()
            self.assertEqual(reply["id"], "dump")
            self.assertRegex(reply["error"]["desc"], "^dump: failed to .*: Broken pipe$")
            self.assertEqual(q.command("query-dump")["status"], "failed")
            self.assertEqual(q.status(), "running")
            self.assertEqual(q.command("query-migrate"), {})

    def test_to_a_descriptor(self):
        with vmond.Machine("real-counter.bin") as m, open(m.path("core"), "wb") as f:
            request = {"execute": "getfd", "arguments": {"fdname": "core"}}
            socket.send_fds(m.qmp.sock, [json.dumps(request).encode()], [f.fileno()])
            self.assertEqual(m.qmp.reply().get("return"), {})
            m.qmp.command("dump-guest-memory", paging=False, protocol="fd:core")
            self.assertEqual(core.Core(read_file(m.path("core"))).loads[0][3], 64 << 20)
            self.assert_refused(m.qmp, "^File descriptor named 'core' has not been found$",
                                "dump-guest-memory", paging=False, protocol="fd:core")

    def test_end_of_the_process(self):
        """A dump that never gets to its end keeps nobody from his."""
        with vmond.Machine("real-counter.bin") as m:
            os.mkfifo(m.path("fifo"))
            reader = os.open(m.path("fifo"), os.O_RDONLY | os.O_NONBLOCK)
            self.addCleanup(os.close, reader)
            m.qmp.command("dump-guest-memory", paging=False, protocol="file:" + m.path("fifo"),
                          detach=True)
            m.qmp.command("quit")
            self.assertEqual(m.wait_exit(), 0)


class Refused(DumpTest):
    def test_leaves_nothing(self):
        if shutil.which("prlimit") is None:
            self.skipTest("prlimit is not installed")
        with vmond.Machine("real-counter.bin",
                           prefix=("prlimit", f"--fsize={1 << 20}")) as m:
            m.serial.wait("^count")
            with open(m.path("core"), "w", encoding="ascii") as f:
                f.write("old")
            before = sorted(os.listdir(m.directory))
            self.assert_refused(m.qmp, "^dump: failed to save memory: File too large$",
                                "dump-guest-memory", paging=False, protocol="file:" + m.path("core"))
            events = m.qmp.drain_events()
            self.assertEqual([e[0] for e in events], ["STOP", "DUMP_COMPLETED", "RESUME"])
            self.assertEqual(events[1][1]["error"], "dump: failed to save memory: File too large")
            self.assertEqual(events[1][1]["result"]["status"], "failed")
            self.assertEqual(sorted(os.listdir(m.directory)), before)
            self.assertEqual(read_file(m.path("core")), b"old")
            self.assert_refused(m.qmp, "^dump: failed to write elf header: No space left on device$",
                                "dump-guest-memory", paging=False, protocol="file:/dev/full")
            m.serial.wait_new("^count")

    def test_hmp(self):
        with vmond.Machine("real-counter.bin") as m:
            self.assertEqual(m.qmp.hmp(f"dump-guest-memory -p {m.path('core')}"), "")
            self.assertEqual(core.Core(read_file(m.path("core"))).loads[0][3], 64 << 20)
            self.assertEqual(m.qmp.hmp("info dump"), "Status: completed\n")
            self.assertEqual(m.qmp.hmp("dump-guest-memory /dev/full"),
                             "Error: dump: failed to write elf header: No space left on device\n")
