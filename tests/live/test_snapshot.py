# SPDX-License-Identifier: MIT
"""Machines that are saved, and clones that go on from there: exactly, whatever was looked at."""

import contextlib
import filecmp
import hashlib
import json
import os
import random
import time

import chain
import ktrace
import vmond
from test_sync import LOOKS, Traced


def wait_moved(qmp):
    """Waits for the end of a transfer; returns its status.  The client wants events."""
    while True:
        status = qmp.event("MIGRATION")["status"]
        if status in ("completed", "failed", "cancelled"):
            return status


def want_events(qmp):
    qmp.command("migrate-set-capabilities",
                capabilities=[{"capability": "events", "state": True}])


def save(m, path, **arguments):
    """snapshot-save, to its end."""
    want_events(m.qmp)
    m.qmp.command("snapshot-save", filename=path, **arguments)
    status = wait_moved(m.qmp)
    if status != "completed":
        raise AssertionError(f"{status}: {m.qmp.command('query-migrate')}")


def quit_and_read(m):
    """Ends a machine; returns what its guest has printed."""
    m.qmp.command("quit")
    if m.wait_exit() != 0:
        raise AssertionError(f"vmond ended with status {m.process.returncode}: {m.stderr()}")
    return m.serial.text()


def clone(path, *options, **kwargs):
    return vmond.Machine(None, "--clone", path, *options, **kwargs)


def digest(path):
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


class SnapshotTest(vmond.LiveTest):
    def saved(self, image, progress, cpus=1, **kwargs):
        """A snapshot of a guest that has come so far; returns its path, and what it has printed."""
        path = os.path.join(self.temporary_directory(), "snapshot")
        with vmond.Machine(image, cpus=cpus, **kwargs) as m:
            m.serial.wait(progress)
            save(m, path, stay=True)
            return path, quit_and_read(m)


