# SPDX-License-Identifier: MIT
"""vmonsh in scripts: its command line, files, and servers of every kind."""

import json
import os
import subprocess
import unittest

import shell
import vmond


class ScriptTest(vmond.LiveTest):
    """Without a terminal."""

    def setUp(self):
        self.machine = vmond.Machine("real-counter-halt.bin", "--name", "web", paused=True)
        self.addCleanup(self.machine.close, check=True)
        self.path = self.machine.monitor_path

    def run_shell(self, *arguments, status=0, stderr="", **more):
        result = shell.run(self.path, *arguments, **more)
        self.assertEqual((result.returncode, result.stderr), (status, stderr), result.stdout)
        return result.stdout

    def test_commands(self):
        self.assertRegex(self.run_shell("query-status"), r"^status: +prelaunch\n")
        self.assertEqual(self.run_shell("cont"), "")
        self.assertEqual(self.run_shell("query-name"), "name: web\n")
        self.assertIn("VM status: running\n", self.run_shell("info", "status"))
        self.assertIn("VM status: running\n", self.run_shell("info status"))
        self.assertRegex(self.run_shell("x", "/2xb", "0x7c00"), r"^0+7c00: 0x.. 0x..\n$")
        self.assertRegex(self.run_shell("query-cpus-fast"), r"^cpu-index .*\n +0 .*x86_64\n$")
        self.assertIn("rip: ", self.run_shell("query-vcpu-state", "cpu-index=0"))

    def test_arguments(self):
        self.run_shell("set-vcpu-registers", "cpu-index=0", "registers.rbx=0x7c0",
                       "registers.rcx=1K")
        regs = self.machine.qmp.command("query-vcpu-state", cpu_index=0)[0]["regs"]
        self.assertEqual((regs["rbx"], regs["rcx"]), (0x7c0, 1024))
        path = os.path.join(self.machine.directory, "a b")
        self.run_shell("-c", f"pmemsave 0 4K '{path}'")
        self.assertEqual(os.path.getsize(path), 4096)
        self.run_shell("pmemsave", "0", "8K", f"filename={path}")
        self.assertEqual(os.path.getsize(path), 8192)

    def test_failures(self):
        self.run_shell("migrate", status=1,
                       stderr="vmonsh: migrate: the argument uri is missing (string)\n")
        self.run_shell("set-vcpu-registers cpu-index=7 registers.rax=1", status=1,
                       stderr=self.stderr_of("set-vcpu-registers", cpu_index=7,
                                             registers={"rax": 1}))
        self.assertEqual(self.run_shell("bogus", status=1), "unknown command: 'bogus'\n")
        self.assertEqual(shell.run(self.path, "--bogus").returncode, 2)
        # The first failure ends a script, unless told to go on.
        script = "stop a=1\nquery-name\n"
        for options, expected in ([], ""), (["-k"], "name: web\n"):
            result = shell.run(self.path, *options, "-f", "-", stdin=script)
            self.assertEqual((result.returncode, result.stdout), (1, expected))

    def stderr_of(self, name, **arguments):
        error = self.assert_refused(self.machine.qmp, ".", name, **arguments)
        return f"vmonsh: {error.desc}\n"

    def test_json(self):
        lines = self.run_shell("-j", "--events", "-c", "cont", "-c", "info status",
                               "-c", '{"execute": "query-name", "id": "mine"}',
                               "-c", "stop").splitlines()
        messages = [json.loads(line) for line in lines]
        self.assertEqual([m.get("event") for m in messages],
                         ["RESUME", None, None, None, "STOP", None])
        self.assertEqual(messages[1], {"return": {}})
        self.assertEqual(messages[2], {"return": "VM status: running\r\n"})
        self.assertEqual(messages[3]["return"], {"name": "web"})
        for command in "migrate url=x", '{"execute": "nope"}', "{nonsense":
            error = json.loads(self.run_shell("-j", command, status=1))["error"]
            self.assertEqual(error["class"] == "CommandNotFound", "nope" in command)

    def test_files(self):
        path = os.path.join(self.machine.directory, "script")
        with open(path, "w", encoding="utf-8") as f:
            f.write("# a comment\n\n  cont\nwait RESUME\nquery-name\n")
        self.assertEqual(self.run_shell("-f", path), "name: web\n")
        self.assertEqual(self.run_shell("-c", "stop", "-c", f"source {path}"), "name: web\n")
        # Standard input is a script, too.
        self.assertEqual(self.run_shell(stdin="query-name"), "name: web\n")
        self.run_shell("-f", path + "x", status=1,
                       stderr=f"vmonsh: {path}x: No such file or directory\n")

    def test_events(self):
        """One that comes while the commands are carried out counts; one that does not is missed."""
        self.assertEqual(self.run_shell("-c", "cont", "-c", "query-name", "--wait-event", "RESUME"),
                         "name: web\n")
        out = self.run_shell("-c", "system_reset", "--wait-event", "RESET")
        self.assertRegex(out, r"^guest: +false\nreason: +host-qmp-system-reset\n$")
        out = self.run_shell("-j", "-c", "stop", "--wait-event", "STOP")
        self.assertEqual(json.loads(out.splitlines()[-1])["event"], "STOP")
        self.run_shell("--wait-event", "POWERDOWN", "--timeout", "0.1", status=1,
                       stderr="vmonsh: POWERDOWN has not come in time\n")
        # One that came before the last command does not.
        self.run_shell("--timeout", "0.1", "-c", "cont", "-c", "stop", "-c", "wait RESUME",
                       status=1, stderr="vmonsh: RESUME has not come in time\n")
        # It comes from elsewhere.
        waiting = subprocess.Popen([shell.VMONSH, "-s", self.path, "-j", "-c", "query-name",
                                    "--wait-event", "POWERDOWN"], text=True,
                                   stdout=subprocess.PIPE, env=shell.environment())
        with waiting:
            waiting.stdout.readline()       # it is connected
            self.machine.qmp.command("system_powerdown")
            self.assertEqual(json.loads(waiting.stdout.readline())["event"], "POWERDOWN")
            self.assertEqual(waiting.wait(vmond.TIMEOUT), 0)

    def test_wait(self):
        """Work that goes on is waited for, and how it ends is the status."""
        snapshot = os.path.join(self.machine.directory, "snapshot")
        self.run_shell("--wait", "snapshot-save", f"filename={snapshot}")
        self.assertTrue(os.path.exists(snapshot))
        result = shell.run(self.path, "--wait", "migrate", "uri=exec:cat > /dev/null; exit 3")
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, "^vmonsh: migrate: failed: .*3")

    def test_quit(self):
        self.assertEqual(self.run_shell("-c", "quit", "--wait-event", "SHUTDOWN").split(),
                         ["guest:", "false", "reason:", "host-qmp-quit"])
        self.assertEqual(self.machine.wait_exit(), 0)

    def test_nothing_after_quit(self):
        result = shell.run(self.path, "-c", "quit", "-c", "query-name")
        self.assertEqual((result.returncode, result.stdout), (2, ""))
        self.assertIn("closed the connection", result.stderr)

    def test_names(self):
        """A VM by name, the only one, and the shell.environment."""
        directory = self.temporary_directory()
        os.mkdir(os.path.join(directory, "vmond"))
        os.symlink(self.path, os.path.join(directory, "vmond", "web.sock"))
        for target, more in ("web", {}), (None, {}), (None, {"VMOND_SOCKET": "web"}):
            result = shell.run(target, "query-name", directory=directory, **more)
            self.assertEqual((result.stdout, result.stderr), ("name: web\n", ""))
        result = shell.run("nobody", "query-name", directory=directory)
        self.assertEqual(result.returncode, 2)
        self.assertIn("nobody", result.stderr)

    def test_complete(self):
        """What other shells' completion asks."""
        self.assertEqual(self.run_shell("--complete", "set-action reboot="),
                         "reboot=reset\nreboot=shutdown\n")
        self.assertEqual(self.run_shell("--complete", "info regi"), "registers\n")
        self.assertEqual(self.run_shell("--complete", "migrate ur"), "uri=\n")

    def bash(self, name, line, *words):
        """What bash offers; `words` are the line's as bash breaks it at = and :."""
        script = (f'source "{shell.COMPLETION}/{name}"; COMP_LINE=$1; COMP_POINT=${{#1}}; shift; '
                  f'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _{name}; '
                  'printf "%s\\n" "${COMPREPLY[@]}"')
        directory = os.path.dirname(vmond.PROGRAM)
        result = subprocess.run(["bash", "-c", script, "bash", line, *words], text=True,
                                capture_output=True, check=False, timeout=vmond.TIMEOUT,
                                env=shell.environment(PATH=f"{directory}:{os.environ['PATH']}"))
        return result.stdout.split()

    def test_bash(self):
        start, words = f"vmonsh -s {self.path}", ["vmonsh", "-s", self.path]
        self.assertEqual(self.bash("vmonsh", f"{start} query-vcpu-sy", *words,
                                   "query-vcpu-sy"),
                         ["query-vcpu-sync"])
        self.assertEqual(self.bash("vmonsh", f"{start} set-action re", *words, "set-action", "re"),
                         ["reboot="])
        for text, word, found in (("", "=", ["reset", "shutdown"]), ("sh", "sh", ["shutdown"])):
            broken = [*words, "set-action", "reboot", "="] + ([word] if text else [])
            self.assertEqual(self.bash("vmonsh", f"{start} set-action reboot={text}", *broken),
                             found)
        self.assertEqual(self.bash("vmonsh", f"{start} migrate uri=file:/us", *words, "migrate",
                                   "uri", "=", "file", ":", "/us"), ["/usr/"])
        self.assertEqual(self.bash("vmonsh", f"{start} --wait-event PO", *words, "--wait-event",
                                   "PO"), ["POWERDOWN"])
        self.assertEqual(self.bash("vmonsh", "vmonsh --ti", "vmonsh", "--ti"), ["--timeout"])
        self.assertEqual(self.bash("vmond", "vmond r", "vmond", "r"), ["run"])
        self.assertEqual(self.bash("vmond", "vmond run --no-", "vmond", "run", "--no-"),
                         ["--no-shutdown", "--no-reboot"])

    def commands(self, *lines, status=0, stderr=""):
        """Lines that are carried out one after the other, whatever becomes of each."""
        return self.run_shell("-k", *(word for line in lines for word in ("-c", line)),
                              status=status, stderr=stderr)

    def test_which_events(self):
        self.assertEqual(self.commands("events", "events on", "events", "events STOP RESUME",
                                       "events", "events off", "events"),
                         "off\non\nSTOP\nRESUME\noff\n")
        out = self.commands("events RESUME", "cont", "stop", "query-name")
        self.assertRegex(out, r"\A\d\d:\d\d:\d\d\.\d{3} RESUME\nname: web\n\Z")

    def test_cpu(self):
        """The server forgets which one is meant between two lines; the shell does not."""
        m = vmond.Machine("real-counter-halt.bin", cpus=2, paused=True)
        self.addCleanup(m.close, check=True)
        self.path = m.monitor_path
        out = self.commands("cpu", "cpu 1", "cpu", "info cpus", "cpu none", "cpu", "info cpus")
        self.assertRegex(out, r"\Anone chosen\n1\n  CPU #0.*\n\* CPU #1.*\n"
                         r"none chosen\n\* CPU #0.*\n  CPU #1.*\n\Z")
        usage = "vmonsh: cpu: give the index of a vCPU, or none\n"
        self.commands("cpu x", "cpu ''", "cpu -1", "cpu 0 1", "cpu none 1", "cpu 4294967296",
                      status=1, stderr=usage * 6)
        refused = "vmonsh: Parameter 'cpu-index' expects a CPU number\n"
        self.assertEqual(self.commands("cpu 1", "cpu 7", "cpu", status=1, stderr=refused), "1\n")

    def test_json_on(self):
        out = self.commands("json on", "query-name", "json off", "query-name")
        self.assertEqual(out, '{\n    "name": "web"\n}\nname: web\n')
        usage = "vmonsh: json: on or off?\n"
        self.commands("json", "json on off", "json yes", status=1, stderr=usage * 3)

    def test_source(self):
        path = os.path.join(self.machine.directory, "script")
        with open(path, "w", encoding="ascii") as f:
            f.write(f"# a remark\n\nquery-name\nsource {path}\n")
        out = self.run_shell(f"source {path}", status=1,
                             stderr=f"vmonsh: {path}: files that read files, 16 deep\n")
        self.assertEqual(out, "name: web\n" * 16)
        directory = self.machine.directory
        self.commands("source", "source /nonexistent", f"source {directory}", status=1,
                      stderr="vmonsh: source: which file?\n"
                      "vmonsh: /nonexistent: No such file or directory\n"
                      f"vmonsh: {directory}: Is a directory\n")

    def test_misused(self):
        self.commands("wait", "history", "watch stop", "hmp", '{"execute": ', "stop 'x", "stop a=[",
                      status=1,
                      stderr="vmonsh: wait: for which event?\n"
                      "vmonsh: history: only an interactive session has one\n"
                      "vmonsh: watch: needs a terminal, and nothing around it\n"
                      "vmonsh: hmp: which line?\n"
                      'vmonsh: not one complete JSON object: {"execute": \n'
                      "vmonsh: stop: a quote or a bracket is open at the end\n"
                      "vmonsh: stop: a quote or a bracket is open at the end\n")

    def test_help(self):
        self.assertEqual(self.run_shell("help cpu"), "cpu [INDEX|none]\n    choose the vCPU that "
                         "such lines are about\n")
        # Filled, whatever the lengths of its words; and what has no arguments has no such head.
        out = self.run_shell("help query-stats")
        self.assertLess(max(len(line) for line in out.splitlines()), 79)
        self.assertGreater(max(len(line) for line in out.splitlines()), 70)
        self.assertRegex(out, r"\Aquery-stats\n    \w.*\n(.*\n)*Arguments:\n"
                         r"    target=vm\|vcpu.*\n(.*\n)*Returns:\n    list of \w+\n    \w+: ")
        self.assertNotIn("Arguments:", self.run_shell("help query-name"))
        self.assertRegex(self.run_shell("help SHUTDOWN"), r"\ASHUTDOWN\n(.*\n)*Data:\n    guest: ")
        # What neither knows is for the human monitor to tell about.
        self.assertIn("info registers", self.run_shell("help info registers"))

    def test_usage(self):
        for options, text in (["-h"], r"\AUsage: vmonsh (.*\n)+Exit status: .*\n\Z"), \
                (["--help"], r"\AUsage: "), (["-V"], r"\Avmonsh \d\S*\n\Z"), \
                (["--version"], r"\Avmonsh \d"):
            result = shell.run(None, *options)
            self.assertEqual((result.returncode, result.stderr), (0, ""))
            self.assertRegex(result.stdout, text)

    def test_output_fails(self):
        with open("/dev/full", "wb") as full:
            status = subprocess.run([shell.VMONSH, "-s", self.path, "query-name"], stdout=full,
                                    stderr=subprocess.DEVNULL, env=shell.environment(),
                                    check=False, timeout=vmond.TIMEOUT).returncode
        self.assertEqual(status, 1)


