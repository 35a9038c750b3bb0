# SPDX-License-Identifier: MIT
"""Run states and events, as QEMU has them."""

import contextlib
import signal

import vmond

MUST_RESET = "Resetting the Virtual Machine is required"


def host(reason):
    return {"guest": False, "reason": reason}


def by_guest(reason):
    return {"guest": True, "reason": reason}


class States(vmond.LiveTest):
    def assert_ends(self, m, events, status=0):
        self.assertEqual(m.qmp.until_eof(), events)
        self.assertEqual(m.wait_exit(), status)

    def test_stop_and_cont(self):
        with vmond.Machine("long.elf") as m:
            q = m.qmp
            m.serial.wait("^step ")
            q.command("cont")
            self.assertEqual(q.drain_events(), [])
            for _ in range(3):
                q.command("stop")
                # The event comes before the reply, so it is here already.
                self.assertEqual([e["event"] for e in q.events], ["STOP"])
                q.events.clear()
                q.command("stop")
                self.assertEqual(q.drain_events(), [])
                self.assertEqual(q.command("query-status"),
                                 {"status": "paused", "running": False, "singlestep": False})
                q.command("cont")
                self.assertEqual([e["event"] for e in q.events], ["RESUME"])
                q.events.clear()
                q.command("cont")
                self.assertEqual(q.drain_events(), [])
                self.assertEqual(q.status(), "running")
                m.serial.wait_new("^step ")

    def test_human_monitor(self):
        with vmond.Machine("long.elf", "--name", "one") as m:
            m.serial.wait("^step ")
            self.assertEqual(m.qmp.hmp("info status"), "VM status: running\n")
            self.assertEqual(m.qmp.hmp("stop"), "")
            self.assertEqual(m.qmp.hmp("info status"), "VM status: paused\n")
            self.assertEqual(m.qmp.hmp("info name"), "one\n")
            self.assertEqual(m.qmp.hmp("bogus"), "unknown command: 'bogus'\n")
            self.assertEqual(m.qmp.hmp("cont"), "")
            m.serial.wait_new("^step ")
            self.assertEqual([e for e, _ in m.qmp.drain_events()], ["STOP", "RESUME"])
            m.qmp.send({"execute": "human-monitor-command",
                        "arguments": {"command-line": "quit"}})
            self.assertIn(("SHUTDOWN", host("host-qmp-quit")), m.qmp.until_eof())
            self.assertEqual(m.wait_exit(), 0)

    def test_prelaunch(self):
        with vmond.Machine("long.elf", cpus=2, paused=True) as m:
            q = m.qmp
            self.assertEqual(q.command("query-status"),
                             {"status": "prelaunch", "running": False, "singlestep": False})
            state = q.command("query-vcpu-state")
            self.assertEqual(state[0]["regs"]["rip"], 0x200000)
            self.assertEqual(q.command("query-vcpu-state"), state)
            q.hmp("info registers -a")
            q.hmp("info tlb")
            q.command("stop")
            self.assertEqual(q.drain_events(), [])
            self.assertEqual(q.status(), "prelaunch")
            self.assertEqual(m.serial.text(), "")
            q.command("cont")
            self.assertEqual(q.event("RESUME"), None)
            self.assertEqual(q.status(), "running")
            m.serial.wait("long$")
            m.serial.wait("^ap 1 ")

    def test_quit(self):
        for state in "running", "paused", "prelaunch":
            for options in ([], ["--no-shutdown"]):
                with self.subTest(state, options=options), \
                        vmond.Machine("long.elf", *options, paused=state == "prelaunch") as m:
                    if state == "paused":
                        m.qmp.command("stop")
                        m.qmp.events.clear()
                    self.assertEqual(m.qmp.status(), state)
                    self.assertEqual(m.qmp.command("quit"), {})
                    self.assert_ends(m, [("SHUTDOWN", host("host-qmp-quit"))])

    def test_signals_that_end(self):
        for number in signal.SIGTERM, signal.SIGINT, signal.SIGHUP:
            for options in ([], ["--no-shutdown"]):
                with self.subTest(number.name, options=options), \
                        vmond.Machine("long.elf", *options) as m:
                    m.serial.wait("^step ")
                    m.process.send_signal(number)
                    self.assert_ends(m, [("SHUTDOWN", host("host-signal"))])

    def test_guest_shutdown(self):
        with vmond.Machine("powerdown.bin", typed=True) as m:
            m.serial.wait("^powerdown$")
            m.type("x")
            self.assert_ends(m, [("SHUTDOWN", by_guest("guest-shutdown"))])
            self.assertIn("byte\n", m.serial.text())

    def test_guest_shutdown_and_stay(self):
        with vmond.Machine("powerdown.bin", "--no-shutdown", typed=True) as m:
            q = m.qmp
            for _ in range(2):
                m.serial.wait("^powerdown$")
                m.type("x")
                self.assertEqual(q.event("SHUTDOWN"), by_guest("guest-shutdown"))
                self.assertEqual(q.event("STOP"), None)
                self.assertEqual(q.command("query-status"),
                                 {"status": "shutdown", "running": False, "singlestep": False})
                self.assert_refused(q, MUST_RESET, "cont")
                self.assertIn(MUST_RESET, q.hmp("cont"))
                q.command("stop")
                self.assertEqual(q.status(), "shutdown")
                self.assertEqual(q.drain_events(), [])
                q.command("system_reset")
                self.assertEqual(q.event("RESET"), host("host-qmp-system-reset"))
                self.assertEqual(q.status(), "prelaunch")
                q.command("cont")
                self.assertEqual(q.event("RESUME"), None)

    def test_power_button(self):
        with vmond.Machine("powerdown.bin") as m:
            m.serial.wait("^powerdown$")
            m.qmp.command("system_powerdown")
            self.assert_ends(m, [("POWERDOWN", None), ("SHUTDOWN", by_guest("guest-shutdown"))])
            self.assertIn("button\n", m.serial.text())

    def check_reset(self, image, banner):
        with self.subTest(image), vmond.Machine(image, typed=True) as m:
            for _ in range(3):
                m.serial.wait(banner)
                m.type("x")
                self.assertEqual(m.qmp.event("RESET"), by_guest("guest-reset"))
            m.serial.wait(banner)
            self.assertEqual(m.qmp.status(), "running")
            self.assertEqual(m.qmp.drain_events(), [])
        with self.subTest(image + " --no-reboot"), \
                vmond.Machine(image, "--no-reboot", typed=True) as m:
            m.serial.wait(banner)
            m.type("x")
            self.assert_ends(m, [("SHUTDOWN", by_guest("guest-reset"))])
        with self.subTest(image + " --no-reboot --no-shutdown"), \
                vmond.Machine(image, "--no-reboot", "--no-shutdown", typed=True) as m:
            m.serial.wait(banner)
            m.type("x")
            self.assertEqual(m.qmp.event("SHUTDOWN"), by_guest("guest-reset"))
            self.assertEqual(m.qmp.event("STOP"), None)
            self.assertEqual(m.qmp.status(), "shutdown")
            self.assert_refused(m.qmp, MUST_RESET, "cont")
        with self.subTest(image + " --no-shutdown"), \
                vmond.Machine(image, "--no-shutdown", typed=True) as m:
            m.serial.wait(banner)
            m.type("x")
            self.assertEqual(m.qmp.event("RESET"), by_guest("guest-reset"))
            m.serial.wait(banner)

    def test_guest_reset(self):
        self.check_reset("reset.bin", "^reset$")

    def test_triple_fault(self):
        self.check_reset("triple.elf", "^triple$")

    def test_internal_error(self):
        with vmond.Machine("internal-error.elf", typed=True) as m:
            q = m.qmp
            for _ in range(2):
                m.serial.wait("^internal-error$")
                m.type("x")
                self.assertEqual(q.event("STOP"), None)
                self.assertEqual(q.command("query-status"),
                                 {"status": "internal-error", "running": False,
                                  "singlestep": False})
                self.assertEqual(q.hmp("info status"), "VM status: paused (internal-error)\n")
                self.assert_refused(q, MUST_RESET, "cont")
                self.assertEqual(q.command("query-vcpu-state")[0]["regs"]["rip"], 0xd0000000)
                self.assertEqual(q.drain_events(), [])
                q.command("system_reset")
                self.assertEqual(q.event("RESET"), host("host-qmp-system-reset"))
                self.assertEqual(q.status(), "prelaunch")
                q.command("cont")
                self.assertEqual(q.event("RESUME"), None)

    def test_failure_is_logged(self):
        with vmond.Machine("internal-error.elf", typed=True) as m:
            m.serial.wait("^internal-error$")
            m.type("x")
            self.assertEqual(m.qmp.event("STOP"), None)
            regs = m.qmp.command("query-vcpu-state")[0]
            self.assertRegex(m.stderr(), "error: vCPU 0: RIP=00000000d0000000 "
                             f"RFLAGS={regs['regs']['rflags']:08x} "
                             f"RSP={regs['regs']['rsp']:016x}")
            self.assertRegex(m.stderr(), f"CR3={regs['sregs']['cr3']:016x}")
            self.assertRegex(m.stderr(), "code at 0xd0000000: ")

    def panic(self, *options, actions=None, digit="1"):
        m = vmond.Machine("panic.bin", *options, typed=True)
        with contextlib.ExitStack() as stack:
            stack.enter_context(m)
            if actions:
                self.assertEqual(m.qmp.command("set-action", **actions), {})
            m.serial.wait("^events 3$")
            m.type(digit)
            self.addCleanup(stack.pop_all().close)
        return m

    def test_panic(self):
        ended = [("GUEST_PANICKED", {"action": "poweroff"}),
                 ("SHUTDOWN", by_guest("guest-panic"))]
        self.assert_ends(self.panic(), ended)
        self.assert_ends(self.panic(actions={"panic": "exit-failure"}), ended, status=1)
        self.assert_ends(self.panic("--no-shutdown", actions={"shutdown": "poweroff"}), ended)

    def test_panic_and_stay(self):
        for m in self.panic("--no-shutdown"), self.panic(actions={"panic": "pause"}), \
                self.panic(actions={"shutdown": "pause"}):
            q = m.qmp
            self.assertEqual(q.event("GUEST_PANICKED"), {"action": "pause"})
            self.assertEqual(q.event("STOP"), None)
            self.assertEqual(q.command("query-status"),
                             {"status": "guest-panicked", "running": False, "singlestep": False})
            self.assertEqual(q.hmp("info status"), "VM status: paused (guest-panicked)\n")
            self.assertNotIn("on\n", m.serial.text())
            q.command("cont")
            self.assertEqual(q.event("RESUME"), None)
            self.assertEqual(q.status(), "running")
            m.serial.wait("^on$")

    def test_panic_is_a_shutdown(self):
        m = self.panic("--no-shutdown", actions={"panic": "exit-failure"})
        q = m.qmp
        self.assertEqual(q.event("GUEST_PANICKED"), {"action": "poweroff"})
        self.assertEqual(q.event("SHUTDOWN"), by_guest("guest-panic"))
        self.assertEqual(q.event("STOP"), None)
        self.assertEqual(q.status(), "shutdown")
        self.assert_refused(q, MUST_RESET, "cont")

    def test_panic_passed_over(self):
        m = self.panic("--no-shutdown", actions={"panic": "none"})
        m.serial.wait("^on$")
        self.assertEqual(m.qmp.drain_events(), [("GUEST_PANICKED", {"action": "run"})])
        m = self.panic(digit="2")
        m.serial.wait("^on$")
        self.assertEqual(m.qmp.drain_events(), [("GUEST_CRASHLOADED", {"action": "run"})])
        m.type("4")                     # what is that?
        m.serial.wait("^on$")
        self.assertEqual(m.qmp.drain_events(), [])
        self.assertEqual(m.qmp.status(), "running")

    def test_set_action(self):
        with vmond.Machine("reset.bin", typed=True) as m:
            q = m.qmp
            self.assertEqual(q.command("set-action"), {})
            q.command("set-action", reboot="shutdown", shutdown="pause")
            m.serial.wait("^reset$")
            m.type("x")
            self.assertEqual(q.event("SHUTDOWN"), by_guest("guest-reset"))
            self.assertEqual(q.event("STOP"), None)
            self.assertEqual(q.status(), "shutdown")
            # The wrong one of two changes neither.
            self.assert_refused(q, "Parameter 'panic' does not accept value 'run'",
                                "set-action", reboot="reset", panic="run")
            q.command("system_reset")
            self.assertEqual(q.drain_events(), [("SHUTDOWN", host("host-qmp-system-reset"))])
            q.command("set-action", reboot="reset")
            q.command("system_reset")
            self.assertEqual(q.event("RESET"), host("host-qmp-system-reset"))
            q.command("cont")
            m.serial.wait("^reset$")
            m.type("x")
            self.assertEqual(q.event("RESET"), by_guest("guest-reset"))

    def test_system_reset(self):
        with vmond.Machine("long.elf", cpus=4) as m:
            q = m.qmp
            m.serial.wait("^ap 3 ")
            for _ in range(3):          # while it runs: it goes on running
                q.command("system_reset")
                self.assertEqual(q.drain_events(), [("RESET", host("host-qmp-system-reset"))])
                self.assertEqual(q.status(), "running")
                m.serial.wait("long$")
                m.serial.wait("^step 1 057aca566d8df8ac ")
                m.serial.wait("^ap 3 ")
            q.command("stop")
            q.command("system_reset")
            self.assertEqual(q.drain_events(),
                             [("STOP", None), ("RESET", host("host-qmp-system-reset"))])
            self.assertEqual(q.status(), "prelaunch")
            text = m.serial.text()
            q.hmp("info registers -a")
            q.command("query-vcpu-state", msrs=True)
            self.assertEqual(m.serial.text(), text)
            q.command("cont")
            m.serial.wait("long$")
            m.serial.wait("^ap 3 ")

    def test_system_reset_without_reboot(self):
        with vmond.Machine("long.elf", "--no-reboot") as m:
            m.serial.wait("^step ")
            m.qmp.command("system_reset")
            self.assert_ends(m, [("SHUTDOWN", host("host-qmp-system-reset"))])

    def test_debug_exit(self):
        with vmond.Machine("real-exit.bin", paused=True) as m:
            m.qmp.command("cont")
            m.qmp.until_eof()
            self.assertEqual(m.wait_exit(), 21 << 1 | 1)

    def test_inject_nmi(self):
        """The guest has no handler but one that says what came."""
        with vmond.Machine("long.elf") as m:
            m.serial.wait("^step ")
            self.assertEqual(m.qmp.command("inject-nmi"), {})
            m.serial.wait("FAIL exception 2 ")
            self.assertEqual(m.wait_exit(), 2 << 1 | 1)

    def test_identity(self):
        uuid = "12345678-9abc-def0-1234-56789abcdef0"
        with vmond.Machine("real-hello.bin", "--name", "a b", "--uuid", uuid) as m:
            m.serial.wait("^A$")
            self.assertEqual(m.qmp.command("query-name"), {"name": "a b"})
            self.assertEqual(m.qmp.command("query-uuid"), {"UUID": uuid})
            self.assertEqual(m.qmp.command("query-kvm"), {"enabled": True, "present": True})
            self.assertEqual(m.qmp.command("query-target"), {"arch": "x86_64"})
        with vmond.Machine("real-hello.bin") as m:
            self.assertEqual(m.qmp.command("query-name"), {})
            self.assertEqual(m.qmp.command("query-uuid"),
                             {"UUID": "00000000-0000-0000-0000-000000000000"})
