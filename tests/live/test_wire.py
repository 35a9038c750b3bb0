# SPDX-License-Identifier: MIT
"""Clients that misbehave, while the guest runs: it runs on, and the others are served."""

import os
import signal
import socket
import time

import vmond


class Wire(vmond.LiveTest):
    def setUp(self):
        self.machine = vmond.Machine("long.elf", cpus=2)
        self.addCleanup(self.machine.close, check=True)
        self.machine.serial.wait("^ap 1 ")

    def raw(self):
        """A connection on which nothing has been said or read."""
        sock = socket.socket(socket.AF_UNIX)
        self.addCleanup(sock.close)
        sock.settimeout(vmond.TIMEOUT)
        sock.connect(self.machine.monitor_path)
        return sock

    def assert_well(self):
        self.assertEqual(self.machine.qmp.status(), "running")
        self.machine.serial.wait_new("^step ")
        self.assertNotIn("FAIL", self.machine.serial.text())

    def test_greeting(self):
        greeting = self.machine.qmp.greeting
        self.assertEqual(set(greeting), {"version", "capabilities"})
        self.assertEqual(set(greeting["version"]), {"qemu", "package"})
        q = self.machine.connect(negotiate=False)
        with self.assertRaises(vmond.QmpError) as caught:
            q.command("query-status")
        self.assertEqual(caught.exception.error_class, "CommandNotFound")
        self.assertEqual(caught.exception.desc,
                         "Expecting capabilities negotiation with 'qmp_capabilities'")
        self.machine.qmp.command("stop")
        self.machine.qmp.command("cont")
        q.command("qmp_capabilities")
        self.assertEqual(q.drain_events(), [])          # not what came before
        self.assert_refused(q, "negotiation is already complete", "qmp_capabilities")

    def test_malformed_bytes(self):
        q = self.machine.connect()
        for data in (b"}", b"]", b"{]\n", b"\xff", b"\x00", b"hello ", b"{'execute': nonsense}",
                     b'{"execute": "query-na\xff', b'"\\ud800" ', b"[" * 1025, b"01 ", b"1e999 ",
                     b'{"execute": "stop", "execute": "cont"}', b"\xef\xbb\xbf", b"\x1b[A"):
            with self.subTest(data[:20]):
                # A control character puts the stream back in order, if it was not.
                q.send(data + b"\xff")
                q.send({"execute": "query-status", "id": "after"})
                while (message := q.reply()).get("id") != "after":
                    self.assertEqual(message["error"]["class"], "GenericError")
                self.assertEqual(message["return"]["status"], "running")
        for request, desc, has_id in [
                (b"[1]", "QMP input must be a JSON object", False),
                (b'{"id": 9}', "QMP input lacks member 'execute'", True),
                (b'{"execute": 5, "id": 9}', "QMP input member 'execute' must be a string", True),
                (b'{"execute": "stop", "x": 1, "id": 9}', "QMP input member 'x' is unexpected",
                 True),
                (b'{"execute": "stop", "arguments": [], "id": 9}',
                 "QMP input member 'arguments' must be an object", True),
                (b'{"execute": "stop", "arguments": {"a": 1}, "id": 9}',
                 "Parameter 'a' is unexpected", True),
                (b'{"execute": "memsave", "arguments": {"val": "x", "size": 1, "filename": ""},'
                 b' "id": 9}',
                 "Invalid parameter type for 'val', expected: integer", True)]:
            with self.subTest(request):
                q.send(request)
                message = q.reply()
                self.assertEqual(message["error"]["desc"], desc)
                self.assertEqual("id" in message, has_id)
        q.send(b'{"execute": "nosuch"}')
        self.assertEqual(q.reply()["error"],
                         {"class": "CommandNotFound",
                          "desc": "The command nosuch has not been found"})
        self.assert_well()

    def test_split_and_glued(self):
        q = self.machine.connect()
        request = b'{"execute": "query-status", "id": "\\u00fc"}'
        for i in range(len(request)):
            q.send(request[i:i + 1])
        self.assertEqual(q.reply()["id"], "\u00fc")
        q.send(request * 100)
        for _ in range(100):
            self.assertEqual(q.reply()["return"]["status"], "running")
        self.assert_well()

    def test_bad_memory_requests(self):
        q = self.machine.qmp
        directory = self.temporary_directory()
        path = os.path.join(directory, "f")
        self.assert_refused(q, "Invalid addr 0x.*/size .* specified", "memsave",
                            val=1 << 40, size=16, filename=path)
        self.assert_refused(q, "Could not open '.*nosuch/f': No such file or directory",
                            "memsave", val=0x200000, size=16,
                            filename=os.path.join(directory, "nosuch/f"))
        self.assert_refused(q, "'cpu-index' expects a CPU number", "memsave", val=0x200000,
                            size=16, filename=path, cpu_index=2)
        self.assert_refused(q, "(?i)No space|write|/dev/full", "pmemsave", val=0, size=1 << 20,
                            filename="/dev/full")
        self.assertIn("Cannot access memory", q.hmp("x /1xg 0x123456789000"))
        self.assert_well()

    def test_vanished_clients(self):
        for _ in range(50):
            sock = self.raw()
            sock.sendall(b'{"execute": "qmp_capabilities"}{"execute": "query-qmp-schema"}' * 3)
            sock.close()                # with replies on their way
        for _ in range(20):
            self.raw().close()
        sock = self.raw()
        sock.sendall(b'{"execute": ')
        sock.close()
        sock = self.raw()
        sock.sendall(b'{"execute": "qmp_capabilities"}{"execute": "stop"}{"execute": "cont"}')
        sock.shutdown(socket.SHUT_WR)   # and waits for its answers
        data = b""
        while chunk := sock.recv(4096):
            data += chunk
        self.assertEqual(data.count(b'"return"'), 3)
        self.assertEqual([e for e, _ in self.machine.qmp.drain_events()], ["STOP", "RESUME"])
        self.assert_well()

    def test_client_that_never_reads(self):
        silent = self.raw()
        silent.sendall(b'{"execute": "qmp_capabilities"}')
        silent.setblocking(False)
        request = b'{"execute": "query-qmp-schema"}\r\n' * 64
        sent, full = 0, 0
        while full < 50 and sent < 64 << 20:
            try:
                sent += silent.send(request)
                full = 0
            except BlockingIOError:
                full += 1
                time.sleep(0.002)
            except (BrokenPipeError, ConnectionResetError):
                break
        other = self.machine.connect()
        for _ in range(500):            # events that the silent one does not fetch
            self.machine.qmp.command("stop")
            self.machine.qmp.command("cont")
        self.assertEqual([e for e, _ in other.drain_events()], ["STOP", "RESUME"] * 500)
        with open(f"/proc/{self.machine.process.pid}/status", encoding="ascii") as f:
            fields = dict(line.split(":", 1) for line in f)
        rss = int(fields["RssAnon"].split()[0])
        self.assertLess(rss, 256 << 10, "a client that does not read makes vmond grow (kB)")
        self.assert_well()

    def test_200_monitors(self):
        clients = [self.machine.connect() for _ in range(200)]
        self.assert_all_hear(self.machine.qmp, clients, 5)
        for q in clients[::2]:
            q.close()
        for q in clients[1::2]:
            self.assertEqual(q.status(), "running")
        self.assert_well()

    def test_several_sockets(self):
        directory = self.temporary_directory()
        paths = [os.path.join(directory, str(i)) for i in range(10)]
        options = [o for p in paths for o in ("--monitor", "unix:" + p)]
        with vmond.Machine("long.elf", *options) as m:
            m.clients += [vmond.Qmp(p) for p in paths]
            m.clients[3].command("stop")
            for q in m.clients:
                self.assertEqual(q.event("STOP"), None)
        self.assertEqual(os.listdir(directory), [])

    def test_pretty(self):
        path = os.path.join(self.temporary_directory(), "pretty")
        with vmond.Machine("long.elf", "--monitor", f"unix:{path},pretty=on"):
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(vmond.TIMEOUT)
                s.connect(path)
                data = b""
                while not data.endswith(b"\r\n}\r\n"):
                    data += s.recv(4096)
            self.assertTrue(data.startswith(b'{\r\n    "QMP": {\r\n        "'), data)

    def test_signals(self):
        m = self.machine
        for number in (signal.SIGPIPE, signal.SIGWINCH, signal.SIGURG, signal.SIGCONT,
                       signal.SIGCHLD) * 20:
            m.process.send_signal(number)
        self.assert_well()
        for _ in range(5):
            m.process.send_signal(signal.SIGSTOP)
            stat = f"/proc/{m.process.pid}/stat"
            vmond.wait_until(lambda s=stat: open(s, encoding="ascii").read().split()[2] == "T",
                             "SIGSTOP")
            m.process.send_signal(signal.SIGCONT)
            m.qmp.command("stop")
            m.qmp.command("cont")
            self.assert_well()
        self.assertEqual([e for e, _ in m.qmp.drain_events()], ["STOP", "RESUME"] * 5)

    def test_commands_from_everybody_at_once(self):
        clients = [self.machine.connect() for _ in range(8)]
        names = ["stop", "cont", "query-vcpu-state", "query-cpus-fast", "query-vcpu-sync"]
        for i in range(40):
            for j, q in enumerate(clients):
                q.send({"execute": names[(i + j) % len(names)], "id": i})
        for i in range(40):
            for q in clients:
                message = q.reply()
                self.assertEqual((message["id"], "return" in message), (i, True))
        self.machine.qmp.command("cont")
        self.machine.qmp.drain_events()
        self.assert_well()
