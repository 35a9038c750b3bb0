# SPDX-License-Identifier: MIT
"""A Debian guest under load, saved and started again from that state, many times."""

import os
import re
import time

import linux
import vmond

CLONES = 20
CPUS = 2
# How far a clone's clock may be from the host's, and how far it may jump, in seconds; it does not
# matter when the clone was started.
GAP = 5

QUERIES = ["query-status", "query-cpus-fast", "query-vcpu-state", "query-vcpu-sync",
           "query-migrate", "query-name", "query-uuid", "query-kvm"]


class Clones(linux.LinuxTest):
    options = {"cpus": CPUS, "memory": "256M", "append": linux.BRIEF}

    def save(self, machine, path):
        """Saves it, and leaves it stopped; returns what the guest has printed up to then."""
        machine.qmp.command("migrate-set-capabilities",
                            capabilities=[{"capability": "events", "state": True}])
        machine.qmp.command("snapshot-save", filename=path, stay=True)
        while (status := machine.qmp.event("MIGRATION")["status"]) != "completed":
            self.assertIn(status, ("setup", "active"))
        self.assertEqual(machine.qmp.status(), "paused")
        return machine.serial.text()

    def look(self, machine):
        q = machine.qmp
        for name in QUERIES:
            q.command(name)
        for line, shape in linux.LOOKS:
            text = q.hmp(line)
            self.assertNotEqual(text, "", line)
            if shape:
                rows = [row for row in text.splitlines() if not re.fullmatch(shape, row)]
                self.assertEqual(rows[:3], [], line)
        sync = q.command("query-vcpu-sync")
        self.assertEqual((sync["sets-since-stop"], sync["vm-sets-since-stop"]), (0, 0))

    def go_on(self, snapshot, before, end):
        """A clone that is looked at, goes on, and then does what `end` says with it."""
        with vmond.Machine(None, "--clone", snapshot, typed=True, paused=True) as m:
            self.assertEqual(m.qmp.status(), "paused")
            self.look(m)
            started = time.monotonic()
            m.qmp.command("cont")
            sync = m.qmp.command("query-vcpu-sync")
            self.assertEqual((sync["sets-since-stop"], sync["vm-sets-since-stop"]), (0, 0))
            # A clock that started anew would stand still until it has caught up.
            tick = m.serial.wait(linux.TICK)
            _, last = re.findall(linux.TICK, before, re.M)[-1]
            gone = time.monotonic() - started
            self.assertLess(abs(float(tick[2]) - float(last) - gone), GAP)
            # Each of the loops comes round, so each vCPU and the timer go on.
            for loop in "tick", *(f"sum {cpu}" for cpu in range(CPUS)):
                m.serial.wait_new(rf"^vmond-lab: {loop} .*\n")
            return end(m, before)

    def check(self, machine, before):
        text = before + machine.serial.text()
        self.assert_load_right(text[:text.rindex("\n") + 1], CPUS)
        at = [float(up) for _, up in re.findall(linux.TICK, text, re.M)]
        self.assertLess(max(b - a for a, b in zip(at, at[1:])), GAP)

    def check_and_save(self, machine, before):
        self.check(machine, before)
        path = os.path.join(self.directory, "second")
        return before + self.save(machine, path), path

    def test_clones(self):
        m, self.directory = self.machine, self.temporary_directory()
        snapshot = os.path.join(self.directory, "first")
        start = len(m.serial.text())
        m.type("load\ntick\n")
        for loop in "tick", *(f"sum {cpu}" for cpu in range(CPUS)):
            m.serial.wait(rf"^vmond-lab: {loop} .*\n")
        before = self.save(m, snapshot)[start:]
        for number in range(CLONES):
            with self.subTest(clone=number):
                self.go_on(snapshot, before, self.check)
        with self.subTest("the clone of a clone"):
            before, second = self.go_on(snapshot, before, self.check_and_save)
            self.go_on(second, before, self.check)
        # The one that was saved goes on as well.
        m.qmp.command("cont")
        m.serial.wait_new(r"^vmond-lab: tick .*\n")
        text = m.serial.text()[start:]
        self.assert_load_right(text[:text.rindex("\n") + 1], CPUS)
