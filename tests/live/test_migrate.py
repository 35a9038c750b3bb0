# SPDX-License-Identifier: MIT
"""A machine that goes from one process to another, by every channel, and back when that fails."""

import json
import os
import random
import socket
import time

import chain
import vmond
from test_snapshot import SnapshotTest, quit_and_read, wait_moved, want_events

COMPLETED = [("MIGRATION", {"status": s}) for s in ("setup", "active", "completed")]


class MigrateTest(vmond.DirectoryTest, SnapshotTest):
    def module(self):
        """A file that makes a guest's memory too large for any buffer on the way."""
        return self.write("module", random.Random(3).randbytes(16 << 20))

    def big(self):
        """A running guest with much in its memory."""
        return vmond.Machine("prot.elf", "--initrd", self.module())

    def send_fd(self, client, name, fd):
        """getfd"""
        request = {"execute": "getfd", "arguments": {"fdname": name}}
        socket.send_fds(client.sock, [json.dumps(request).encode()], [fd])
        self.assertEqual(client.reply().get("return"), {})


class Channels(MigrateTest):
    """One guest through all of them, running and paused, in one chain of checksums."""

    def setUp(self):
        super().setUp()
        self.text = ""

    def hop(self, source, running, *options, uri=None, begin=None, state=None, zstd=False):
        """
        From a machine to the next; begin(destination) lets a deferred one begin, and returns the
        URI for the source unless `uri` is that already.
        """
        destination = vmond.Machine(None, "--incoming", *options, cpus=2)
        self.addCleanup(destination.close)
        q, d = source.qmp, destination.qmp
        want_events(q)
        want_events(d)
        self.assertEqual(d.command("query-status"),
                         {"status": "inmigrate", "running": False, "singlestep": False})
        if begin:
            uri = begin(destination) or uri
        q.command("migrate-set-parameters",
                  multifd_compression="zstd" if zstd else "none", multifd_zstd_level=3)
        if not running:
            q.command("stop")
        q.drain_events()
        q.command("migrate", uri=uri)
        self.assertEqual(wait_moved(q), "completed")
        self.assertEqual(q.command("query-migrate")["status"], "completed")
        self.assertEqual(q.command("query-status"),
                         {"status": "postmigrate", "running": False, "singlestep": False})
        self.assert_refused(q, "previous migration", "migrate", uri=uri)
        self.assertEqual(wait_moved(d), "completed")
        self.assertEqual(d.status(), state or ("running" if running else "paused"))
        self.text += quit_and_read(source)
        come = chain.long(self.text, 2)
        if d.status() != "running":
            d.hmp("info registers -a")
            sync = d.command("query-vcpu-sync")
            self.assertEqual((sync["sets-since-stop"], sync["vm-sets-since-stop"]), (0, 0))
            self.assertEqual(destination.serial.text(), "")
            d.command("cont")
        vmond.wait_until(
            lambda: chain.long(self.text + destination.serial.text(), 2) > come, "a step")
        return destination

    def test_all(self):
        m = vmond.Machine("long.elf", cpus=2)
        self.addCleanup(m.close)
        m.serial.wait("^ap 1 ")
        unix, fifo = "unix:" + self.path("socket"), self.path("fifo")
        os.mkfifo(fifo)

        m = self.hop(m, True, unix, uri=unix)
        m = self.hop(m, False, unix, uri=unix, zstd=True)
        self.assertFalse(os.path.exists(self.path("socket")))

        def listen(d):
            d.qmp.command("migrate-incoming", uri="tcp:127.0.0.1:0")
            info = d.qmp.command("query-migrate")
            self.assertEqual(info["status"], "setup")
            return "tcp:localhost:" + info["socket-address"][0]["port"]
        m = self.hop(m, True, "defer", "--paused", begin=listen, state="paused", zstd=True)
        m = self.hop(m, False, "defer", begin=listen)

        m = self.hop(m, True, "defer", uri=f"exec:cat > {fifo}", zstd=True,
                     begin=lambda d: d.qmp.hmp(f"migrate_incoming \"exec:cat {fifo}\""))
        m = self.hop(m, False, f"exec:cat {fifo}", uri=f"exec:cat > {fifo}")

        for zstd, (reader, writer) in (True, os.pipe()), \
                (False, [s.detach() for s in socket.socketpair()]):
            self.send_fd(m.qmp, "out", writer)
            os.close(writer)

            def by_name(d, reader=reader):
                self.send_fd(d.qmp, "in", reader)
                os.close(reader)
                d.qmp.command("migrate-incoming", uri="fd:in")
            m = self.hop(m, zstd, "defer", uri="fd:out", begin=by_name, zstd=zstd)

        self.text += quit_and_read(m)
        self.assertGreater(chain.long(self.text, 2), 10)

    def test_a_file(self):
        stream = self.path("stream")
        for zstd in "none", "zstd":
            with vmond.Machine("long.elf") as m:
                m.serial.wait("^step 3 ")
                want_events(m.qmp)
                m.qmp.command("migrate-set-parameters", multifd_compression=zstd)
                m.qmp.command("migrate", uri="file:" + stream)
                self.assertEqual(wait_moved(m.qmp), "completed")
                text = m.serial.text()
                # The source can go on, when it is known that nobody else will.
                m.qmp.command("cont")
                m.serial.wait_new("^step ")
                chain.long(m.serial.text(), 1)
            inherit = ("sh", "-c", f"exec \"$@\" 9< {stream}", "sh")
            for uri, prefix in ("file:" + stream, ()), ("fd:9", inherit):
                with vmond.Machine(None, "--incoming", uri, prefix=prefix) as m:
                    # The first line may be the end of one that the source began.
                    m.serial.wait("^step .*\n")
                    self.assertGreater(chain.long(text + m.serial.text(), 1), 3)
            self.assertEqual(os.stat(stream).st_mode & 0o777, 0o600)


