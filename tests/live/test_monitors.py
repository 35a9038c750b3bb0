# SPDX-License-Identifier: MIT
"""Monitors of every kind, and a thousand of them."""

import fcntl
import json
import os
import re
import resource
import shutil
import socket
import subprocess
import termios
import unittest

import vmond

PROMPT = b"(qemu) "
NEGOTIATE = b'{"execute": "qmp_capabilities"}\r\n'
OBSERVES = "This monitor only observes"


def connect(path):
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(vmond.TIMEOUT)
    sock.connect(path)
    return sock


def read_until(sock, end):
    data = b""
    while not data.endswith(end):
        piece = sock.recv(1 << 16)
        if not piece:
            raise AssertionError(f"the stream ends: {data!r}")
        data += piece
    return data


def as_user(path, uid, gid, groups=()):
    """What a process of that user receives at a socket before it ends, or an exception's name."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups(groups)
            os.setgid(gid)
            os.setuid(uid)
            sock = connect(path)
            sock.shutdown(socket.SHUT_WR)
            data = b""
            while piece := sock.recv(4096):
                data += piece
        except OSError as e:
            data = type(e).__name__.encode()
        os.write(writing, data)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as f:
        data = f.read()
    os.waitpid(pid, 0)
    return data.decode()


class Monitors(vmond.LiveTest):
    def listening(self):
        """A listening socket that can be inherited, and its path."""
        path = os.path.join(self.temporary_directory(), "socket")
        sock = socket.socket(socket.AF_UNIX)
        self.addCleanup(sock.close)
        sock.bind(path)
        sock.listen()
        return sock, path

    def test_1000(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard != resource.RLIM_INFINITY and hard < 2048:
            self.skipTest(f"this process may have {hard} descriptors only")
        resource.setrlimit(resource.RLIMIT_NOFILE, (2048, hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        # vmond has to help itself beyond the soft limit.
        with vmond.Machine("long.elf", prefix=["prlimit", "--nofile=256:2048"]) as m:
            before = self.rss(m)
            clients = [m.connect() for _ in range(1000)]
            self.assert_all_hear(m.qmp, clients, 3)
            for q in clients:
                q.send({"execute": "query-status"})
            for q in clients:
                self.assertEqual(q.reply()["return"]["status"], "running")
            self.assertLess(self.rss(m) - before, 32 << 10, "kB for 1000 clients")
            m.serial.wait_new("^step ")

    def rss(self, machine):
        with open(f"/proc/{machine.process.pid}/status", encoding="ascii") as f:
            return int(re.search(r"RssAnon:\s*(\d+)", f.read())[1])

    def test_modes_beside_each_other(self):
        directory = self.temporary_directory()
        paths = {mode: os.path.join(directory, mode) for mode in ("readline", "observe")}
        options = [o for mode, path in paths.items()
                   for o in ("--monitor", f"unix:{path},mode={mode}")]
        with vmond.Machine("long.elf", *options) as m:
            text = connect(paths["readline"])
            self.addCleanup(text.close)
            self.assertRegex(read_until(text, PROMPT), rb"^QEMU 7\.2\.0 monitor - type 'help' ")
            observer = vmond.Qmp(paths["observe"])
            m.clients.append(observer)
            text.sendall(b"stop\r")
            self.assertEqual(read_until(text, PROMPT), b"stop\x1b[K\r\n(qemu) ")
            self.assertIsNone(observer.event("STOP"))
            text.sendall(b"info status\ninfo registers\n")
            said = read_until(text, PROMPT)
            while b"RIP=" not in said or not said.endswith(PROMPT):
                said += read_until(text, PROMPT)
            self.assertIn(b"\r\nVM status: paused\r\n(qemu) info registers\x1b[K\r\n", said)
            self.assertNotRegex(said, rb"[^\r]\n")
            for name in ("cont", "quit", "system_reset"):
                self.assert_refused(observer, OBSERVES, name)
            self.assert_refused(observer, OBSERVES, "human-monitor-command", command_line="cont")
            self.assertEqual(observer.hmp("info status"), "VM status: paused\n")
            self.assertIn("0x", observer.hmp("xp /4xb 0x100000"))
            names = {c["name"] for c in observer.command("query-commands")}
            self.assertEqual({n for n in names if not n.startswith("query-")},
                             {"qmp_capabilities", "human-monitor-command"})
            for name in names:
                arguments = {"target": "vcpu"} if name == "query-stats" else {}
                try:
                    if name.startswith("query-"):
                        observer.command(name, **arguments)
                except vmond.QmpError as e:     # some want arguments, or a device
                    self.assertRegex(e.desc, "is missing|No balloon device")
            self.assertEqual(observer.status(), "paused")
            text.sendall(b"c\n")
            observer.event("RESUME")
            # The line was read when vCPU 0 was chosen: that is the session's, and stays.
            text.sendall(b"cpu 7\nhelp nosuch\n\x04")
            rest = b""
            while piece := text.recv(4096):
                rest += piece
            self.assertIn(b"invalid CPU index\r\n", rest)
            m.serial.wait_new("^step ")
        self.assertEqual(os.listdir(directory), [])

    def test_text_monitor_waits_for_migration(self):
        directory = self.temporary_directory()
        path, saved = os.path.join(directory, "text"), os.path.join(directory, "saved")
        with vmond.Machine("long.elf", "--monitor", f"unix:{path},mode=readline") as m:
            text = connect(path)
            self.addCleanup(text.close)
            read_until(text, PROMPT)
            text.sendall(f"migrate file:{saved}\ninfo status\n".encode())
            said = read_until(text, PROMPT)
            while b"VM status" not in said:
                said += read_until(text, PROMPT)
            self.assertIn(b"\r\n(qemu) info status\x1b[K\r\nVM status: paused (postmigrate)\r\n",
                          said)
            self.assertEqual(m.qmp.command("query-migrate")["status"], "completed")

    @unittest.skipUnless(shutil.which("socat"), "no socat")
    def test_socat(self):
        path = os.path.join(self.temporary_directory(), "text")
        with vmond.Machine("long.elf", "--monitor", f"unix:{path},mode=readline"):
            said = subprocess.run(["socat", "-", f"UNIX-CONNECT:{path}"],
                                  input=b"info status\nnosuch\n", capture_output=True, check=True,
                                  timeout=vmond.TIMEOUT).stdout
            self.assertRegex(said, rb"VM status: running\r\n\(qemu\) nosuch\x1b\[K\r\n"
                                   rb"unknown command: 'nosuch'\r\n\(qemu\) $")

    def test_out_of_band(self):
        sock, path = self.listening()
        with vmond.Machine("long.elf") as m:
            q = m.connect(negotiate=False)
            self.assertEqual(q.greeting["capabilities"], ["oob"])
            q.command("qmp_capabilities", enable=["oob"])
            self.assertEqual(q.command("query-yank"), [])
            # Nobody accepts, and the backlog is full: the migration does not even begin to move.
            sock.listen(0)
            filler = connect(path)
            self.addCleanup(filler.close)
            q.command("migrate", uri=f"unix:{path}")
            self.assertEqual(q.command("query-yank"), [{"type": "migration"}])
            q.send({"exec-oob": "yank", "arguments": {"instances": [{"type": "migration"}]},
                    "id": "now"})
            self.assertEqual(q.reply(), {"return": {}, "id": "now"})
            report = q.command("query-migrate")
            self.assertEqual((report["status"], report["error-desc"]),
                             ("failed", "the migration was yanked"))
            self.assertEqual(q.status(), "running")
            q.send({"exec-oob": "stop", "id": 1})
            self.assertEqual(q.reply()["error"]["desc"], "The command stop does not support OOB")
            q.send({"exec-oob": "query-status"})
            self.assertTrue(q.reply()["return"]["running"])

    def test_inherited(self):
        sock, path = self.listening()
        here, there = socket.socketpair()
        self.addCleanup(here.close)
        fds = (sock.fileno(), there.fileno())
        with vmond.Machine("long.elf", "--monitor", f"fd:{fds[0]},mode=observe",
                           "--monitor", f"fd:{fds[1]}", "--serial-id", "charserial0",
                           pass_fds=fds) as m:
            there.close()
            label = {i["filename"]: i["label"] for i in m.qmp.command("query-chardev")}
            self.assertEqual((label["unix:"], label[f"disconnected:unix:{path},server=on"]),
                             ("compat_monitor2", "compat_monitor1"))
            self.assertEqual(label["file"], "charserial0")
            devices = m.qmp.command("qom-list", path="/machine/unattached")
            serial = next(d["name"] for d in devices if d["type"] == "child<isa-serial>")
            self.assertEqual(m.qmp.command("qom-get", path=f"/machine/unattached/{serial}",
                                           property="chardev"), "charserial0")
            for _ in range(2):
                q = vmond.Qmp(path)
                m.clients.append(q)
                self.assertEqual(q.status(), "running")
                self.assert_refused(q, OBSERVES, "stop")
            here.settimeout(vmond.TIMEOUT)
            read_until(here, b"\r\n")
            here.sendall(NEGOTIATE + b'{"execute": "query-name"}')
            said = read_until(here, b"{}}\r\n")
            while said.count(b"return") < 2:
                said += read_until(here, b"{}}\r\n")
        self.assertTrue(os.path.exists(path))           # not vmond's to remove

    def test_inherited_refused(self):
        for value, why in [("fd:99", "descriptor 99 is not open"),
                           ("fd:0", "descriptor 0 is no socket")]:
            result = vmond.run("run", "--monitor", value)
            self.assertEqual((result.returncode, result.stderr),
                             (2, f"vmond: --monitor {value}: {why}\n"))
        wide = socket.create_server(("0.0.0.0", 0))
        self.addCleanup(wide.close)
        result = vmond.run("run", "--monitor", f"fd:{wide.fileno()}", pass_fds=[wide.fileno()])
        self.assertEqual(result.returncode, 1)
        self.assertIn("neither a Unix socket nor one at a loopback address", result.stderr)

    def test_systemd(self):
        sock, path = self.listening()
        output = os.path.join(self.temporary_directory(), "environment")
        prefix = ["sh", "-c", f'exec 3<&{sock.fileno()}; LISTEN_PID=$$ exec "$@"', "sh"]
        env = {**os.environ, "LISTEN_FDS": "1", "LISTEN_FDNAMES": "qmp"}
        with vmond.Machine("long.elf", "--monitor", "systemd:qmp", prefix=prefix, env=env,
                           pass_fds=[sock.fileno()]) as m:
            q = vmond.Qmp(path)
            m.clients.append(q)
            self.assertEqual(q.status(), "running")
            # What it starts is not told of them.
            q.command("migrate", uri=f"exec:env >{output}; cat >/dev/null")
            vmond.wait_until(lambda: q.command("query-migrate")["status"] == "completed",
                             "the migration")
            with open(output, encoding="utf-8", errors="replace") as f:
                self.assertNotIn("LISTEN_", f.read())
        for more, why in [({}, "no sockets were passed: LISTEN_PID and LISTEN_FDS are not set"),
                          ({"LISTEN_PID": "1", "LISTEN_FDS": "1"}, "LISTEN_PID is 1")]:
            result = vmond.run("run", "--monitor", "systemd", env={**os.environ, **more})
            self.assertEqual(result.returncode, 1)
            self.assertIn(why, result.stderr)

    def test_stdio(self):
        argv = [vmond.PROGRAM, "run", "--kernel", vmond.guest("long.elf"), "--memory", "64M"]
        path = os.path.join(self.temporary_directory(), "other")
        with subprocess.Popen([*argv, "--monitor", "stdio", "--monitor", f"unix:{path}"],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE) as p:
            p.stdin.write(NEGOTIATE + b'{"execute": "query-status"}')
            p.stdin.flush()
            lines = [json.loads(p.stdout.readline()) for _ in range(3)]
            self.assertEqual([list(line) for line in lines], [["QMP"], ["return"], ["return"]])
            p.stdin.write(b'{"execute": "query-chardev"}')
            p.stdin.flush()
            self.assertIn({"label": "compat_monitor0", "filename": "stdio", "frontend-open": True},
                          json.loads(p.stdout.readline())["return"])
            # The end of the input is the end of this client, and of nothing else.
            p.stdin.close()
            q = vmond.Qmp(path)
            self.assertEqual(q.status(), "running")
            vmond.wait_until(lambda: [i["label"] for i in q.command("query-chardev")] ==
                             ["compat_monitor1", "serial0"], "the end of the first monitor")
            q.command("quit")
            q.close()
            self.assertEqual(p.wait(vmond.TIMEOUT), 0)
        done = subprocess.run([*argv, "--monitor", "stdio,mode=readline"], input=b"q\n",
                              stdout=subprocess.PIPE, timeout=vmond.TIMEOUT, check=True)
        self.assertTrue(done.stdout.startswith(b"QEMU 7.2.0 monitor"))

    def test_stdio_in_background(self):
        """The terminal is another job's; it gets its modes when the monitor comes to the front."""
        directory = self.temporary_directory()
        path, fifo = os.path.join(directory, "other"), os.path.join(directory, "fifo")
        os.mkfifo(fifo)
        master, slave = os.openpty()
        self.addCleanup(os.close, master)

        def echoes():
            return bool(termios.tcgetattr(master)[3] & termios.ECHO)

        def lead_session():
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        with subprocess.Popen(
                ["sh", "-c", 'set -m; "$@" & read line < "$0"; fg', fifo, vmond.PROGRAM, "run",
                 "--kernel", vmond.guest("long.elf"), "--memory", "64M", "--monitor",
                 "stdio,mode=readline", "--monitor", f"unix:{path}"], stdin=slave, stdout=slave,
                stderr=slave, preexec_fn=lead_session) as shell:
            os.close(slave)
            q = vmond.connect(path)
            try:
                self.assertTrue(echoes())
                with open(fifo, "w", encoding="ascii") as f:
                    f.write("go on\n")
                vmond.wait_until(lambda: not echoes(), "the terminal's modes")
            finally:
                q.command("quit")
                q.close()
            self.assertEqual(shell.wait(vmond.TIMEOUT), 0)

    def test_tcp(self):
        for address, family in [("127.0.0.1", socket.AF_INET), ("[::1]", socket.AF_INET6)]:
            if family == socket.AF_INET6 and not os.path.exists("/proc/net/if_inet6"):
                continue
            with vmond.Machine("long.elf", "--monitor", f"tcp:{address}:0") as m:
                port = int(re.search(re.escape(f"vmond: --monitor tcp: {address}:") + r"(\d+)\n",
                                     m.stderr())[1])
                with socket.socket(family) as sock:
                    sock.settimeout(vmond.TIMEOUT)
                    sock.connect((address.strip("[]"), port))
                    read_until(sock, b"\r\n")
                    sock.sendall(NEGOTIATE + b'{"execute": "query-status", "id": 1}')
                    self.assertIn(b'"running": true', read_until(sock, b'"id": 1}\r\n'))
                with socket.socket(family) as sock:
                    sock.settimeout(vmond.TIMEOUT)
                    sock.connect((address.strip("[]"), port))
                    sock.sendall(b"POST / HTTP/1.1\r\n\r\n" + NEGOTIATE + b'{"execute": "quit"}')
                    while sock.recv(4096):
                        pass
                self.assertEqual(m.qmp.status(), "running")

    @unittest.skipUnless(os.geteuid() == 0, "needs root, to be somebody else")
    def test_credentials(self):
        options = ["--monitor-allow", "uid:4001", "--monitor-allow", "gid:4002"]
        with vmond.Machine("long.elf") as strict, vmond.Machine("long.elf", *options) as open_:
            for m in (strict, open_):
                os.chmod(m.directory, 0o755)
            self.assertEqual(as_user(strict.monitor_path, 4001, 4001), "PermissionError")
            self.assertEqual(os.stat(strict.monitor_path).st_mode & 0o777, 0o600)
            for uid, gid, groups, allowed in [(4001, 4009, (), True), (4003, 4002, (), True),
                                              (4003, 4009, (4008, 4002), True),
                                              (4003, 4009, (4008,), False), (0, 0, (), True)]:
                said = as_user(open_.monitor_path, uid, gid, groups)
                message = json.loads(said)
                self.assertEqual("QMP" in message, allowed, said)
                if not allowed:
                    self.assertEqual(message["error"]["desc"], f"user {uid} may not use this "
                                     "monitor; see --monitor-allow in vmond(8)")
            for _ in range(20):
                as_user(open_.monitor_path, 4003, 4009)
            self.assertEqual(open_.stderr().count("is refused"), 1)
            self.assertEqual(open_.qmp.status(), "running")

    @unittest.skipUnless(os.geteuid() == 0, "needs root, to be somebody else")
    def test_rules_of_one_monitor(self):
        directory = self.temporary_directory()
        os.chmod(directory, 0o755)
        path = os.path.join(directory, "observe")
        with vmond.Machine("long.elf", "--monitor", f"unix:{path},mode=observe,allow=gid:4002") as m:
            os.chmod(m.directory, 0o755)
            self.assertIn('"QMP"', as_user(path, 4003, 4002))
            self.assertIn("may not use", as_user(path, 4003, 4003))
            self.assertEqual(as_user(m.monitor_path, 4003, 4002), "PermissionError")
