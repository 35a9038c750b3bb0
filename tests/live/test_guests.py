# SPDX-License-Identifier: MIT
"""Every kind of image, and what its guest finds."""

import os
import socket

import chain
import vmond


class Guests(vmond.LiveTest):
    def test_real_mode(self):
        with vmond.Machine("real-hello.bin") as m:
            m.serial.wait("^A$")
        for image in "real-counter.bin", "real-counter-halt.bin":
            with self.subTest(image), vmond.Machine(image) as m:
                for _ in range(3):
                    m.serial.wait(r"^count \d+$")
                self.assertEqual(m.qmp.status(), "running")

    def test_halted_vcpu_shows(self):
        with vmond.Machine("real-hello.bin") as m:
            m.serial.wait("^A$")
            vmond.wait_until(lambda: m.qmp.command("query-vcpu-state")[0]["halted"], "HLT")
            self.assertIn("(halted)", m.qmp.hmp("info cpus"))
            self.assertIn("HLT=1", m.qmp.hmp("info registers"))

    def modules(self):
        directory = self.temporary_directory()
        contents = {"one": b"abc", "two": bytes(range(256)) * 33}
        for name, content in contents.items():
            with open(os.path.join(directory, name), "wb") as f:
                f.write(content)
        options = [o for name in contents for o in ("--initrd", os.path.join(directory, name))]
        return options, [f"^module size {len(c)} sum {sum(c)} .*{n}" for n, c in contents.items()]

    def test_multiboot(self):
        options, modules = self.modules()
        for image in "prot.elf", "prot-flat.bin":
            with self.subTest(image), \
                    vmond.Machine(image, "--append", "one two=3", *options) as m:
                m.serial.wait("^prot$")
                m.serial.wait(f"^memory lower 6[0-9][0-9] upper {(64 - 1) * 1024}$")
                m.serial.wait("^cmdline (.* )?one two=3$")
                for line in modules:
                    m.serial.wait(line)
                self.assertNotIn("unaligned", m.serial.text())
                m.serial.wait("^mmap 0{16} [0-9a-f]{16} 1$")
                m.serial.wait("^mmap 0000000000100000 0000000003f00000 1$")
                m.serial.wait("^ready$")
                m.serial.wait("^ticks 32$")

    def test_pvh(self):
        options, modules = self.modules()
        with vmond.Machine("pvh.elf", "--append", "one two=3", *options) as m:
            m.serial.wait("^pvh$")
            m.serial.wait("^version 1$")
            m.serial.wait("^cmdline one two=3$")
            for line in modules:
                m.serial.wait(line.rsplit(" ", 1)[0])
            m.serial.wait("^mmap 0{16} [0-9a-f]{16} 1$")
            m.serial.wait("^mmap 0000000000100000 0000000003f00000 1$")
            m.serial.wait("^done$")

    def test_memory_map_of_much_memory(self):
        with vmond.Machine("pvh.elf", memory="5G") as m:
            m.serial.wait("^mmap 0000000100000000 0000000080000000 1$")
            m.serial.wait("^done$")

    def test_long_mode_and_all_vcpus(self):
        for image in "long.elf", "long-halt.elf":
            for cpus in 2, 17:
                with self.subTest(image, cpus=cpus), vmond.Machine(image, cpus=cpus) as m:
                    for ap in range(1, cpus):
                        m.serial.wait(rf"^ap {ap} \d+")
                    self.assertEqual(len(m.qmp.command("query-cpus-fast")), cpus)

    def test_pae(self):
        """PDPTRs; tests/lab hands them on."""
        with vmond.Machine("pae.elf") as m:
            if m.serial.wait(r"^(paging|pae\npae)$")[1] != "paging":
                # Where it must be possible it is no excuse.
                self.assertNotIn("VMOND_LAB", os.environ)
                self.skipTest("this host's KVM has no 32-bit paging")
            vmond.wait_until(lambda: chain.pae(m.serial.text(), 1) > 8, "progress")

    def test_a_guest_of_a_guest(self):
        with vmond.Machine("svm.elf") as m:
            # What a look at it shows goes by the host, not by what the guest does.
            self.assertEqual("nested" in m.qmp.command("query-vcpu-state")[0],
                             m.qmp.hmp("info nested").startswith("CPU#0 "))
            if m.serial.wait("^(none|nested paging .)$")[1] == "none":
                self.assertNotIn("VMOND_LAB", os.environ)
                self.skipTest("this host's KVM has no SVM for guests")
            vmond.wait_until(lambda: chain.svm(m.serial.text(), 1) > 3, "progress")

    def test_more_vcpus_than_8_bits_can_tell_apart(self):
        cpus = 300
        with vmond.Machine("x2apic.elf", cpus=cpus, typed=True) as m:
            q = m.qmp
            for reset in True, False:
                m.serial.wait(f"^started {cpus - 1}$")
                # Who has been counted is on the way to its HLT, no more.
                vmond.wait_until(lambda: q.hmp("info registers -a").count("HLT=1") == cpus - 1,
                                 "the others to halt")
                q.command("stop")
                text = q.hmp("info registers -a")
                for cpu in range(cpus):
                    self.assertIn(f"CPU#{cpu}\n", text)
                # The boot processor in its loop in 64 bit mode, the others halted in real mode.
                self.assertEqual((text.count("RIP="), text.count("EIP=")), (1, cpus - 1))
                self.assertEqual(text.count("HLT=1"), cpus - 1)
                self.assertIn(f"cpu {cpus - 1} (X2APIC ID)", q.hmp("info lapic 0"))
                sync = q.command("query-vcpu-sync")
                self.assertEqual((sync["sets-since-stop"], sync["vm-sets-since-stop"]), (0, 0))
                q.command("cont")
                if reset:
                    q.command("system_reset")
            m.type("x")
            m.serial.wait(f"^woken {cpus - 1}$")
            self.assertEqual(m.wait_exit(), ((cpus - 1) << 1 | 1) & 0xff)

    def test_no_kernel(self):
        with vmond.Machine(None) as m:
            self.assertEqual(m.qmp.status(), "running")
            m.qmp.hmp("info registers")

    def test_garbage(self):
        """A guest that writes everywhere ends nothing but, in the end, itself."""
        with vmond.Machine("garbage.elf", "--no-reboot", "--no-shutdown", typed=True) as m:
            m.serial.wait("^garbage$")
            for _ in range(20):
                m.qmp.hmp("info registers -a")
            m.serial.wait("^done$")
            self.assertEqual(m.qmp.status(), "running")
            self.assertEqual(m.qmp.drain_events(), [])
            self.assertEqual(m.stderr(), "")
            m.type("x")
            try:
                self.assertIn(vmond.wait_until(
                    lambda: (s := m.qmp.status()) != "running" and s, "an end"),
                    ("shutdown", "internal-error", "guest-panicked"))
            except (EOFError, BrokenPipeError):
                # The debug exit port ends the process with the low bit set.
                self.assertEqual(m.wait_exit() & 1, 1)

    def test_serial_socket(self):
        path = os.path.join(self.temporary_directory(), "serial")
        with vmond.Machine("reset.bin", serial="unix:" + path) as m:
            self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
            # Input goes to a guest that waits for it: it empties its FIFO when it starts.
            awaited = b"reset\n"
            for _ in range(2):          # one client after the other
                with socket.socket(socket.AF_UNIX) as s:
                    s.settimeout(vmond.TIMEOUT)
                    s.connect(path)
                    for _ in range(3):
                        self.receive(s, awaited)
                        s.sendall(b"x")
                        awaited = b"byte\nreset\n"
                        self.assertEqual(m.qmp.event("RESET"),
                                         {"guest": True, "reason": "guest-reset"})
                    self.receive(s, awaited)
                    awaited = b""
        self.assertFalse(os.path.exists(path))

    def receive(self, sock, expected):
        data = b""
        while len(data) < len(expected):
            data += sock.recv(len(expected) - len(data))
        self.assertEqual(data, expected)
