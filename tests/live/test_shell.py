# SPDX-License-Identifier: MIT
"""vmonsh, by its command line and in a terminal, against vmond and against QEMU."""

import json
import os
import random
import shutil
import socket
import subprocess
import threading
import unittest

import terminal
import vmond

VMONSH = os.environ.get("VMONSH") or os.path.join(os.path.dirname(vmond.PROGRAM or ""), "vmonsh")
COMPLETION = os.path.join(vmond.HERE, "../../monitor/shell/completion")
QEMU = shutil.which("qemu-system-x86_64")

needs_tmux = unittest.skipUnless(terminal.TMUX, "tmux is not installed")
needs_qemu = unittest.skipUnless(QEMU, "qemu-system-x86_64 is not installed")


def environment(directory="/nonexistent", **more):
    names = {"VMOND_SOCKET": "", "XDG_RUNTIME_DIR": directory, "XDG_STATE_HOME": directory}
    return {**os.environ, **names, **more}


def shell(path, *arguments, stdin="", **more):
    """Runs vmonsh to its end."""
    target = ["-s", path] if path else []
    return subprocess.run([VMONSH, *target, *arguments], input=stdin, capture_output=True,
                          text=True, timeout=vmond.TIMEOUT, check=False, env=environment(**more))


class Qemu:
    """Debian's QEMU with a QMP socket, stopped."""

    def __init__(self, test):
        self.path = os.path.join(test.temporary_directory(), "qmp")
        self.process = subprocess.Popen(
            [QEMU, "-M", "microvm,accel=kvm:tcg", "-S", "-nodefaults", "-display", "none",
             "-name", "peer", "-qmp", f"unix:{self.path},server=on,wait=off"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        test.addCleanup(self.close)
        vmond.wait_until(lambda: os.path.exists(self.path), "QEMU's socket")

    def close(self):
        self.process.terminate()
        self.process.wait(vmond.TIMEOUT)


class FakeServer:
    """A socket that somebody answers on as a test says."""

    def __init__(self, test, answer):
        self.path = os.path.join(test.temporary_directory(), "fake")
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen()
        self.thread = threading.Thread(target=self.serve, args=(answer,))
        self.thread.start()
        test.addCleanup(self.close)

    def serve(self, answer):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            with client:
                answer(client)

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.listener.close()


GREETING = b'{"QMP": {"version": {}, "capabilities": []}}\r\n'


def answering(replies):
    """For FakeServer: replies by command ("return" members); None ends, ... never answers."""
    def answer(client):
        client.sendall(GREETING)
        for line in client.makefile("rb"):
            request = json.loads(line)
            reply = replies.get(request["execute"], {})
            if reply is None:
                return
            if reply is not ...:
                client.sendall(json.dumps({"return": reply, "id": request["id"]}).encode())
    return answer


class ScriptTest(vmond.LiveTest):
    """Without a terminal."""

    def setUp(self):
        self.machine = vmond.Machine("real-counter-halt.bin", "--name", "web", paused=True)
        self.addCleanup(self.machine.close, check=True)
        self.path = self.machine.monitor_path

    def run_shell(self, *arguments, status=0, stderr="", **more):
        result = shell(self.path, *arguments, **more)
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
        self.run_shell("set-vcpu-registers", "cpu-index=0", "registers.rbx=0x7c0", "registers.rcx=1K")
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
        self.assertEqual(shell(self.path, "--bogus").returncode, 2)
        # The first failure ends a script, unless told to go on.
        script = "stop a=1\nquery-name\n"
        for options, expected in ([], ""), (["-k"], "name: web\n"):
            result = shell(self.path, *options, "-f", "-", stdin=script)
            self.assertEqual((result.returncode, result.stdout), (1, expected))

    def stderr_of(self, name, **arguments):
        error = self.assert_refused(self.machine.qmp, ".", name, **arguments)
        return f"vmonsh: {error.desc}\n"

    def test_json(self):
        lines = self.run_shell("-j", "--events", "-c", "cont", "-c", "info status",
                               "-c", '{"execute": "query-name", "id": "mine"}',
                               "-c", "stop").splitlines()
        messages = [json.loads(line) for line in lines]
        self.assertEqual([m.get("event") for m in messages], ["RESUME", None, None, None, "STOP", None])
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
        waiting = subprocess.Popen([VMONSH, "-s", self.path, "-j", "-c", "query-name",
                                    "--wait-event", "POWERDOWN"], text=True,
                                   stdout=subprocess.PIPE, env=environment())
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
        result = shell(self.path, "--wait", "migrate", "uri=exec:cat > /dev/null; exit 3")
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, "^vmonsh: migrate: failed: .*3")

    def test_quit(self):
        self.assertEqual(self.run_shell("-c", "quit", "--wait-event", "SHUTDOWN").split(),
                         ["guest:", "false", "reason:", "host-qmp-quit"])
        self.assertEqual(self.machine.wait_exit(), 0)

    def test_nothing_after_quit(self):
        result = shell(self.path, "-c", "quit", "-c", "query-name")
        self.assertEqual((result.returncode, result.stdout), (2, ""))
        self.assertIn("closed the connection", result.stderr)

    def test_names(self):
        """A VM by name, the only one, and the environment."""
        directory = self.temporary_directory()
        os.mkdir(os.path.join(directory, "vmond"))
        os.symlink(self.path, os.path.join(directory, "vmond", "web.sock"))
        for target, more in ("web", {}), (None, {}), (None, {"VMOND_SOCKET": "web"}):
            result = shell(target, "query-name", directory=directory, **more)
            self.assertEqual((result.stdout, result.stderr), ("name: web\n", ""))
        result = shell("nobody", "query-name", directory=directory)
        self.assertEqual(result.returncode, 2)
        self.assertIn("nobody", result.stderr)

    def test_complete(self):
        """What other shells' completion asks."""
        self.assertEqual(self.run_shell("--complete", "set-action reboot="), "reboot=reset\nreboot=shutdown\n")
        self.assertEqual(self.run_shell("--complete", "info regi"), "registers\n")
        self.assertEqual(self.run_shell("--complete", "migrate ur"), "uri=\n")

    def bash(self, name, line, *words):
        """What bash offers; `words` are the line's as bash breaks it at = and :."""
        script = (f'source "{COMPLETION}/{name}"; COMP_LINE=$1; COMP_POINT=${{#1}}; shift; '
                  f'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _{name}; '
                  'printf "%s\\n" "${COMPREPLY[@]}"')
        directory = os.path.dirname(vmond.PROGRAM)
        result = subprocess.run(["bash", "-c", script, "bash", line, *words], text=True,
                                capture_output=True, check=False, timeout=vmond.TIMEOUT,
                                env=environment(PATH=f"{directory}:{os.environ['PATH']}"))
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

    def test_output_fails(self):
        with open("/dev/full", "wb") as full:
            status = subprocess.run([VMONSH, "-s", self.path, "query-name"], stdout=full,
                                    stderr=subprocess.DEVNULL, env=environment(),
                                    check=False, timeout=vmond.TIMEOUT).returncode
        self.assertEqual(status, 1)


class ServerTest(vmond.LiveTest):
    """Servers that are not what they should be."""

    def check(self, answer, stderr, *arguments, status=2):
        server = FakeServer(self, answer)
        result = shell(server.path, *arguments)
        self.assertEqual(result.returncode, status, result.stderr)
        self.assertRegex(result.stderr, stderr)
        return result.stdout

    def test_no_server(self):
        result = shell("/nonexistent/socket", "stop")
        self.assertEqual((result.returncode, result.stderr),
                         (2, "vmonsh: /nonexistent/socket: No such file or directory\n"))

    def test_no_qmp(self):
        self.check(lambda client: client.sendall(b"SSH-2.0-x\r\n"), "is no QMP: JSON parse error",
                   "stop")
        self.check(lambda client: client.sendall(b'{"QMP": {'), "in the middle of a message", "stop")
        self.check(lambda client: client.recv(1), "no greeting", "--timeout", "0.2", "stop")

    def test_gone(self):
        self.check(answering({"stop": None}), "the server has closed the connection$",
                   "-c", '{"execute": "stop"}', "-c", "query-name")

    def test_silent(self):
        self.check(answering({"stop": ...}), "not answered in time", "--timeout", "0.2",
                   '{"execute": "stop"}', status=1)

    def test_no_schema(self):
        """Arguments go as they look; what the human monitor is known for goes there."""
        def answer(client):
            client.sendall(GREETING)
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

    def test_large(self):
        """As large a reply as the protocol allows."""
        text = "x" * (60 << 20)
        out = self.check(answering({"big": text}), "^$", '{"execute": "big"}', status=0)
        self.assertEqual(len(out), len(text) + 1)

    def test_hostile(self):
        """Nothing that a server sends reaches the terminal as it is."""
        evil = "\x1b]0;owned\x07\x9b31m\u202e\x7f"
        for name in "-c", "-j":
            out = self.check(answering({"evil": {evil: [evil, {evil: evil}]}}), "^$", name,
                             '{"execute": "evil"}', status=0)
            self.assertEqual([c for c in out if not c.isprintable() and c != "\n"], [])


@needs_tmux
class TerminalTest(vmond.LiveTest):
    """In a terminal, as people use it."""

    def machine(self, image="real-counter-halt.bin", *options, **more):
        machine = vmond.Machine(image, "--name", "web", *options, paused=True, **more)
        self.addCleanup(machine.close, check=True)
        return machine

    def open(self, path, **more):
        term = terminal.Terminal([VMONSH, "-s", path], **more)
        self.addCleanup(term.close)
        return term

    def test_session(self):
        m = self.machine()
        term = self.open(m.monitor_path)
        term.wait(r"^web \(prelaunch\)>$")
        term.type("cont")
        term.wait(r"^\d\d:\d\d:\d\d\.\d{3} RESUME\n(.*\n)?web \(running\)>$")
        term.type("query-name")
        term.wait(r"^name: web\nweb \(running\)>$")
        term.type("info status")
        term.wait(r"^VM status: running\n")
        term.type("migrate url=x")
        term.wait(r"^migrate: no argument 'url'")
        # A line that is given up is not carried out.
        term.type("bogus", enter=False)
        term.wait("> bogus$")
        term.keys("C-c")
        term.wait(r"> bogus\^C\n")
        term.type("query-uuid")
        term.wait(r"^UUID: ")
        self.assertNotIn("unknown command", term.screen())
        # Colours are there, as NO_COLOR is empty.
        self.assertRegex(term.screen(colours=True), r"\x1b\[3[0-9]mname")
        # quit is the machine's; exit the shell's.
        term.type("quit")
        term.wait(r"End the virtual machine\? \[y/N\]")
        term.keys("Enter")
        term.wait(r"^not done; exit leaves the shell\nweb \(running\)>$")
        term.keys("C-d")
        self.assertEqual(term.wait_exit(), 0)
        self.assertEqual(m.qmp.status(), "running")

    def test_quit(self):
        m = self.machine()
        term = self.open(m.monitor_path)
        # As the human monitor has it, too.
        term.type("q")
        term.wait(r"\[y/N\]")
        term.keys("C-c")
        term.wait(r"^not done; .*\nweb \(prelaunch\)>$")
        term.type("quit")
        term.wait(r"> quit\n.*\[y/N\]")
        term.type("y")
        self.assertEqual(term.wait_exit(), 0)
        self.assertEqual(m.wait_exit(), 0)

    def test_completion(self):
        m = self.machine()
        term = self.open(m.monitor_path)
        term.wait(r">$")
        term.type("query-stat\t", enter=False)
        term.wait(r"^web \(prelaunch\)> query-status$")
        term.keys("C-u")
        # What there is, with descriptions, and the line again.
        term.type("set-action pan\t\t", enter=False)
        term.wait(r"^exit-failure +The machine shuts down.*\n(.*\n)+web .*> set-action panic=$")
        term.type("n\t", enter=False)
        term.wait(r"> set-action panic=none$")
        term.keys("C-u")
        term.type("info vc\t", enter=False)
        term.wait(r"> info vcpu-sync$")
        term.keys("C-u")
        term.type("migrate uri=file:/nonexi\t", enter=False)
        term.type("x", enter=False)
        term.wait(r"> migrate uri=file:/nonexix$")
        term.keys("C-u")
        # What is quoted in another way than it has to be is written anew.
        with open(m.path("a b"), "wb"):
            pass
        term.type(f"pmemsave 0 4K filename='{m.directory}'/a\t", enter=False)
        term.wait(rf"> pmemsave 0 4K filename={m.directory}/a\\ b$")

    def test_events_above(self):
        """The line being edited stays, with its cursor where it was."""
        m = self.machine()
        term = self.open(m.monitor_path)
        term.wait(r">$")
        term.type("query-nXme", enter=False)
        term.keys("Left", "Left")
        m.qmp.command("cont")
        term.wait(r"^\d\d:\d\d:\d\d\.\d{3} RESUME\nweb \(running\)> query-nXme$")
        m.qmp.command("stop")
        term.wait(r" STOP\nweb \(paused\)> query-nXme$")
        term.keys("BSpace")
        term.type("a")
        term.wait(r"^name: web\n")
        # What comes between two characters of one key waits.
        term.type("query-name", enter=False)
        term.keys("Escape")
        m.qmp.command("cont")
        m.qmp.command("stop")
        term.type("bX", enter=False)
        term.wait(r" STOP\nweb \(paused\)> Xquery-name$")
        term.keys("C-u")
        # Those that were not asked for do not come.
        term.type("events POWERDOWN")
        term.wait(r"events POWERDOWN\nweb")
        m.qmp.command("cont")
        m.qmp.command("system_powerdown")
        term.wait(r" POWERDOWN\n")
        self.assertEqual(term.screen().count("RESUME"), 2)

    def test_interrupted(self):
        """A server that does not answer gives the prompt back; its late answer is dropped."""
        late = []

        def answer(client):
            client.sendall(GREETING)
            for line in client.makefile("rb"):
                request = json.loads(line)
                if request["execute"] == "hang":
                    late.append(request["id"])
                    continue
                if late:
                    client.sendall(b'{"return": {"late": 1}, "id": %d}' % late.pop())
                client.sendall(json.dumps({"return": {"name": "web", "got": request["execute"]},
                                           "id": request["id"]}).encode())
        term = self.open(FakeServer(self, answer).path)
        term.wait(r">$")
        term.type('{"execute": "hang"}')
        vmond.wait_until(lambda: late, "the request")
        term.keys("C-c")
        term.wait(r"^interrupted; ")
        term.type('{"execute": "next"}')
        term.wait(r"^got: +next")
        self.assertNotIn("late:", term.screen())
        # At the prompt, the line is given up.
        term.type("half a line", enter=False)
        term.wait("> half a line$")
        term.keys("C-c")
        term.wait(r"> half a line\^C\n(.*\n)*web.*>$")

    def test_gone(self):
        m = self.machine()
        term = self.open(m.monitor_path)
        term.wait(r">$")
        m.process.kill()
        m.process.wait()
        term.wait(r"^the server has closed the connection; reconnect tries again\n"
                  r"web \(disconnected\)>$")
        term.type("query-status")
        term.wait(r"^not connected; reconnect tries again\n")
        os.unlink(m.monitor_path)
        fake = socket.socket(socket.AF_UNIX)
        self.addCleanup(fake.close)
        fake.bind(m.monitor_path)
        term.type("reconnect")
        term.wait("Connection refused")
        os.unlink(m.monitor_path)
        m.process.returncode = 0        # it was the test

    def test_watch(self):
        m = self.machine("real-counter.bin")
        m.qmp.command("cont")
        term = self.open(m.monitor_path)
        term.wait(r">$")
        term.type("watch -n 0.1 info registers")
        term.wait(r"^every 0.1 s: info registers .*\n(.*\n)*EAX=")
        term.wait("E.X=\x1b\\[7m", colours=True)        # what has changed is marked
        term.keys("q")
        term.wait(r"watch -n 0.1 info registers\n(.*\n)?web \(running\)>$")
        term.type("query-name")
        term.wait(r"^name: web\n")
        term.wait("\x1b\\[3[0-9]mname", colours=True)

    def test_progress(self):
        """A migration that is read as slowly as the test likes."""
        directory = self.temporary_directory()
        fifo, module = os.path.join(directory, "fifo"), os.path.join(directory, "module")
        os.mkfifo(fifo)
        with open(module, "wb") as f:
            f.write(random.Random(1).randbytes(8 << 20))    # what zero pages are not
        m = self.machine("prot.elf", "--initrd", module)
        term = self.open(m.monitor_path)
        term.wait(r">$")
        term.type(f"migrate 'exec:cat > {fifo}'")
        with open(fifo, "rb") as reader:
            term.wait(r"^migrate: \[#+>\.*\] +\d+%  [\d.]+ MiB of 64\.0 MiB")
            term.keys("C-c")
            term.wait(r"^it goes on; query-migrate shows how it is, migrate_cancel ends it\n")
            term.type("migrate_cancel")
            vmond.wait_until(lambda: m.qmp.command("query-migrate")["status"] == "cancelled",
                             "the migration's end")
        term.type("clear-nothing")
        term.wait("unknown command: 'clear-nothing'")
        term.type(f"migrate 'exec:cat > {fifo}'")
        with open(fifo, "rb") as reader:
            term.wait(r"^migrate: \[#+>\.*\] +\d+%(.*\n)*\Z")
            while reader.read(1 << 16):
                pass
        term.wait(r"^migrate: completed, [\d.]+ MiB, [\d.]+ s\n(.*\n)?web \(postmigrate\)>$")
        term.type("cont")
        term.wait(r"web \(running\)>$")

    def test_pager(self):
        """What is longer than the screen goes through the pager, and nothing else does."""
        term = self.open(self.machine().monitor_path, env={"PAGER": "sed s/^/paged:/"})
        term.wait(r">$")
        term.type("query-name")
        term.wait(r"^name: web\n")
        term.type("help")
        term.wait(r"^paged:.*xp +")
        term.type("query-uuid")
        term.wait(r"^UUID: ")

    def test_history(self):
        m = self.machine()
        state = self.temporary_directory()
        for _ in range(2):
            term = self.open(m.monitor_path, env={"XDG_STATE_HOME": state})
            term.wait(r">$")
            term.type("query-name")
            term.wait(r"^name: web\n")
            term.type(" query-uuid")
            term.wait(r"^UUID: ")
            term.type("exit")
            term.wait_exit()
        path = os.path.join(state, "vmonsh", "history")
        with open(path, encoding="utf-8") as f:
            self.assertEqual(f.read(), "query-name\nexit\n" * 2)
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        term = self.open(m.monitor_path, env={"XDG_STATE_HOME": state})
        term.wait(r">$")
        term.keys("Up", "Up", "Enter")
        term.wait(r"^name: web\n")

    def test_terminal_restored(self):
        """Whatever ends the shell, the terminal has its modes again."""
        m = self.machine()
        term = terminal.Terminal(["sh", "-c", f"cd {m.directory}; stty -a > before; echo $$ > pid; "
                                  f"{VMONSH} -s {m.monitor_path}; stty -a > after; echo ended"])
        self.addCleanup(term.close)
        term.wait(r">$")
        with open(m.path("pid"), encoding="ascii") as f:
            children = f"/proc/{f.read().strip()}/task"
        pid = os.listdir(children)[0]
        with open(f"{children}/{pid}/children", encoding="ascii") as f:
            os.kill(int(f.read().split()[0]), 15)
        term.wait("^ended")
        with open(m.path("before"), encoding="ascii") as before, \
                open(m.path("after"), encoding="ascii") as after:
            self.assertEqual(before.read(), after.read())

    @needs_qemu
    def test_qemu(self):
        """The same session with QEMU."""
        term = self.open(Qemu(self).path)
        term.wait(r"^peer \(prelaunch\)>$")
        term.type("query-stat\t\t", enter=False)
        term.wait(r"^query-stats +query-stats-schemas +query-status\n(.*\n)*peer.*> query-stat$")
        term.keys("C-u")
        term.type("qom-get path=/mach\t", enter=False)
        term.type("/per\t", enter=False)
        term.wait(r"> qom-get path=/machine/peripheral")
        term.keys("C-u")
        term.type("cont")
        term.wait(r" RESUME\n(.*\n)?peer \(running\)>$")
        term.type("info status")
        term.wait(r"^VM status: running\n")
        term.type("info bloc\t\t", enter=False)
        term.wait(r"^block-jobs +show progress of ongoing block device operations\n")
        term.keys("C-u")
        term.type("migrate 'exec:cat > /dev/null'")
        term.wait(r"^migrate: completed, .*\n(.*\n)*peer \(postmigrate\)>$")
        term.type("help migrate")
        term.wait(r"^ +uri=string\n")
        term.type("quit")
        term.wait(r"\[y/N\]")
        term.type("y")
        self.assertEqual(term.wait_exit(), 0)


@needs_qemu
class QemuTest(vmond.LiveTest):
    """Without a terminal, with QEMU."""

    def test_script(self):
        path = Qemu(self).path
        result = shell(path, "-c", "query-status", "-c", "qom-get /machine type",
                       "-c", "migrate-set-capabilities capabilities.0.capability=events "
                       "capabilities.0.state=on", "-c", "info status", "-c", "query-cpus-fast")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertRegex(result.stdout, r"status: +prelaunch\n(.*\n)*microvm-machine\n"
                         r"VM status: paused \(prelaunch\)\ncpu-index .*\n +0 ")
        result = shell(path, "--wait", "--events", "migrate", "exec:cat > /dev/null")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertIn("MIGRATION status=completed", result.stdout)
        result = shell(path, "--wait", "migrate", "exec:exit 3")
        self.assertEqual(result.returncode, 1)
        result = shell(path, "-c", "quit", "--wait-event", "SHUTDOWN")
        self.assertEqual(result.returncode, 0)


if __name__ == "__main__":
    unittest.main()
