# SPDX-License-Identifier: MIT
"""Guests whose state does not show in registers and memory alone: one that has a guest of its own,
and one in PAE paging.  Both are stopped, looked at, saved and handed on from process to process,
over and over, the former always inside its inner guest, and not one step is lost or repeated.

The environment can ask for more: GENERATIONS, how often.
"""

import contextlib
import os
import random
import time

import chain
import vmond
from test_snapshot import SnapshotTest, quit_and_read, save, wait_moved, want_events
from test_sync import LOOKS

GENERATIONS = int(os.environ.get("GENERATIONS", "100"))
# Where it is a matter of course, or was proved elsewhere.
FEW = max(GENERATIONS // 10, 2)

# Of svm.elf: the inner guest's memory at the first address is the outer one's at the second.
INNER_DATA, REALLY = 48 << 20, 32 << 20
# Of pae.elf: two windows, and the two pages that they show in one order or the other.
WINDOWS, PAGES = (0x40000000, 0x80000000), (0x600000, 0x800000)


class Machine(vmond.Machine):
    """As the looks want it."""

    cpus = 1


def word(q, command, address):
    return int(q.hmp(f"{command} /1xw {address:#x}").split()[1], 16)


def pdptrs(q):
    return q.command("query-vcpu-state")[0]["sregs"]["pdptrs"]


class Handed(SnapshotTest):
    """What all have in common."""

    def start(self, rng, path):
        way = rng.choice(["--clone", "--incoming"]) if path.endswith("snapshot") else "--incoming"
        return Machine(None, way, path if way == "--clone" else "file:" + path)

    def assert_untouched(self, q):
        sync = q.command("query-vcpu-sync")
        self.assertEqual((sync["sets-since-stop"], sync["vm-sets-since-stop"]), (0, 0))

    def look(self, m):
        """Everything that looks, which must leave no trace."""
        for _, look in LOOKS:
            # Not each of these addresses is mapped in each of the guests.
            with contextlib.suppress(vmond.QmpError):
                look(m.qmp, m)
        self.assert_untouched(m.qmp)

    def hand_on(self, m, rng, directory):
        if rng.random() < 0.75:
            path = os.path.join(directory, "snapshot")
            save(m, path, stay=True)
            return path
        path = os.path.join(directory, "stream")
        want_events(m.qmp)
        m.qmp.command("migrate-set-parameters", multifd_compression=rng.choice(["none", "zstd"]))
        m.qmp.command("migrate", uri="file:" + path)
        self.assertEqual(wait_moved(m.qmp), "completed")
        return path

    def check_generations(self, image, checker, stop, generations):
        """`stop` stops it at a moment that is worth it, and looks at what is particular to it."""
        rng, directory = random.Random(image), self.temporary_directory()
        text, machine = "", Machine(image)
        for number in range(generations):
            with machine as m:
                if number:
                    vmond.wait_until(lambda: m.qmp.status() == "paused", "the state to come")
                    m.qmp.command("cont")
                stop(m, rng)
                self.look(m)
                path = self.hand_on(m, rng, directory)
                text += quit_and_read(m)
            try:
                come = checker(text, 1)
            except chain.Wrong as e:
                raise chain.Wrong(f"generation {number}: {e}") from None
            machine = self.start(rng, path)
        with machine as m:
            vmond.wait_until(lambda: m.qmp.status() == "paused", "the state to come")
            self.look(m)
            m.qmp.command("cont")
            vmond.wait_until(lambda: checker(text + m.serial.text(), 1) > come + 1, "progress")
            text += quit_and_read(m)
        checker(text, 1)
        return text

    def stop_inside(self, m, rng):
        """At a random moment, but inside the inner guest."""
        for _ in range(1000):
            time.sleep(rng.uniform(0, 0.05))
            m.qmp.command("stop")
            nested = m.qmp.command("query-vcpu-state")[0]["nested"]
            if nested["guest-mode"]:
                break
            m.qmp.command("cont")
        else:
            self.fail("it is never inside its inner guest")
        self.assertEqual(nested["format"], "svm")
        self.assertEqual(m.qmp.hmp("info nested"),
                         "CPU#0 svm guest-mode=1 run-pending={:d} nested-paging={:d} GIF={:d} "
                         "VMCB={:016x}\n".format(*(nested[name] for name in (
                             "run-pending", "nested-paging", "gif", "vmcb-pa"))))
        # By the inner guest's tables or by the nested ones: the inner guest's memory.
        self.assertEqual(word(m.qmp, "x", INNER_DATA), word(m.qmp, "xp", REALLY))

    def check_inside(self, generations):
        return self.check_generations("svm.elf", chain.svm, self.stop_inside, generations)


class Nested(Handed):
    def setUp(self):
        with vmond.Machine("svm.elf") as m:
            if m.serial.wait("^(none|nested paging .)$")[1] == "none":
                self.skipTest("this host's KVM has no SVM for guests")

    def test_inside_the_inner_guest(self):
        self.assertIn("nested paging 1\n", self.check_inside(GENERATIONS))

    def test_reset_inside_the_inner_guest(self):
        """Nothing of the two worlds is left, and the guest makes the same way again."""
        with Machine("svm.elf") as m:
            for _ in range(5):
                m.serial.wait("^step 2 ")
                self.stop_inside(m, random.Random(1))
                before = len(m.serial.text())
                m.qmp.command("system_reset")
                state = m.qmp.command("query-vcpu-state")[0]
                self.assertFalse(state["nested"]["guest-mode"])
                self.assertTrue(state["nested"]["gif"])
                # Of the two ways in which a machine starts, this is that of an ELF image.
                self.assertEqual(state["sregs"]["idt"], {"base": 0, "limit": 0})
                self.assertEqual(state["regs"]["rflags"], 2)
                m.qmp.command("cont")
                vmond.wait_until(lambda: chain.svm(m.serial.text()[before:], 1) > 2, "progress")
                m.serial.position = before

    def test_registers_of_the_inner_guest_are_set(self):
        with Machine("svm.elf") as m:
            # Most of the time it has something in RBP that it will look at, but not always.
            rng, found = random.Random(2), ""
            while not found.startswith("FAIL"):
                self.stop_inside(m, rng)
                m.qmp.command("set-vcpu-registers", cpu_index=0, registers={"rbp": 1})
                m.serial.position = len(m.serial.text())
                m.qmp.command("cont")
                found = m.serial.wait(r"^FAIL inner .*\n|(^step .*\n){3}")[0]
            self.assertEqual(found, "FAIL inner rbp\n")


class Pae(Handed):
    """With nested paging AMD's processors have no PDPTRs, and KVM hands on what it was given."""

    def test_from_process_to_process(self):
        self.check_generations("pae.elf", chain.pae, lambda m, rng: m.qmp.command("stop"), FEW)


class Shadow(Handed):
    """Where KVM itself makes the tables that are walked, there are PDPTRs, as on Intel's."""

    def stop_between(self, m, rng):
        """Always with PDPTRs that are not those in memory."""
        if not self.seen:
            m.serial.wait("^step 1 ")
        time.sleep(rng.uniform(0, 0.1))
        q = m.qmp
        q.command("stop")
        state = q.command("query-vcpu-state")[0]["sregs"]
        table, has = state["cr3"] & ~31, state["pdptrs"]
        in_memory = [int(word, 16) for line in q.hmp(f"xp /4xg {table:#x}").splitlines()
                     for word in line.split()[1:]]
        self.assertEqual(sorted(in_memory), sorted(has))
        self.seen.add(in_memory != has)
        self.assertIn("\nPDPTR0={:016x} PDPTR1={:016x} PDPTR2={:016x} PDPTR3={:016x}\n"
                      .format(*has), q.hmp("info registers"))
        # The two windows show the two pages, as the PDPTRs have it.
        order = PAGES if has[1] < has[2] else PAGES[::-1]
        tlb = q.hmp("info tlb")
        for window, page in zip(WINDOWS, order):
            self.assertIn(f"\n{window:016x}: {page:016x} ", tlb)
            self.assertEqual(word(q, "x", window), word(q, "xp", page))

    def test_pdptrs_that_are_not_those_in_memory(self):
        self.seen = set()
        text = self.check_generations("pae.elf", chain.pae, self.stop_between, GENERATIONS)
        self.assertIn("pdptrs kept\n", text)
        # Between a MOV CR3 and the swap behind it they do agree, for a moment.
        self.assertIn(True, self.seen)

    def test_pdptrs_are_set(self):
        with Machine("pae.elf") as m:
            q = m.qmp
            m.serial.wait("^step 1 ")
            q.command("stop")
            has = pdptrs(q)
            swapped = {"pdptr1": has[2], "pdptr2": has[1]}
            q.command("set-vcpu-registers", cpu_index=0, registers=swapped)
            self.assertEqual(pdptrs(q), [has[0], has[2], has[1], has[3]])
            # The same as they were: the guest, which would see it, goes on.
            q.command("set-vcpu-registers", cpu_index=0,
                      registers={"pdptr1": has[1], "pdptr2": has[2]})
            q.command("cont")
            m.serial.wait_new("^step [0-9]+ ")
            q.command("stop")
            q.command("set-vcpu-registers", cpu_index=0, registers=swapped)
            q.command("cont")
            m.serial.wait("^FAIL window . has ")

    def test_cr3_loads_them(self):
        with Machine("pae.elf") as m:
            q = m.qmp
            m.serial.wait("^step 1 ")
            q.command("stop")
            has, cr3 = pdptrs(q), q.command("query-vcpu-state")[0]["sregs"]["cr3"]
            q.command("set-vcpu-registers", cpu_index=0, registers={"cr3": cr3})
            self.assertEqual(pdptrs(q), [has[0], has[2], has[1], has[3]])
            q.command("cont")
            m.serial.wait("^FAIL window . has ")

    def test_inside_the_inner_guest(self):
        self.assertIn("nested paging 0\n", self.check_inside(FEW))