class ServerTest(vmond.LiveTest):
    """Servers that are not what they should be."""

    def check(self, answer, stderr, *arguments, status=2):
        server = shell.FakeServer(self, answer)
        result = shell.run(server.path, *arguments)
        self.assertEqual(result.returncode, status, result.stderr)
        self.assertRegex(result.stderr, stderr)
        return result.stdout

    def test_no_server(self):
        result = shell.run("/nonexistent/socket", "stop")
        self.assertEqual((result.returncode, result.stderr),
                         (2, "vmonsh: /nonexistent/socket: No such file or directory\n"))

    def test_no_qmp(self):
        self.check(lambda client: client.sendall(b"SSH-2.0-x\r\n"), "is no QMP: JSON parse error",
                   "stop")
        self.check(lambda client: client.sendall(b'{"QMP": {'), "in the middle of a message",
                   "stop")
        self.check(lambda client: client.recv(1), "no greeting", "--timeout", "0.2", "stop")

    def test_gone(self):
        self.check(shell.answering({"stop": None}), "the server has closed the connection$",
                   "-c", '{"execute": "stop"}', "-c", "query-name")

    def test_silent(self):
        self.check(shell.answering({"stop": ...}), "not answered in time", "--timeout", "0.2",
                   '{"execute": "stop"}', status=1)

    def test_no_schema(self):
        """Arguments go as they look; what the human monitor is known for goes there."""
        def answer(client):
            client.sendall(shell.GREETING)
            for line in client.makefile("rb"):
                request = json.loads(line)
                reply = {"return": request.get("arguments", {}), "id": request["id"]}
                if request["execute"] == "query-qmp-schema":
                    reply = {"error": {"class": "CommandNotFound", "desc": "no"},
                             "id": request["id"]}
                client.sendall(json.dumps(reply).encode())
        out = self.check(answer, "^$", "-j", "-c", "frob a=1 b=x", "-c", "info x", status=0)
        self.assertEqual([json.loads(line)["return"] for line in out.splitlines()],
                         [{"a": 1, "b": "x"}, {"command-line": "info x"}])

    def test_dump(self):
        """A dump is asked to go on behind its reply where it is followed, and only there."""
        members = [{"name": "protocol", "type": "str"},
                   {"name": "detach", "type": "bool", "default": None}]
        schema = [{"name": "dump-guest-memory", "meta-type": "command", "arg-type": "0"},
                  {"name": "0", "meta-type": "object", "members": members},
                  {"name": "str", "meta-type": "builtin", "json-type": "string"},
                  {"name": "bool", "meta-type": "builtin", "json-type": "boolean"}]
        requests = []

        def answer(client):
            client.sendall(shell.GREETING)
            looks = 0
            for line in client.makefile("rb"):
                request = json.loads(line)
                returned = {}
                if request["execute"] == "query-qmp-schema":
                    returned = schema
                elif request["execute"] == "dump-guest-memory":
                    requests.append(request["arguments"])
                elif request["execute"] == "query-dump":
                    looks += 1
                    status = "active" if looks < 3 else "failed"
                    returned = {"status": status, "completed": looks, "total": 9}
                client.sendall(json.dumps({"return": returned, "id": request["id"]}).encode())
                if looks == 3:
                    client.sendall(b'{"event": "DUMP_COMPLETED", "data": {"error": "disk full"}}')
        dump = "dump-guest-memory file:/x"
        self.check(answer, "^vmonsh: dump-guest-memory: failed: disk full$", "--wait", dump,
                   status=1)
        self.check(answer, "^$", dump, status=0)
        self.check(answer, "disk full$", "--wait", dump + " detach=off", status=1)
        # A request as JSON is sent as it is, and its work followed all the same.
        self.check(answer, "disk full$", "--wait", '{"execute": "dump-guest-memory", '
                   '"arguments": {"protocol": "file:/x"}}', status=1)
        plain = {"protocol": "file:/x"}
        self.assertEqual(requests, [{**plain, "detach": True}, plain, {**plain, "detach": False},
                                    plain])

    def test_large(self):
        """As large a reply as the protocol allows."""
        text = "x" * (60 << 20)
        out = self.check(shell.answering({"big": text}), "^$", '{"execute": "big"}', status=0)
        self.assertEqual(len(out), len(text) + 1)

    def test_hostile(self):
        """Nothing that a server sends reaches the terminal as it is."""
        evil = "\x1b]0;owned\x07\x9b31m\u202e\x7f"
        for name in "-c", "-j":
            out = self.check(shell.answering({"evil": {evil: [evil, {evil: evil}]}}), "^$", name,
                             '{"execute": "evil"}', status=0)
            self.assertEqual([c for c in out if not c.isprintable() and c != "\n"], [])


@shell.needs_qemu
class QemuTest(vmond.LiveTest):
    """Without a terminal, with QEMU."""

    def test_script(self):
        path = shell.Qemu(self).path
        result = shell.run(path, "-c", "query-status", "-c", "qom-get /machine type",
                       "-c", "migrate-set-capabilities capabilities.0.capability=events "
                       "capabilities.0.state=on", "-c", "info status", "-c", "query-cpus-fast")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertRegex(result.stdout, r"status: +prelaunch\n(.*\n)*microvm-machine\n"
                         r"VM status: paused \(prelaunch\)\ncpu-index .*\n +0 ")
        result = shell.run(path, "--wait", "--events", "migrate", "exec:cat > /dev/null")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertIn("MIGRATION status=completed", result.stdout)
        result = shell.run(path, "--wait", "migrate", "exec:exit 3")
        self.assertEqual(result.returncode, 1)
        result = shell.run(path, "-c", "quit", "--wait-event", "SHUTDOWN")
        self.assertEqual(result.returncode, 0)


if __name__ == "__main__":
    unittest.main()