class States(MigrateTest):
    def test_events_and_states(self):
        unix = "unix:" + self.path("socket")
        with vmond.Machine("long.elf") as m, vmond.Machine(None, "--incoming", unix) as d:
            m.serial.wait("^step ")
            want_events(m.qmp)
            want_events(d.qmp)
            m.qmp.command("migrate", uri=unix)
            self.assertEqual(wait_moved(m.qmp), "completed")
            self.assertEqual(m.qmp.status(), "postmigrate")
            self.assertEqual(wait_moved(d.qmp), "completed")
            self.assertEqual(d.qmp.status(), "running")
        # What comes between setup and the end, in order, on both sides.
        with vmond.Machine("long.elf") as m, \
                vmond.Machine(None, "--incoming", "defer") as d:
            m.serial.wait("^step ")
            want_events(m.qmp)
            want_events(d.qmp)
            d.qmp.command("migrate-incoming", uri=unix)
            m.qmp.command("migrate", uri=unix)
            for q, between, last in (m.qmp, "STOP", None), (d.qmp, None, "RESUME"):
                events = []
                while not events or events[-1] != COMPLETED[-1]:
                    event = q.events.popleft() if q.events else q.receive()
                    events.append((event["event"], event.get("data")))
                expected = list(COMPLETED)
                if between:
                    expected.insert(1, (between, None))
                if last:
                    expected.insert(2, (last, None))
                self.assertEqual(events, expected)

    def test_stop_and_cont_before_it_has_come(self):
        for paused, say, state in [(False, [], "running"), (True, [], "paused"),
                                   (False, ["stop"], "paused"), (True, ["cont"], "running"),
                                   (True, ["cont", "stop"], "paused")]:
            with self.subTest(paused=paused, say=say), vmond.Machine("long.elf") as m, \
                    vmond.Machine(None, "--incoming", "defer", paused=paused) as d:
                want_events(m.qmp)
                want_events(d.qmp)
                for command in say:
                    d.qmp.command(command)
                    self.assertEqual(d.qmp.status(), "inmigrate")
                d.qmp.hmp("info registers -a")
                d.qmp.command("query-vcpu-state")
                unix = "unix:" + self.path("socket")
                d.qmp.command("migrate-incoming", uri=unix)
                self.assert_refused(d.qmp, "already been started", "migrate-incoming", uri=unix)
                self.assert_refused(d.qmp, "waiting for an incoming", "migrate", uri=unix)
                self.assert_refused(d.qmp, "waiting for an incoming", "snapshot-save",
                                    filename=self.path("a"))
                self.assert_refused(m.qmp, "'-incoming' was not specified", "migrate-incoming",
                                    uri=unix)
                m.qmp.command("migrate", uri=unix)
                self.assertEqual(wait_moved(d.qmp), "completed")
                self.assertEqual(d.qmp.status(), state)
                self.assert_refused(d.qmp, "already been started|not specified",
                                    "migrate-incoming", uri=unix)


    def test_ended_before_it_has_come(self):
        unix = "unix:" + self.path("socket")
        with vmond.Machine(None, "--incoming", unix) as d:
            self.assertEqual(d.qmp.hmp("info status"), "VM status: paused (inmigrate)\n")
            self.assertEqual(d.qmp.command("query-migrate"), {
                "status": "setup",
                "socket-address": [{"type": "unix", "path": self.path("socket")}]})
            self.assertEqual(os.listdir(self.directory), ["socket"])
        self.assertEqual(os.listdir(self.directory), [])
        with vmond.Machine(None, "--incoming", "exec:sleep 1000") as d:
            d.qmp.command("quit")
            self.assertEqual(d.wait_exit(), 0)