class Exact(SnapshotTest):
    """Started paused from saved state, looked at by everything, and continued."""

    def state(self, q):
        """All that can be seen of vCPUs but time, which goes on."""
        vcpus = q.command("query-vcpu-state", msrs=True)
        for vcpu in vcpus:
            vcpu.pop("thread-id", None)
            vcpu["msrs"] = [m for m in vcpu.get("msrs", []) if m["index"] != 0x10]
        return vcpus

    def check_mission(self, image, cpus, checker, progress):
        directory = self.temporary_directory()
        path = os.path.join(directory, "snapshot")
        with vmond.Machine(image, cpus=cpus) as m:
            m.serial.wait(progress)
            m.qmp.command("stop")
            before = self.state(m.qmp)
            save(m, path)
            self.assertEqual(m.qmp.status(), "paused")
            saved = self.state(m.qmp)
            text = quit_and_read(m)
        # What the kernel had put off may have been done to see timers: an interrupt is on its way
        # then, and has woken one that slept.  The guest has not been entered.
        for then, now in zip(before, saved):
            if then["events"]["interrupt"] != now["events"]["interrupt"]:
                self.assertTrue(now["events"]["interrupt"]["injected"])
                then["events"]["interrupt"] = now["events"]["interrupt"]
            if then["halted"] and not now["halted"]:
                then.update(halted=now["halted"], **{"mp-state": now["mp-state"]})
        self.assertEqual(before, saved)
        start = ktrace.now()
        # It was stopped when it was saved: so it is without --paused, too.
        with Traced(None, "--clone", path, cpus=cpus) as m:
            q = m.qmp
            self.assertEqual(q.command("query-status"),
                             {"status": "paused", "running": False, "singlestep": False})
            looked = ktrace.now()
            for _ in range(3):
                for name, look in LOOKS:
                    with contextlib.suppress(vmond.QmpError):
                        look(q, m)
                    self.assertEqual(self.state(q), saved, name)
            sync = q.command("query-vcpu-sync")
            self.assertEqual((sync["sets-since-stop"], sync["vm-sets-since-stop"],
                              sync["policy-since-stop"]), (0, 0, 0))
            self.assertEqual(m.serial.text(), "")
            cont = ktrace.now()
            q.command("cont")
            come = checker(text, cpus)
            vmond.wait_until(lambda: checker(text + m.serial.text(), cpus) > come + 1, "progress")
            m.wait_for_runs()
            trace = m.trace()
            text += m.serial.text()
        checker(text, cpus)

        self.assertEqual(trace.nr_vcpus, cpus)
        _, writes, policy = trace.window(looked, cont)
        self.assertEqual(dict(writes), {})
        self.assertLessEqual(policy["SET_CLOCK"], 1)
        self.assertLessEqual(policy["SET_PIT2"], 1)
        _, writes, _ = trace.window(start, cont)
        for vcpu in range(cpus):
            self.assertGreater(trace.first_run(vcpu), cont, "it ran before it was to")
            self.assertLess(trace.first_run(vcpu), float("inf"))
            # All of it, once.
            for name in "SET_REGS", "SET_XSAVE", "SET_LAPIC", "SET_VCPU_EVENTS":
                self.assertEqual(writes[f"{vcpu}:{name}"], 1, name)
            # The first may be asked before what processor it has of its own.
            self.assertIn(writes[f"{vcpu}:SET_CPUID2"], (1,) if vcpu else (1, 2))
            self.assertEqual(writes[f"{vcpu}:SET_SREGS2"] + writes[f"{vcpu}:SET_SREGS"], 1)

    def test_the_mission(self):
        reason = ktrace.why_not()
        if reason:
            self.skipTest(reason)
        for image, cpus, checker, progress in [
                ("long.elf", 1, chain.long, "^step 5 "), ("long.elf", 4, chain.long, "^ap 3 "),
                ("io-loop.elf", 1, chain.io_loop, "^io 64 "),
                ("real-counter-halt.bin", 1, chain.counter_halt, "^count 16$"),
                ("long-halt.elf", 4, chain.long, "^ap 3 ")]:
            with self.subTest(image, cpus=cpus):
                self.check_mission(image, cpus, checker, progress)

    def test_saved_twice_is_the_same(self):
        for image, cpus, progress in [
                ("long.elf", 4, "^ap 3 "), ("real-counter-halt.bin", 1, "^count 16$"),
                ("long-halt.elf", 4, "^ap 3 "), ("io-loop.elf", 2, "^ap 1 "),
                ("real-hello.bin", 1, "^A$")]:
            with self.subTest(image, cpus=cpus), vmond.Machine(image, cpus=cpus) as m:
                m.cpus = cpus
                m.serial.wait(progress)
                m.qmp.command("stop")
                self.save_repeatedly(m, 0, 1.1)
                first = m.path("first")
                with clone(first, cpus=cpus) as c:
                    c.cpus = cpus
                    self.save_repeatedly(c, 0.3)
                    self.assertTrue(filecmp.cmp(first, c.path("first"), shallow=False),
                                    "a clone's snapshot is not the one it comes from")
                m.qmp.command("cont")
                if image != "real-hello.bin":
                    m.serial.wait_new(progress.split()[0])

    def save_repeatedly(self, m, *pauses):
        save(m, m.path("first"))
        for number, pause in enumerate(pauses):
            for _, look in LOOKS:
                with contextlib.suppress(vmond.QmpError):
                    look(m.qmp, m)
            time.sleep(pause)
            save(m, m.path(f"again-{number}"), stay=bool(number))
            self.assertTrue(filecmp.cmp(m.path("first"), m.path(f"again-{number}"),
                                        shallow=False), f"it is another after {pause} s")
            self.assertEqual(m.qmp.status(), "paused")

    def test_before_its_first_run(self):
        """Run states are part of what is saved."""
        path = os.path.join(self.temporary_directory(), "snapshot")
        with vmond.Machine("long.elf", cpus=2, paused=True) as m:
            save(m, path)
            self.assertEqual(m.qmp.status(), "prelaunch")
            save(m, path + "2")
            self.assertTrue(filecmp.cmp(path, path + "2", shallow=False))
            m.qmp.command("cont")
            m.serial.wait("^ap 1 ")
        for options in ["--clone", path], ["--incoming", "file:" + path]:
            with vmond.Machine(None, *options, cpus=2) as m:
                vmond.wait_until(lambda: m.qmp.status() != "inmigrate", "the state to come")
                self.assertEqual(m.qmp.status(), "prelaunch")
                m.qmp.command("cont")
                m.serial.wait("^ap 1 ")
                chain.long(m.serial.text(), 2)

    def test_a_guest_that_has_ended(self):
        path = os.path.join(self.temporary_directory(), "snapshot")
        with vmond.Machine("powerdown.bin", "--no-shutdown", typed=True) as m:
            m.serial.wait("^powerdown$")
            m.type("x")
            m.qmp.event("SHUTDOWN")
            save(m, path)
            self.assertEqual(m.qmp.status(), "shutdown")
            self.assertEqual(m.stderr(), "")
        with clone(path, "--kernel", vmond.guest("powerdown.bin")) as m:
            self.assertEqual(m.qmp.status(), "shutdown")
            self.assert_refused(m.qmp, "Resetting", "cont")
            m.qmp.command("system_reset")
            self.assertEqual(m.qmp.status(), "prelaunch")
            m.qmp.command("cont")
            m.serial.wait("^powerdown$")
        with vmond.Machine("internal-error.elf", typed=True) as m:
            m.serial.wait("^internal-error$")
            m.type("x")
            m.qmp.event("STOP")
            save(m, path)
            self.assertEqual(m.qmp.status(), "internal-error")
        with clone(path) as m:
            self.assertEqual(m.qmp.status(), "internal-error")
            self.assertEqual(m.qmp.command("query-vcpu-state")[0]["regs"]["rip"], 0xd0000000)
            self.assert_refused(m.qmp, "Resetting", "cont")


