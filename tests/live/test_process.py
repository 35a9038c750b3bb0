# SPDX-License-Identifier: MIT
"""The process: background, pidfile, configuration file."""

import fcntl
import json
import os
import signal
import socket
import subprocess

import vmond


class Process(vmond.DirectoryTest):
    def options(self):
        return ["--kernel", vmond.guest("long.elf"), "--monitor", "unix:" + self.path("monitor"),
                "--serial", "file:" + self.path("serial"), "--pidfile", self.path("pid")]

    def daemonize(self, *options):
        """Starts one in the background; it is ready when this returns.  Returns pid and client."""
        done = vmond.run("run", *self.options(), "--daemonize", *options)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
        with open(self.path("pid"), encoding="ascii") as f:
            pid = int(f.read())
        self.addCleanup(self.kill, pid)
        client = vmond.Qmp(self.path("monitor"))
        self.addCleanup(client.close)
        return pid, client

    @staticmethod
    def is_there(pid):
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii") as f:
                if f.read().rsplit(")", 1)[1].split()[0] != "Z":
                    return True
            # Its other threads may still hold what it had open.
            return len(os.listdir(f"/proc/{pid}/task")) > 1
        except (FileNotFoundError, ProcessLookupError):     # the latter if it goes meanwhile
            return False

    def kill(self, pid):
        if self.is_there(pid):
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                if self.directory.encode() in f.read():
                    os.kill(pid, signal.SIGKILL)

    def assert_gone(self, pid):
        vmond.wait_until(lambda: not self.is_there(pid), f"the end of process {pid}")
        self.assertEqual(os.listdir(self.directory), ["serial"])

    def test_daemonize(self):
        pid, q = self.daemonize("--name", "background")
        self.assertEqual(q.command("query-name"), {"name": "background"})
        for fd in 0, 1, 2:
            self.assertEqual(os.readlink(f"/proc/{pid}/fd/{fd}"), "/dev/null")
        with open(f"/proc/{pid}/stat", encoding="ascii") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        self.assertNotEqual(int(fields[3]), os.getsid(0), "the session of whoever started it")
        self.assertEqual(fields[4], "0", "a controlling terminal")
        serial = vmond.Serial(self.path("serial"))
        self.addCleanup(serial.close)
        serial.wait("^step ")
        q.command("stop")
        q.command("cont")
        serial.wait_new("^step ")
        q.command("quit")
        self.assert_gone(pid)

    def test_daemonize_and_terminate(self):
        pid, q = self.daemonize()
        os.kill(pid, signal.SIGTERM)
        self.assertEqual(q.event("SHUTDOWN"), {"guest": False, "reason": "host-signal"})
        self.assert_gone(pid)

    def test_daemonize_failure(self):
        """The error comes out of the foreground process."""
        done = vmond.run("run", *self.options(), "--daemonize", "--initrd", self.path("nosuch"))
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"\Avmond[^\n]*: [^\n]+\n\Z")
        self.assertFalse(os.path.exists(self.path("pid")))
        self.assertFalse(os.path.exists(self.path("monitor")))

    def test_pidfile(self):
        with vmond.Machine("long.elf", "--pidfile", self.path("pid")) as m:
            with open(self.path("pid"), encoding="ascii") as f:
                self.assertEqual(f.read(), f"{m.process.pid}\n")
            done = vmond.run("run", *self.options())
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, f"{self.path('pid')}.*{m.process.pid}")
            with open(self.path("pid"), encoding="ascii") as f:
                self.assertEqual(f.read(), f"{m.process.pid}\n")
            self.assertFalse(os.path.exists(self.path("monitor")))
        self.assertFalse(os.path.exists(self.path("pid")))
        with open(self.path("pid"), "w", encoding="ascii") as f:
            f.write("99999999\n")       # of one that died
        with vmond.Machine("long.elf", "--pidfile", self.path("pid")) as m:
            with open(self.path("pid"), encoding="ascii") as f:
                self.assertEqual(f.read(), f"{m.process.pid}\n")

    def test_killed_process_is_replaced(self):
        """What SIGKILL leaves behind does not keep the next one from starting."""
        pid, _ = self.daemonize()
        os.kill(pid, signal.SIGKILL)
        vmond.wait_until(lambda: not self.is_there(pid), "its end")
        self.assertTrue(os.path.exists(self.path("monitor")))
        pid, q = self.daemonize()
        self.assertEqual(q.status(), "running")
        q.command("quit")
        self.assert_gone(pid)

    def test_config_file(self):
        config = {"kernel": vmond.guest("long.elf"), "cpus": 3, "memory": "64M",
                  "monitor": ["unix:" + self.path("monitor")], "name": "from file",
                  "serial": "file:" + self.path("serial"), "paused": True}
        with open(self.path("config"), "w", encoding="utf-8") as f:
            json.dump(config, f)
        with vmond.Machine(None, "--config", self.path("config"), "--name", "given") as m:
            self.assertEqual(m.qmp.status(), "prelaunch")
            self.assertEqual(m.qmp.command("query-name"), {"name": "given"})
            self.assertEqual(len(m.qmp.command("query-cpus-fast")), 1)  # --cpus beats the file

    def test_nothing_is_inherited(self):
        """No descriptor but its own."""
        with vmond.Machine("long.elf") as m:
            names = [os.readlink(f"/proc/{m.process.pid}/fd/{fd}")
                     for fd in os.listdir(f"/proc/{m.process.pid}/fd")]
            self.assertEqual(sum("kvm-vm" in n for n in names), 1)
            self.assertEqual(sum("kvm-vcpu" in n for n in names), 1)
            self.assertFalse([n for n in names if n.startswith(os.path.dirname(vmond.HERE))])

    def test_output_that_stalls(self):
        """A reader that takes some of standard output, and no more, does not hold up the end."""
        ours, theirs = socket.socketpair()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)       # the least: 4608
        argv = [vmond.PROGRAM, "run", "--kernel", vmond.guest("long.elf"), "--memory", "64M",
                "--log-level", "info", "--serial", "stdio", "--monitor",
                "unix:" + self.path("monitor")]
        with ours, theirs, open(self.path("stderr"), "wb") as stderr, \
             subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=theirs, stderr=stderr) as p:
            try:
                q = vmond.connect(self.path("monitor"))
                # Two for a byte, so that more is in the queue than the socket has room for.
                vmond.wait_until(lambda: self.exits(q) > 16000, "output")
                p.terminate()
                vmond.wait_until(lambda: "SIGTERM" in self.stderr(), "the beginning of the end")
                ours.recv(65536)
                self.assertEqual(p.wait(vmond.TIMEOUT), 0)
                self.assertFalse(fcntl.fcntl(theirs, fcntl.F_GETFL) & os.O_NONBLOCK)
                q.close()
            finally:
                p.kill()
        self.assertIn("bytes of output were dropped", self.stderr())

    def exits(self, q):
        result = q.command("query-stats", target="vcpu",
                           providers=[{"provider": "kvm", "names": ["exits"]}])
        if not result:
            self.skipTest("this kernel's KVM has no statistics")
        return result[0]["stats"][0]["value"]

    def stderr(self):
        with open(self.path("stderr"), encoding="utf-8") as f:
            return f.read()

    def test_pseudo_terminal(self):
        with vmond.Machine("panic.bin", serial="pty") as m:
            name = m.stderr()[len("vmond: --serial pty: "):-1]
            self.assertEqual(m.stderr(), f"vmond: --serial pty: {name}\n")
            for said in b"events 3\n", b"on\n":
                fd = os.open(name, os.O_RDWR | os.O_NOCTTY)
                text = b""
                while len(text) < len(said):
                    text += os.read(fd, 64)
                self.assertEqual(text, said)
                os.write(fd, b"0")
                os.close(fd)
            self.assertEqual(m.qmp.status(), "running")
