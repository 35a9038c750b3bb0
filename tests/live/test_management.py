# SPDX-License-Identifier: MIT
"""The conversations of a management stack (stack.py), from the probe to the end of a domain."""

import os
import shutil
import signal
import subprocess

import stack
import vmond

MIGRATABLE = {"max-bandwidth": 9223372036853727232}
QEMU = shutil.which("qemu-system-x86_64")
RESET = {"guest": False, "reason": "host-qmp-system-reset"}


class Probe(vmond.DirectoryTest):
    """The stack finds out what the program can, without a guest."""

    def start(self):
        done = vmond.run("run", "--paused", "--monitor", "unix:" + self.path("monitor"),
                         "--pidfile", self.path("pid"), "--daemonize")
        # It has let go of its output, or run() had waited for more.
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
        with open(self.path("pid"), encoding="ascii") as f:
            pid = int(f.read())
        self.addCleanup(self.end, pid)
        return pid

    def end(self, pid):
        """By its pid, and not by quit."""
        os.kill(pid, signal.SIGTERM)
        vmond.wait_until(lambda: not os.listdir(self.directory), "the end of the daemon")

    def test_probe(self):
        self.start()
        client = stack.Stack(self.path("monitor"))
        self.addCleanup(client.close)
        answers = client.converse(stack.PROBE)

        version = answers["query-version"][0]
        self.assertEqual(version, client.greeting["QMP"]["version"])
        self.assertGreaterEqual(tuple(version["qemu"][n] for n in ("major", "minor", "micro")),
                                stack.VERSION_MIN)
        self.assertEqual(answers["query-target"], [{"arch": "x86_64"}])
        self.assertEqual(answers["query-kvm"], [{"enabled": True, "present": True}])

        types = {t["name"] for t in answers["qom-list-types"][0]}
        self.assertIn("isa-serial", types)
        self.assertNotIn("tcg-accel", types)    # else it would start another probe
        self.assertIn("host-x86_64-cpu", types)
        there = dict(zip(stack.DEVICES, answers["device-list-properties"]))
        self.assertEqual([n for n in there if there[n] is not None], ["kvm-pit"])
        for name in types & {"vmgenid", "isa-serial", "pvpanic"}:
            self.assertNotEqual(client.must("device-list-properties", {"typename": name}), [])

        for properties in answers["qom-list-properties"]:
            self.assertNotEqual(properties, [])

        machine, = answers["query-machines"][0]
        self.assertEqual(machine["name"], "vmond-0.1")
        self.assertTrue(machine["is-default"])
        self.assertFalse(machine["hotpluggable-cpus"])
        self.assertGreater(machine["cpu-max"], 0)
        self.assertIn(machine["default-cpu-type"], types)
        self.assertIn(machine["name"] + "-machine", types)
        self.assertEqual(answers["query-tpm-models"] + answers["query-tpm-types"], [[], []])
        self.assertIn("events", [c["capability"] for c in
                                 answers["query-migrate-capabilities"][0]])
        options = {o["option"]: o["parameters"] for o in
                   answers["query-command-line-options"][0]}
        self.assertEqual(options["memory"][0]["type"], "size")
        self.assertIsInstance(answers["query-cpu-definitions"][0], (list, type(None)))

    def test_every_type_has_properties(self):
        self.start()
        client = stack.Stack(self.path("monitor"))
        self.addCleanup(client.close)
        client.must("qmp_capabilities")
        for t in client.must("qom-list-types", {"abstract": True}):
            properties = client.must("qom-list-properties", {"typename": t["name"]})
            self.assertEqual(properties[0], {"name": "type", "type": "string"})