class Saving(SnapshotTest):
    def test_states_and_events(self):
        with vmond.Machine("long.elf", cpus=2) as m:
            q = m.qmp
            m.serial.wait("^step 2 ")
            self.assertEqual(q.command("query-migrate"), {})
            save(m, m.path("a"))
            # Who asks when it is complete finds the final state.
            self.assertEqual(q.status(), "running")
            q.events.clear()
            q.command("snapshot-save", filename=m.path("a"))
            events = []
            while not events or events[-1] != ("MIGRATION", {"status": "completed"}):
                event = q.events.popleft() if q.events else q.receive()
                events.append((event["event"], event.get("data")))
            self.assertEqual(events, [("MIGRATION", {"status": "setup"}), ("STOP", None),
                                      ("MIGRATION", {"status": "active"}), ("RESUME", None),
                                      ("MIGRATION", {"status": "completed"})])
            info = q.command("query-migrate")
            self.assertEqual(info["status"], "completed")
            self.assertEqual(info["ram"]["remaining"], 0)
            self.assertEqual(info["ram"]["total"], 64 << 20)
            save(m, m.path("a"), stay=True)
            self.assertEqual(q.status(), "paused")
            self.assertEqual(q.drain_events(), [])
            save(m, m.path("a"))
            q.hmp("snapshot_save -s " + m.path("b"))
            self.assertEqual(wait_moved(q), "completed")
            self.assertTrue(filecmp.cmp(m.path("a"), m.path("b"), shallow=False))
            self.assertEqual(os.stat(m.path("b")).st_mode & 0o777, 0o600)
            q.command("cont")
            m.serial.wait_new("^step ")
            self.assertEqual(sorted(os.listdir(m.directory)),
                             ["a", "b", "monitor", "serial", "stderr"])

    def test_what_can_not_be_saved(self):
        with vmond.Machine("long.elf") as m:
            m.serial.wait("^step ")
            want_events(m.qmp)
            for name, desc in [("/dev/null", "no regular file"), (m.directory, "a directory"),
                               ("/nonexistent/file", "No such file"), ("", "empty"),
                               ("/dev/fdset/1", "name")]:
                try:
                    m.qmp.command("snapshot-save", filename=name)
                    self.assertEqual(wait_moved(m.qmp), "failed")
                    self.assertEqual(m.qmp.status(), "running")
                    text = m.qmp.command("query-migrate")["error-desc"]
                    self.assertIn(text, m.stderr())
                except vmond.QmpError as e:
                    text = e.desc
                self.assertRegex(text, desc)
            # A machine that was to stay stopped behind a save that has failed goes on, too.
            m.qmp.command("snapshot-save", filename="/dev/null", stay=True)
            self.assertEqual(wait_moved(m.qmp), "failed")
            self.assertEqual(m.qmp.status(), "running")
            m.serial.wait_new("^step ")

    def test_a_disk_that_is_full(self):
        # The limit is of the process: its serial port's file stays below it.
        with vmond.Machine("long.elf", prefix=("prlimit", "--fsize=65536")) as m:
            m.serial.wait("^step ")
            with open(m.path("old"), "w", encoding="ascii") as f:
                f.write("old")
            want_events(m.qmp)
            for name, arguments in [("snapshot-save", {"filename": m.path("old")}),
                                    ("migrate", {"uri": "file:" + m.path("old")}),
                                    ("migrate", {"uri": "file:/dev/full"})]:
                with self.subTest(name, **arguments):
                    m.qmp.command(name, **arguments)
                    self.assertEqual(wait_moved(m.qmp), "failed")
                    self.assertEqual(m.qmp.status(), "running")
                    text = m.qmp.command("query-migrate")["error-desc"]
                    self.assertRegex(text, "File too large|No space left")
                    self.assertIn(text, m.stderr())
                    with open(m.path("old"), encoding="ascii") as f:
                        self.assertEqual(f.read(), "old")
                    self.assertEqual(sorted(os.listdir(m.directory)),
                                     ["monitor", "old", "serial", "stderr"])
                    m.serial.wait_new("^step ")

    def test_killed_while_it_saves(self):
        rng = random.Random(1)
        directory = self.temporary_directory()
        path, module = os.path.join(directory, "snapshot"), os.path.join(directory, "module")
        with open(module, "wb") as f:
            f.write(rng.randbytes(24 << 20))            # so that it takes a while
        start = ["--append", "x", "--initrd", module]
        with vmond.Machine("prot.elf", *start) as m:
            m.serial.wait("^cmdline")
            began = time.monotonic()
            save(m, path)
            took = time.monotonic() - began
        old, killed_during = digest(path), 0
        for _ in range(12):
            with vmond.Machine(None, "--clone", path, paused=True) as m:
                m.qmp.command("cont")
                time.sleep(0.01)
                m.qmp.send({"execute": "snapshot-save", "arguments": {"filename": path}})
                time.sleep(rng.uniform(0, took))
                m.process.kill()
                m.process.wait()
                os.unlink(m.monitor_path)
                m.process.returncode = 0                # as we wanted it
            if digest(path) == old:
                killed_during += 1
            old = digest(path)
            # What was begun beside it has another name, and is in nobody's way.
            for name in set(os.listdir(directory)) - {"snapshot", "module"}:
                self.assertRegex(name, r"^snapshot\.......$")
                os.unlink(os.path.join(directory, name))
        self.assertGreater(killed_during, 0)
        with clone(path) as m:
            self.assertEqual(m.qmp.status(), "running")
            m.qmp.hmp("info registers")
            self.assertEqual(m.qmp.status(), "running")

    def test_stopped_and_continued_meanwhile(self):
        """Who says stop to a machine that is being saved means it."""
        module = os.path.join(self.temporary_directory(), "module")
        with open(module, "wb") as f:
            f.write(random.Random(2).randbytes(24 << 20))
        with vmond.Machine("prot.elf", "--initrd", module) as m:
            m.serial.wait("^memory")
            want_events(m.qmp)
            m.qmp.send(b"".join(json.dumps(c).encode() for c in (
                {"execute": "snapshot-save", "arguments": {"filename": m.path("a")}, "id": 1},
                {"execute": "query-status", "id": 2}, {"execute": "cont", "id": 3},
                {"execute": "system_reset", "id": 4}, {"execute": "stop", "id": 5},
                {"execute": "snapshot-save", "arguments": {"filename": m.path("b")}, "id": 6})))
            replies = [m.qmp.reply() for _ in range(6)]
            self.assertEqual(replies[1]["return"]["status"], "save-vm")
            self.assertIn("being saved", replies[2]["error"]["desc"])
            self.assertIn("being saved", replies[3]["error"]["desc"])
            self.assertEqual(replies[4]["return"], {})
            self.assertIn("in progress", replies[5]["error"]["desc"])
            self.assertEqual(wait_moved(m.qmp), "completed")
            self.assertEqual(m.qmp.status(), "paused")
            # Cancelled: the machine is as it was, with no file.
            m.qmp.command("cont")
            m.qmp.command("snapshot-save", filename=m.path("b"))
            m.qmp.command("migrate_cancel")
            self.assertEqual(wait_moved(m.qmp), "cancelled")
            self.assertEqual(m.qmp.status(), "running")
            self.assertEqual(sorted(os.listdir(m.directory)),
                             ["a", "monitor", "serial", "stderr"])