class Failures(MigrateTest):
    def still_runs(self, m, moved=None):
        """The source of a failed transfer; `moved` is how it ended."""
        self.assertEqual(wait_moved(m.qmp), moved or "failed")
        self.assertEqual(m.qmp.status(), "running")
        info = m.qmp.command("query-migrate")
        if moved:
            self.assertEqual(info["status"], moved)
            return None
        self.assertIn(info["error-desc"], m.stderr())
        return info["error-desc"]

    def test_a_peer_that_vanishes(self):
        with self.big() as m:
            want_events(m.qmp)
            path = self.path("socket")
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(path)
                listener.listen()
                m.qmp.command("migrate", uri="unix:" + path)
                peer, _ = listener.accept()
                with peer:
                    self.assertTrue(peer.recv(100000))
                    self.assertEqual(m.qmp.status(), "finish-migrate")
                    self.assertEqual(m.qmp.command("query-migrate")["status"], "active")
                    self.assert_refused(m.qmp, "not finalized", "cont")
                    self.assert_refused(m.qmp, "being saved", "system_reset")
                    self.assert_refused(m.qmp, "in progress", "migrate", uri="unix:" + path)
            self.assertIn("other side", self.still_runs(m))
            m.qmp.command("migrate", uri="unix:" + self.path("nobody"))
            self.assertIn("No such file", self.still_runs(m))
            m.qmp.command("migrate", uri="tcp:127.0.0.1:1")
            self.assertIn("refused", self.still_runs(m))
            m.qmp.command("migrate", uri="exec:head -c 1000 > /dev/null; exit 3")
            self.assertTrue(self.still_runs(m))
            m.qmp.command("migrate", uri="exec:cat > /dev/null; exit 3")
            self.assertIn("3", self.still_runs(m))
            self.assert_refused(m.qmp, "valid migration protocol", "migrate", uri="x:y")
            self.assertEqual(m.qmp.status(), "running")

    def test_cancelled(self):
        with self.big() as m, socket.socket(socket.AF_UNIX) as listener:
            want_events(m.qmp)
            m.qmp.command("migrate_cancel")
            listener.bind(self.path("socket"))
            listener.listen()
            for uri in "unix:" + self.path("socket"), "exec:sleep 1000":
                m.qmp.command("migrate", uri=uri)
                vmond.wait_until(
                    lambda: m.qmp.command("query-migrate").get("ram", {}).get("transferred"),
                    "bytes on the way")
                m.qmp.command("migrate_cancel")
                self.still_runs(m, "cancelled")
            # A paused one stays so.
            m.qmp.command("stop")
            m.qmp.command("migrate", uri="exec:sleep 1000")
            self.assertEqual(m.qmp.status(), "finish-migrate")
            m.qmp.command("migrate_cancel")
            self.assertEqual(wait_moved(m.qmp), "cancelled")
            self.assertEqual(m.qmp.status(), "paused")
            # And one that is told to stop on its way.
            m.qmp.command("cont")
            m.qmp.command("migrate", uri="exec:sleep 1000")
            m.qmp.command("stop")
            m.qmp.command("migrate_cancel")
            self.assertEqual(wait_moved(m.qmp), "cancelled")
            self.assertEqual(m.qmp.status(), "paused")
            # The end of the daemon ends what is under way.
            m.qmp.command("migrate", uri="exec:sleep 1000")

    def test_slowly(self):
        with self.big() as m:
            want_events(m.qmp)
            m.qmp.command("migrate-set-parameters", max_bandwidth=100 << 10)
            m.qmp.command("migrate", uri="file:" + self.path("stream"))
            time.sleep(0.3)
            info = m.qmp.command("query-migrate")
            self.assertEqual(info["status"], "active")
            self.assertLess(info["ram"]["transferred"], 1 << 20)
            self.assertGreater(info["expected-downtime"], info["total-time"])
            m.qmp.command("migrate_cancel")
            self.still_runs(m, "cancelled")
            self.assertEqual(os.listdir(self.directory), ["module"])

    def test_a_source_that_dies(self):
        """The destination ends with one line, whatever has come of it."""
        unix = "unix:" + self.path("socket")
        for name, data in ("nothing", b""), ("garbage", b"x" * 100):
            with self.subTest(name):
                d = vmond.Machine(None, "--incoming", unix)
                self.addCleanup(d.close)
                want_events(d.qmp)
                with socket.socket(socket.AF_UNIX) as s:
                    s.connect(self.path("socket"))
                    s.sendall(data)
                self.ends(d)
        with self.big() as m:
            d = vmond.Machine(None, "--incoming", unix)
            self.addCleanup(d.close)
            want_events(d.qmp)
            m.qmp.command("migrate-set-parameters", max_bandwidth=100 << 10)
            m.qmp.command("migrate", uri=unix)
            d.qmp.event("MIGRATION")
            d.qmp.hmp("info registers -a")
            d.qmp.command("pmemsave", val=0, size=4096, filename=self.path("a"))
            m.process.kill()
            m.process.wait()
            m.process.returncode = 0
            os.unlink(m.monitor_path)
            self.ends(d)

    def ends(self, d):
        events = d.qmp.until_eof()
        self.assertEqual(events[-1], ("MIGRATION", {"status": "failed"}))
        self.assertEqual(d.wait_exit(), 1)
        self.assertRegex(d.stderr(), r"\A[^\n]+\n\Z")
        self.assertFalse(os.path.exists(d.monitor_path))

    def test_deferred_can_try_again(self):
        with vmond.Machine("long.elf") as m:
            m.serial.wait("^step 2 ")
            want_events(m.qmp)
            m.qmp.command("migrate", uri="file:" + self.path("stream"))
            self.assertEqual(wait_moved(m.qmp), "completed")
            text = m.serial.text()
        with open(self.path("stream"), "rb") as f:
            data = f.read()
        self.write("short", data[:-20])
        with vmond.Machine(None, "--incoming", "defer") as d:
            want_events(d.qmp)
            self.assert_refused(d.qmp, "No such file", "migrate-incoming",
                                uri="file:/nonexistent")
            self.assert_refused(d.qmp, "unknown migration protocol", "migrate-incoming", uri="x")
            for _ in range(2):
                d.qmp.command("migrate-incoming", uri="file:" + self.path("short"))
                self.assertEqual(wait_moved(d.qmp), "failed")
                self.assertEqual(d.qmp.status(), "inmigrate")
                self.assertIn("ends too early", d.qmp.command("query-migrate")["error-desc"])
            d.qmp.command("migrate-incoming", uri="file:" + self.path("stream"))
            self.assertEqual(wait_moved(d.qmp), "completed")
            d.serial.wait("^step .*\n")
            self.assertGreater(chain.long(text + d.serial.text(), 1), 2)
