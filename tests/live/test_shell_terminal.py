# SPDX-License-Identifier: MIT
"""vmonsh in a terminal, as people use it."""

import json
import os
import random
import socket
import threading
import unittest

import shell
import terminal
import vmond


@unittest.skipUnless(terminal.TMUX, "tmux is not installed")
class TerminalTest(vmond.LiveTest):
    """In a terminal, as people use it."""

    def machine(self, image="real-counter-halt.bin", *options, **more):
        machine = vmond.Machine(image, "--name", "web", *options, paused=True, **more)
        self.addCleanup(machine.close, check=True)
        return machine

    def open(self, path, **more):
        term = terminal.Terminal([shell.VMONSH, "-s", path], **more)
        self.addCleanup(term.close)
        return term

    def run_command(self, path, *argv, **more):
        """One that is not interactive; what it leaves on the screen stays there."""
        term = terminal.Terminal(["sh", "-c", '"$@"; echo "status $?"; read key', "sh",
                                  shell.VMONSH, "-s", path, *argv], **more)
        self.addCleanup(term.close)
        return term

    def completes(self, term, text, screen):
        """The screen becomes like this when that is typed, with its tabs; the line is given up."""
        term.type(text, enter=False)
        term.wait(screen)
        term.keys("C-u")

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
        self.completes(term, "query-statu\t", r"^web \(prelaunch\)> query-status$")
        # What there is, with descriptions, and the line again.
        term.type("set-action pan\t\t", enter=False)
        term.wait(r"^exit-failure +The machine shuts down.*\n(.*\n)+web .*> set-action panic=$")
        self.completes(term, "n\t", r"> set-action panic=none$")
        self.completes(term, "info vc\t", r"> info vcpu-sync$")
        term.type("migrate uri=file:/nonexi\t", enter=False)
        self.completes(term, "x", r"> migrate uri=file:/nonexix$")
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
            client.sendall(shell.GREETING)
            for line in client.makefile("rb"):
                request = json.loads(line)
                if request["execute"] == "hang":
                    late.append(request["id"])
                    continue
                if late:
                    client.sendall(b'{"return": {"late": 1}, "id": %d}' % late.pop())
                client.sendall(json.dumps({"return": {"name": "web", "got": request["execute"]},
                                           "id": request["id"]}).encode())
        term = self.open(shell.FakeServer(self, answer).path)
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

    def test_dump(self):
        """While the bar is there, events that say how far it is are not shown."""
        look = threading.Event()

        def answer(client):
            client.sendall(shell.GREETING)
            for line in client.makefile("rb"):
                request = json.loads(line)
                returned = {}
                if request["execute"] == "query-dump":
                    client.sendall(b'{"event": "DUMP_PROGRESS", "data": {"completed": 1}}')
                    client.sendall(b'{"event": "OTHER"}')
                    status = "completed" if look.is_set() else "active"
                    returned = {"status": status, "completed": 1 << 20, "total": 4 << 20}
                client.sendall(json.dumps({"return": returned, "id": request["id"]}).encode())
        server = shell.FakeServer(self, answer)
        term = self.open(server.path)
        term.wait(r">$")
        term.type('{"execute": "dump-guest-memory"}')
        term.wait(r"^dump-guest-memory: \[#+>\.+\]  25%  1\.0 MiB of 4\.0 MiB")
        look.set()
        term.wait(r" OTHER\n(.*\n)*dump-guest-memory: completed, 1\.0 MiB, [\d.]+ s\n")
        self.assertNotIn("DUMP_PROGRESS", term.screen())
        # A script has the bar with --wait.
        look.clear()
        term.type("exit")
        self.assertEqual(term.wait_exit(), 0)
        term = self.run_command(server.path, "--wait", '{"execute": "dump-guest-memory"}')
        term.wait(r"^dump-guest-memory: \[#+>\.+\]  25%")
        look.set()
        term.wait(r"^dump-guest-memory: completed, 1\.0 MiB, [\d.]+ s\nstatus 0$")

    def test_pager(self):
        """What is longer than the screen goes through the pager, and nothing else does."""
        term = self.open(self.machine().monitor_path, env={"PAGER": "sed s/^/paged:/"})
        term.wait(r">$")
        term.type("query-name")
        term.wait(r"^name: web\n")
        term.type("help")
        term.wait(r"^paged:.* xp( |$)")
        term.type("query-uuid")
        term.wait(r"^UUID: ")
        # So does one command alone, but not one of a script.
        env = {"PAGER": "sed s/^/paged:/"}
        path = self.machine().monitor_path
        for argv, last in (["help"], r"^paged:.* xp( |$)(.*\n)*paged:.*"), (["query-name"], r"^name: web"), \
                (["-c", "help", "-c", "query-name"], r"^(?!paged:).* xp( |$)(.*\n)*name: web"):
            self.run_command(path, *argv, env=env).wait(last + r"\nstatus 0$")

    def test_colours(self):
        """Output and errors, each by where it goes."""
        m = self.machine()
        self.run_command(m.monitor_path, "-k", "-c", "query-name", "-c", "migrate").wait(
            "\x1b\\[3[0-9]mname.*\nvmonsh: (\x1b\\[[0-9]+m)+migrate", colours=True)
        log = m.path("log")
        term = terminal.Terminal(["sh", "-c", '"$@" 2> "$0"; echo "status $?"; read key', log,
                                  shell.VMONSH, "-s", m.monitor_path, "migrate"])
        self.addCleanup(term.close)
        term.wait(r"^status 1$")
        with open(log, encoding="utf-8") as f:
            self.assertTrue(f.read().startswith("vmonsh: migrate: the argument uri is missing"))

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
                                  f"{shell.VMONSH} -s {m.monitor_path}; "
                                   "stty -a > after; echo ended"])
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

    def test_suspended(self):
        """Control-Z stops the shell where somebody can send it on again, and there only."""
        m = self.machine()
        term = self.open(m.monitor_path)
        term.wait(r">$")
        term.keys("C-z")
        term.type("query-name")
        term.wait(r"^name: web\n")
        term = terminal.Terminal(["bash", "--norc", "-i"], env={"PS1": "bash> "})
        self.addCleanup(term.close)
        term.type(f"{shell.VMONSH} -s {m.monitor_path}")
        term.wait(r"^web .*>$")
        term.type("query-n", enter=False)
        term.wait(r"> query-n$")
        term.keys("C-z")
        term.wait(r"Stopped(.*\n)+bash>$")
        term.type("fg")
        term.wait(r"> query-n$")
        term.type("ame")
        term.wait(r"^name: web\n")

    def job_control(self, path, **env):
        """The shell as a job of another shell's, so that Control-Z has somebody to go back to."""
        term = terminal.Terminal(["bash", "--norc", "-i"], env={"PS1": "bash> ", **env})
        self.addCleanup(term.close)
        term.type(f"{shell.VMONSH} -s {path}")
        term.wait(r"^web .*>$")
        return term

    def suspend(self, term):
        term.keys("C-z")
        term.wait(r"Stopped(.*\n)+bash>$")
        term.type("fg")

    def test_suspended_meanwhile(self):
        """Whatever the shell is doing: Control-Z stops it, and it goes on with that."""
        # A pager that waits for a key.
        pager = "sed s/^/paged:/; read key < /dev/tty; echo key $key"
        term = self.job_control(self.machine("real-counter.bin").monitor_path, PAGER=pager)
        term.type("help")
        term.wait(r"^paged:.*xp( |$)")
        self.suspend(term)
        term.type("k")
        term.wait(r"^key k\n(.*\n)*web .*>$")
        # The other screen, and back to it.
        term.type("watch -n 0.1 info registers")
        term.wait(r"^every 0.1 s: info registers .*\n(.*\n)*EAX=")
        self.suspend(term)
        term.wait(r"^every 0.1 s: info registers .*\n(.*\n)*EAX=")
        term.keys("q")
        term.wait(r"watch -n 0.1 info registers\n(.*\n)*web \(prelaunch\)>$")
        # A question, and an event that is waited for.
        term.type("quit")
        term.wait(r"End the virtual machine\? \[y/N\]")
        self.suspend(term)
        term.type("n")
        term.wait(r"^not done; .*\nweb \(prelaunch\)>$")
        term.type("wait STOP")
        term.wait(r"> wait STOP$")
        self.suspend(term)
        term.keys("C-c")
        term.wait(r"^interrupted; STOP has not come\nweb \(prelaunch\)>$")

    def test_commands_of_its_own(self):
        m = self.machine(cpus=2)
        term = self.open(m.monitor_path)
        term.wait(r">$")
        # Which vCPU lines are about is in the prompt.
        term.type("cpu 1")
        term.wait(r"^web cpu 1 \(prelaunch\)>$")
        term.type("info cpus")
        term.wait(r"^\* CPU #1")
        term.type("cpu none")
        term.wait(r"> cpu none\nweb \(prelaunch\)>$")
        term.type("json on")
        term.type("query-name")
        term.wait(r'^ +"name": "web"\n\}\n')
        term.type("history")
        term.wait(r"^ +1  cpu 1\n +2  info cpus\n +3  cpu none\n +4  json on\n +5  query-name\n"
                  r" +6  history\nweb")
        for line, said in ("watch", r"watch: which command\?"), \
                ("watch -n 0 stop", "watch -n 0: not a number of seconds from 0.1 to 3600"), \
                ("watch -n 1x stop", "watch -n 1x: not a number"), \
                ("watch -n 1", r"watch: which command\?"), \
                ("watch exit", "watch: exit is nothing to look at"):
            term.type("clear-nothing")
            term.type(line)
            term.wait(rf"> {line}\n{said}")
        term.type("json off")
        term.type("events STOP")
        term.type("cont")
        term.wait(r"web \(running\)>$")
        term.type("stop")
        term.wait(r"^\d\d:\d\d:\d\d\.\d{3} STOP\n(.*\n)*web \(paused\)>$")
        self.assertNotIn(" RESUME", term.screen())

    def test_keys(self):
        """What is not a letter: bytes that are taken as they are, a search, half a character."""
        term = self.open(self.machine().monitor_path)
        term.wait(r">$")
        term.type("query-name")
        term.wait(r"^name: web\n")
        term.type("query-uuid")
        term.wait(r"^UUID: ")
        term.keys("C-r")
        term.type("nam", enter=False)
        term.wait(r"query-name")
        term.keys("Enter")
        term.wait(r"^UUID: (.*\n)+name: web\n")
        # A tab that is no completion, and a byte that is no character.
        term.type("query-n", enter=False)
        term.keys("C-v", "Tab")
        term.keys("-H", "ff")
        term.type("x", enter=False)
        term.wait(r"> query-n(\^I|\t| +)x$")
        term.keys("C-u")
        term.type("query-name")
        term.wait(r"^name: web\n(.*\n)+name: web\n(.*\n)*web")

    @shell.needs_qemu
    def test_qemu(self):
        """The same session with QEMU."""
        term = self.open(shell.Qemu(self).path)
        term.wait(r"^peer \(prelaunch\)>$")
        self.completes(
            term, "query-stat\t\t",
            r"^query-stats +query-stats-schemas +query-status\n(.*\n)*peer.*> query-stat$")
        term.type("qom-get path=/mach\t", enter=False)
        self.completes(term, "/per\t", r"> qom-get path=/machine/peripheral")
        self.completes(term, "qom-get /mach\t ty\t", r"> qom-get /machine type$")
        self.completes(term, "migrate-set-capabilities cap\t\tcap\teve\t",
                       r"> migrate-set-capabilities capabilities\.0\.capability=events$")
        term.type("cont")
        term.wait(r" RESUME\n(.*\n)?peer \(running\)>$")
        term.type("info status")
        term.wait(r"^VM status: running\n")
        self.completes(term, "info bloc\t\t",
                       r"^block-jobs +show progress of ongoing block device operations\n")
        term.type("dump-guest-memory off file:/dev/null")
        term.wait(r"^dump-guest-memory: completed, [\d.]+ MiB, [\d.]+ s\n")
        term.type("migrate 'exec:cat > /dev/null'")
        term.wait(r"^migrate: completed, .*\n(.*\n)*peer \(postmigrate\)>$")
        term.type("help migrate")
        term.wait(r"^ +uri=string\n")
        term.type("quit")
        term.wait(r"\[y/N\]")
        term.type("y")
        self.assertEqual(term.wait_exit(), 0)


if __name__ == "__main__":
    unittest.main()