class Domain(vmond.DirectoryTest):
    """A domain, from its start to its end."""

    def connect(self, machine):
        """In the place of the client that the machine has come with."""
        client = stack.Stack(machine.monitor_path)
        self.addCleanup(client.close)
        return client

    def start(self, machine):
        """What the stack does with a domain that it has started paused."""
        client = self.connect(machine)
        answers = client.converse(stack.START)
        labels = {c["label"]: c["filename"] for c in answers["query-chardev"][0]}
        self.assertEqual(labels, {
            "compat_monitor0": f"unix:{machine.monitor_path},server=on", "serial0": "file"})
        threads = [c["thread-id"] for c in answers["query-cpus-fast"][0]]
        self.assertLessEqual(set(map(str, threads)),
                             set(os.listdir(f"/proc/{machine.process.pid}/task")))
        self.assertEqual(len(set(threads)), 2)
        self.assertEqual(answers["query-cpus-fast"][0][0]["qom-path"], stack.FIRST_CPU)
        flags = [p["name"] for p in answers["qom-list"][0] if p["type"] == "bool"]
        self.assertLess(len(flags), 4)          # one more round trip each
        for name in flags:
            self.assertIsInstance(
                client.must("qom-get", {"path": stack.FIRST_CPU, "property": name}), bool)
        self.assertEqual(answers["qom-list"][1], [{"name": "type", "type": "string"}])
        return client

    def machine(self, image="long.elf", *options, **more):
        return vmond.Machine(image, "--no-shutdown", *options, cpus=2, **more)

    def test_life(self):
        with self.machine(paused=True) as m:
            client = self.start(m)
            self.assertEqual(client.must("query-status")["status"], "prelaunch")
            client.must("cont")
            client.event("RESUME")
            m.serial.wait("^step 3 ")
            for answer in client.converse(stack.STATISTICS).values():
                self.assertNotIn({}, answer)
            for _ in range(2):                  # suspend, resume
                client.must("stop")
                client.event("STOP")
                client.must("cont")
                client.event("RESUME")
            client.must("system_reset")
            client.event("RESET", RESET)
            client.converse(stack.AFTER_RESET)
            m.serial.wait_new("^step 1 ")
            client.must("system_powerdown")     # reboot and shutdown: the guest takes no notice
            client.event("POWERDOWN")
            self.assertEqual(client.must("query-status")["status"], "running")
            m.process.send_signal(signal.SIGTERM)
            self.assertEqual(client.event("SHUTDOWN"), {"guest": False, "reason": "host-signal"})
            with self.assertRaises(EOFError):
                client.line()
            self.assertEqual(m.wait_exit(), 0)

    def test_shutdown_by_the_guest(self):
        with self.machine("powerdown.bin", paused=True) as m:
            client = self.start(m)
            client.must("cont")
            m.serial.wait("^powerdown$")
            client.must("system_powerdown")
            self.assertEqual(client.event("SHUTDOWN"), {"guest": True, "reason": "guest-shutdown"})
            client.event("STOP")
            self.assertEqual(client.must("query-status")["status"], "shutdown")

    def test_daemon_restart(self):
        """The stack itself is started anew, in the middle of a command."""
        with self.machine(paused=True) as m:
            client = self.start(m)
            client.must("cont")
            client.send({"execute": "query-vcpu-state", "id": "libvirt-99"})
            client.close()
            again = self.connect(m)
            answers = again.converse(stack.RECONNECT)
            self.assertEqual(answers["query-status"][0]["status"], "running")
            self.assertEqual(len(answers["query-hotpluggable-cpus"][0]), 2)
            self.assertEqual([e["event"] for e in again.events], [])
            again.must("stop")
            again.event("STOP")

    def save(self, m, client, path):
        blocked = "blocked-reasons" in {
            member["name"] for member in client.session.schema.lookup(
                client.session.schema.lookup("query-migrate")["ret-type"])["members"]}
        if blocked:
            self.assertNotIn("blocked-reasons", client.must("query-migrate"))
        client.must("stop")
        client.event("STOP")
        capabilities = client.must("query-migrate-capabilities")
        client.must("migrate-set-capabilities", {"capabilities": [
            {"capability": c["capability"], "state": False} for c in capabilities
            if c["capability"] != "events"]})
        client.must("migrate-set-parameters", MIGRATABLE)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        client.must("getfd", {"fdname": "migrate"}, [fd])
        os.close(fd)
        client.must("migrate", {"detach": True, "resume": False, "uri": "fd:migrate"})
        client.event("MIGRATION", {"status": "completed"})
        self.assertEqual(client.must("query-migrate")["status"], "completed")
        client.must("migrate-set-parameters", MIGRATABLE)
        self.assertEqual(client.must("query-status")["status"], "postmigrate")
        m.process.send_signal(signal.SIGTERM)
        client.event("SHUTDOWN", {"guest": False})

    def test_save_and_restore(self):
        path = self.path("save")
        with self.machine(paused=True) as m:
            client = self.start(m)
            client.must("cont")
            last = int(m.serial.wait(r"^step ([3-9]) ")[1])
            self.save(m, client, path)
        inherit = ("sh", "-c", f"exec \"$@\" 9< {path}", "sh")
        with self.machine(None, "--incoming", "defer", paused=True, prefix=inherit) as m:
            client = self.start(m)
            client.must("migrate-incoming", {"uri": "fd:9"})
            client.event("MIGRATION", {"status": "completed"})
            self.assertEqual(client.must("query-status")["status"], "paused")
            client.must("cont")
            client.event("RESUME")
            self.assertGreater(int(m.serial.wait(r"^step (\d+) ")[1]), last)