class Clones(SnapshotTest):
    def test_many_at_once(self):
        path, text = self.saved("long.elf", "^ap 1 ", cpus=2)
        come = chain.long(text, 2)
        with contextlib.ExitStack() as stack:
            clones = [stack.enter_context(clone(path, "--name", f"clone-{i}", cpus=2,
                                                paused=True)) for i in range(20)]
            for i, m in enumerate(clones):
                m.cpus = 2
                self.assertEqual(m.qmp.command("query-name"), {"name": f"clone-{i}"})
                for _, look in LOOKS:
                    look(m.qmp, m)
            for m in clones:
                m.qmp.command("cont")
            for m in clones:
                vmond.wait_until(lambda: chain.long(text + m.serial.text(), 2) > come, "a step")
                self.assertEqual(m.qmp.status(), "running")

    def test_memory_is_shared_and_launch_does_not_depend_on_its_size(self):
        reason = ktrace.why_not()
        if reason:
            self.skipTest(reason)
        counts, private = [], []
        for memory in "64M", "1G":
            path, _ = self.saved("long.elf", "^step 2 ", memory=memory)
            with Traced(None, "--clone", path, paused=True) as m:
                m.qmp.command("query-status")
                private.append(self.private_kib(m.process.pid))
                trace = m.trace()
                counts.append(len(trace.calls))
        self.assertEqual(counts[0], counts[1], "ioctls to start a clone")
        self.assertLess(private[1] - private[0], 1024)

    @staticmethod
    def private_kib(pid):
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
            return sum(int(line.split()[1]) for line in f if line.startswith("Private_"))

    def test_a_new_generation(self):
        path, _ = self.saved("long.elf", "^step 2 ")
        given = "00112233-4455-6677-8899-aabbccddeeff"
        contents = []
        for options in [], ["--generation-id", given], ["--generation-id", "auto"], \
                ["--generation-id", "auto"]:
            with clone(path, *options, paused=True) as m:
                m.qmp.command("pmemsave", val=0, size=1 << 20, filename=m.path("low"))
                with open(m.path("low"), "rb") as f:
                    contents.append(f.read())
                self.assertEqual(m.stderr(), "")
                sync = m.qmp.command("query-vcpu-sync")
                self.assertEqual((sync["sets-since-stop"], sync["vm-sets-since-stop"]), (0, 0))
                m.qmp.command("cont")
                m.serial.wait("^step ")
        base, *others = contents
        places = []
        for other in others:
            different = [i for i in range(len(base)) if base[i] != other[i]]
            self.assertTrue(different)
            places.append(different[0] & ~15)
            self.assertLess(different[-1] - places[-1], 16)
        self.assertEqual(len(set(places)), 1)
        # As a GUID is in memory.
        self.assertEqual(others[0][places[0]:places[0] + 16],
                         bytes.fromhex("33221100554477668899aabbccddeeff"))
        self.assertNotEqual(others[1], others[2])