class Memory(vmond.LiveTest):
    """What the guest's memory is made of."""

    def memory(self, qmp):
        return [qmp.command("qom-get", path="/objects/ram", property="type"),
                qmp.command("qom-get", path="/machine", property="memory-backend"),
                qmp.command("query-memdev")[0]["size"]]

    def test_of_a_clone(self):
        path = os.path.join(self.temporary_directory(), "base")
        with vmond.Machine("long.elf") as m:
            self.assertEqual(self.memory(m.qmp), ["memory-backend-ram", "/objects/ram", 64 << 20])
            self.assert_refused(m.qmp, "'memory-backend-ram.mem-path' not found", "qom-get",
                                path="/objects/ram", property="mem-path")
            m.qmp.command("snapshot-save", filename=path)
            vmond.wait_until(lambda: m.qmp.command("query-migrate")["status"] == "completed",
                             "the snapshot")
        with vmond.Machine(None, "--clone", path) as m:
            self.assertEqual(self.memory(m.qmp), ["memory-backend-file", "/objects/ram", 64 << 20])
            self.assertEqual(m.qmp.command("qom-get", path="/objects/ram", property="mem-path"),
                             path)


class Shapes(vmond.LiveTest):
    """What has the name of something of QEMU's has its shape: held against QEMU's own schema."""

    # It is about disks there.
    OTHERS = {"snapshot-save"}
    # What is asked with arguments; with a "query-" in front and without any, all are asked.
    ASKED = [("qom-list", {"path": path}) for path in
             ("/", "/machine", stack.FIRST_CPU, "/chardevs", "/objects/ram")]
    ASKED += [("qom-list-types", {"abstract": True}),
              ("qom-list-properties", {"typename": "isa-serial"}),
              ("device-list-properties", {"typename": "isa-serial"}),
              ("chardev-add", {"id": "p", "backend": {"type": "pty", "data": {}}}),
              ("human-monitor-command", {"command-line": "info status"}),
              ("query-stats", {"target": "vcpu"}), ("query-stats", {"target": "vm"}),
              ("query-cpu-model-expansion", {"type": "full", "model": {"name": "host"}}),
              ("stop", {}), ("query-status", {}), ("cont", {})]

    def qemu_schema(self):
        if not QEMU:
            self.skipTest("there is no QEMU here")
        directory = self.temporary_directory()
        path = os.path.join(directory, "monitor")
        with open(os.path.join(directory, "stderr"), "wb") as stderr:
            process = subprocess.Popen(
                [QEMU, "-M", "none", "-S", "-nodefaults", "-display", "none", "-no-user-config",
                 "-qmp", f"unix:{path},server=on,wait=off"], stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=stderr)
        self.addCleanup(process.wait)
        self.addCleanup(process.terminate)
        client = vmond.connect(path, check=lambda: self.assertIsNone(process.poll()))
        self.addCleanup(client.close)
        return client.session.schema

    @staticmethod
    def members(schema, name):
        """Of what a command takes or an event has: whether each is optional, by name."""
        return {m["name"]: "default" in m for m in
                schema.lookup(schema.lookup(name)["arg-type"])["members"]}

    def assert_within(self, ours, theirs, name):
        """Nothing that they do not have, and everything that they can not do without."""
        ours, theirs = self.members(ours, name), self.members(theirs, name)
        self.assertLessEqual(ours.items(), theirs.items(), name)
        self.assertEqual([m for m in theirs if not theirs[m] and m not in ours], [], name)

    @classmethod
    def without_descriptions(cls, value):
        if isinstance(value, list):
            return [cls.without_descriptions(item) for item in value]
        if isinstance(value, dict):
            return {name: cls.without_descriptions(item) for name, item in value.items()
                    if name != "description"}
        return value

    def test_against_qemu(self):
        theirs = self.qemu_schema()
        with vmond.Machine("long.elf", cpus=2) as m:
            q = m.qmp
            ours = q.session.schema
            both = {name for name in ours.entries.keys() & theirs.entries.keys()
                    if ours.entries[name]["meta-type"] in ("command", "event")} - self.OTHERS
            self.assertGreater(len(both), 50)
            for name in sorted(both):
                with self.subTest(name):
                    self.assert_within(ours, theirs, name)
            asked = [(n, {}) for n in sorted(both)
                     if n.startswith("query-") and all(self.members(ours, n).values())] + self.ASKED
            for name, arguments in asked:
                with self.subTest(name, arguments=arguments):
                    try:
                        answer = q.command(name, **arguments)
                    except vmond.QmpError as e:
                        self.assertEqual(e.error_class, "DeviceNotActive")
                    else:
                        if name == "query-qmp-schema":      # ours has texts besides
                            answer = self.without_descriptions(answer)
                        theirs.check_return(name, answer)


class Framing(vmond.LiveTest):
    """That the stack of these tests is as strict as it has to be."""

    def test_what_it_refuses(self):
        class Fake(stack.Stack):
            def __init__(self, data):
                self.sock, self.bytes = None, data
                self.session = stack.schema.Session()

        for data in (b"{}\n", b"\r\n{}\r\n", b"[]\r\n", b" {}\r\n", b"{} \r\n"):
            with self.subTest(data), self.assertRaises(AssertionError):
                Fake(data).line()