class BadFiles(SnapshotTest):
    def refused(self, *options):
        """A daemon that must not start; returns the one line that it says."""
        directory = self.temporary_directory()
        done = vmond.run("run", "--monitor", f"unix:{directory}/monitor", "--serial",
                         f"unix:{directory}/serial", "--pidfile", f"{directory}/pid", *options)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual(done.stdout, "")
        self.assertRegex(done.stderr, r"\A[^\n]+\n\Z")
        self.assertEqual(os.listdir(directory), [])
        return done.stderr

    def variant(self, path, change):
        with open(path, "rb") as f:
            data = bytearray(f.read())
        data = change(data)
        name = path + ".bad"
        with open(name, "wb") as f:
            f.write(data)
        return name

    def test_damaged(self):
        path, _ = self.saved("long.elf", "^step 2 ", cpus=2, memory="4M")
        size = os.path.getsize(path)

        def cut(to):
            return lambda data: data[:to]

        def flip(at):
            def change(data):
                data[at] ^= 0x10
                return data
            return change

        changes = [("empty", cut(0)), ("a byte short", cut(size - 1)), ("half", cut(size // 2)),
                   ("header alone", cut(64)), ("part of the state", cut(3000)),
                   ("magic", flip(0)), ("state", flip(2000)), ("version", flip(9)),
                   ("longer", lambda data: data + b"x")]
        for name, change in changes:
            bad = self.variant(path, change)
            for options in ["--clone", bad], ["--incoming", "file:" + bad, "--cpus", "2",
                                              "--memory", "4M"], \
                    ["--incoming", f"exec:cat {bad}", "--cpus", "2", "--memory", "4M"]:
                with self.subTest(name, options=options):
                    line = self.refused(*options)
                    if options[0] == "--clone":
                        self.assertIn(bad, line)

    def test_another_machine(self):
        path, _ = self.saved("long.elf", "^step 2 ", cpus=2)
        self.assertRegex(self.refused("--incoming", "file:" + path, "--memory", "64M"),
                         "2 vCPUs.*--cpus 2")
        self.assertRegex(self.refused("--incoming", "file:" + path, "--cpus", "2"),
                         f"{64 << 20} bytes of memory.*--memory {64 << 10}K")
        self.assertRegex(self.refused("--clone", "/nonexistent/file"),
                         "/nonexistent/file: No such file")
        self.assertRegex(self.refused("--clone", vmond.guest("long.elf")), "long.elf")
        self.assertRegex(self.refused("--clone", os.path.dirname(path)), os.path.dirname(path))

    def test_a_stream_is_no_clone(self):
        directory = self.temporary_directory()
        stream = os.path.join(directory, "stream")
        with vmond.Machine("long.elf") as m:
            want_events(m.qmp)
            m.qmp.command("migrate", uri="file:" + stream)
            self.assertEqual(wait_moved(m.qmp), "completed")
        self.assertRegex(self.refused("--clone", stream),
                         "can not be mapped.*--incoming file:.*snapshot-save")
        with open(stream, "rb") as f:
            data = f.read()
        for size in 0, 10, 100, 5000, len(data) // 2, len(data) - 1:
            with open(stream, "wb") as f:
                f.write(data[:size])
            self.assertRegex(self.refused("--incoming", "file:" + stream, "--memory", "64M"),
                             "ends too early")
