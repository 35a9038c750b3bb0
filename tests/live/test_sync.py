# SPDX-License-Identifier: MIT
"""Looking leaves no trace: proved by strace, which counts ioctls beside the daemon's own count."""

import os
import subprocess
import sys

import ktrace
import vmond

BASE = 0x200000         # where the long mode guests are, virtual and physical

# What only looks, as (name, what to do with a client and the machine).
LOOKS = [
    ("info cpus", lambda q, m: q.hmp("info cpus")),
    ("info registers", lambda q, m: q.hmp("info registers")),
    ("info registers -a", lambda q, m: q.hmp("info registers -a")),
    ("info tlb", lambda q, m: q.hmp("info tlb")),
    ("info mem", lambda q, m: q.hmp("info mem")),
    ("info lapic", lambda q, m: q.hmp("info lapic")),
    ("info nested", lambda q, m: q.hmp("info nested -a")),
    ("info vcpu-sync", lambda q, m: q.hmp("info vcpu-sync")),
    ("info mtree", lambda q, m: q.hmp("info mtree")),
    ("x", lambda q, m: q.hmp(f"x /8xg {BASE:#x}")),
    ("xp", lambda q, m: q.hmp(f"xp /8xg {BASE:#x}")),
    ("gva2gpa", lambda q, m: q.hmp(f"gva2gpa {BASE:#x}")),
    ("info pic", lambda q, m: q.hmp("info pic")),
    ("read-memory", lambda q, m: q.command("read-memory", address=BASE, size=65536)),
    ("read-memory of virtual addresses",
     lambda q, m: q.command("read-memory", address=BASE, size=65536, space="virtual",
                            cpu_index=m.cpus - 1)),
    ("query-stats", lambda q, m: q.command("query-stats", target="vcpu")),
    ("query-cpus-fast", lambda q, m: q.command("query-cpus-fast")),
    ("qom-get", lambda q, m: q.command("qom-get", path="/machine/unattached/device[0]",
                                       property="vendor")),
    ("query-vcpu-state", lambda q, m: q.command("query-vcpu-state")),
    ("query-vcpu-state with msrs", lambda q, m: q.command("query-vcpu-state", msrs=True)),
    ("query-vcpu-state of the last vCPU",
     lambda q, m: q.command("query-vcpu-state", cpu_index=m.cpus - 1, msrs=True)),
    ("query-vcpu-sync", lambda q, m: q.command("query-vcpu-sync")),
    ("memsave", lambda q, m: q.command("memsave", val=BASE, size=65536, filename=m.path("save"))),
    ("pmemsave", lambda q, m: q.command("pmemsave", val=BASE, size=65536,
                                        filename=m.path("save"))),
]


class Traced(vmond.Machine):
    """A machine whose ioctls are being recorded."""

    def __init__(self, image, *options, cpus=1, **kwargs):
        self.cpus = cpus
        # Not in the machine's directory, which is gone before the trace is complete.
        self.trace_path = os.path.join("/tmp", f"vmond-live-{os.getpid()}.trace")
        # A sanitizer that looks for leaks wants to be the tracer itself.
        env = {**os.environ,
               "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}
        super().__init__(image, *options, cpus=cpus, prefix=ktrace.prefix(self.trace_path), env=env,
                         **kwargs)

    def wait_for_runs(self):
        """Until every vCPU has entered KVM_RUN once: without its processor, a thread may take long."""
        tids = {c["thread-id"] for c in self.qmp.command("query-cpus-fast")}

        def attempt():
            with open(self.trace_path, encoding="utf-8", errors="replace") as f:
                return tids <= ktrace.running(f)
        vmond.wait_until(attempt, "all vCPUs to run")

    def trace(self):
        """Ends the daemon, and returns all it did."""
        self.qmp.command("quit")
        self.wait_exit()
        return ktrace.Trace(self.trace_path, self.process.pid)

    def close(self, check=False):
        try:
            super().close(check)
        finally:
            if os.path.exists(self.trace_path):
                os.unlink(self.trace_path)


class Sync(vmond.LiveTest):
    def setUp(self):
        reason = ktrace.why_not()
        if reason:
            self.skipTest(reason)

    def check_trace_alone(self, image, cpus, progress):
        """All looks at a stopped and at a running machine, then writes that must show."""
        windows, running = [], []
        with Traced(image, cpus=cpus) as m:
            q = m.qmp
            m.serial.wait(progress)
            for name, look in [("nothing", lambda q, m: None)] + LOOKS:
                start = ktrace.now()
                q.command("stop")
                look(q, m)
                sync = q.command("query-vcpu-sync")
                self.assertEqual((sync["sets-since-stop"], sync["vm-sets-since-stop"]), (0, 0),
                                 f"{name}: the daemon's own count")
                cont = ktrace.now()
                q.command("cont")
                m.serial.wait_new(progress)
                windows.append((name, start, cont))
            for name, look in LOOKS:
                start = ktrace.now()
                look(q, m)
                end = ktrace.now()
                m.serial.wait_new(progress)
                running.append((name, start, end))

            # The same eyes must see a write when there is one: two registers, one vCPU, one SET.
            q.command("stop")
            last = cpus - 1
            regs = q.command("query-vcpu-state", cpu_index=last)[0]["regs"]
            start = ktrace.now()
            q.command("set-vcpu-registers", cpu_index=last,
                      registers={"rip": regs["rip"], "rax": regs["rax"]})
            q.hmp("info registers -a")
            cont = ktrace.now()
            q.command("cont")
            m.serial.wait_new(progress)
            edit = (start, cont)
            start = ktrace.now()
            q.command("system_reset")
            cont = ktrace.now()
            m.serial.wait_new(progress)
            reset = (start, cont)
            trace = m.trace()

        self.assertEqual(trace.nr_vcpus, cpus)
        for name, start, cont in windows:
            with self.subTest(f"stop, {name}, cont"):
                reads, writes, policy = trace.window(start, cont)
                self.assertEqual(dict(writes), {})
                for vcpu in range(cpus):
                    self.assertLess(trace.first_run(vcpu, cont), float("inf"),
                                    f"vCPU {vcpu} never ran")
                # Policy: at most once a resume, whatever was looked at.
                self.assertLessEqual(policy["SET_CLOCK"], 1)
                self.assertLessEqual(policy["SET_PIT2"], 1)
                for vcpu in range(cpus):
                    self.assertLessEqual(policy[f"{vcpu}:KVMCLOCK_CTRL"], 1)
                if name == "info registers -a":
                    self.assertTrue(any(r.startswith(f"{cpus - 1}:GET_") for r in reads),
                                    "nothing was read, so nothing was proved")
        for name, start, end in running:
            with self.subTest(f"{name} while running"):
                _, writes, policy = trace.window(start, end)
                self.assertEqual(dict(writes), {})
                self.assertEqual(dict(policy), {})
        with self.subTest("set-vcpu-registers"):
            _, writes, _ = trace.window(*edit)
            self.assertEqual(dict(writes), {f"{cpus - 1}:SET_REGS": 1})
        with self.subTest("system_reset"):
            _, writes, _ = trace.window(*reset)
            self.assertGreaterEqual(writes["0:SET_SREGS2"] + writes["0:SET_SREGS"], 1)

    def test_1_vcpu_with_io(self):
        self.check_trace_alone("io-loop.elf", 1, "^io [0-9]+ 1$")

    def test_4_vcpus_spinning(self):
        self.check_trace_alone("long.elf", 4, "^ap [0-9]+ ")

    def test_16_vcpus_halting(self):
        self.check_trace_alone("long-halt.elf", 16, "^ap [0-9]+ ")

    def test_the_witness_sees_a_write(self):
        """Negative control: a process that does write, with no vmond in it."""
        path = os.path.join(self.temporary_directory(), "trace")
        start = ktrace.now()
        child = subprocess.Popen([*ktrace.prefix(path), sys.executable, "-c", f"""if True:
            import fcntl, os, time
            kvm = os.open("/dev/kvm", os.O_RDWR)
            vm = fcntl.ioctl(kvm, {ktrace.CREATE_VM}, 0)
            vcpu = fcntl.ioctl(vm, {ktrace.CREATE_VCPU}, 0)
            regs = fcntl.ioctl(vcpu, 0x8090ae81, bytes(144))
            fcntl.ioctl(vcpu, 0x4090ae82, regs)
            """])
        self.assertEqual(child.wait(vmond.TIMEOUT), 0)
        trace = ktrace.Trace(path, child.pid)
        reads, writes, _ = trace.window(start, start)
        self.assertEqual(dict(reads), {"0:GET_REGS": 1})
        self.assertEqual(dict(writes), {"CREATE_VCPU": 1, "0:SET_REGS": 1})


LANDED = 0x7c08         # of real-counter: it says "landed EAX"
# Its wait for the transmitter: in %dx, %al; test $0x20, %al; jz back.  It never ends if DX is a
# port that reads as zero.
WAITING = bytes.fromhex("ec a8 20 74 fb")


class Edit(vmond.LiveTest):
    def edit(self, m, **registers):
        """Stops the machine, sets registers, and sends it on; returns what it had said by then."""
        m.qmp.command("stop")
        said = m.serial.text()          # all of it: a byte is in the file before its OUT is done
        m.qmp.command("set-vcpu-registers", cpu_index=0, registers=registers)
        regs = m.qmp.command("query-vcpu-state", cpu_index=0)[0]["regs"]
        self.assertEqual({name: regs[name] for name in registers}, registers)
        m.qmp.command("cont")
        return said

    def edit_to_land(self, m, value):
        said = self.edit(m, rip=LANDED, rax=value)
        # It may have been in the middle of a line, and then this one does not begin one.  But
        # nothing of what it was about to say comes in between.
        m.serial.position = len(said)
        m.serial.wait(f"landed {value:08x}\n")
        self.assertRegex(m.serial.text()[len(said):], f"^landed {value:08x}\n")

    def test_registers_reach_the_guest(self):
        for image in "real-counter.bin", "real-counter-halt.bin":
            with self.subTest(image), vmond.Machine(image) as m:
                m.serial.wait("^count ")
                self.assert_refused(m.qmp, "running|stop", "set-vcpu-registers", cpu_index=0,
                                    registers={"rax": 1})
                for number in range(20):
                    self.edit_to_land(m, 0xcafe0000 + number)
                m.serial.wait("^count ")

    def test_registers_reach_a_guest_that_reads_a_port(self):
        """What the port gives goes to AL, and must not come behind the edit."""
        for image in "real-counter.bin", "real-counter-halt.bin":
            with open(vmond.guest(image), "rb") as f:
                start = 0x7c00 + f.read().index(WAITING)
            loop = range(start + 1, start + len(WAITING))       # it has run, and not just been set
            with self.subTest(image), vmond.Machine(image) as m:
                m.serial.wait("^count ")
                for number in range(20):
                    self.edit(m, rip=start, rdx=0x3ff)  # the serial port's scratch register
                    vmond.wait_until(lambda: m.qmp.command("query-vcpu-state", cpu_index=0)
                                     [0]["regs"]["rip"] in loop, "the guest to wait")
                    self.edit_to_land(m, 0xfade0000 + number)
                m.serial.wait("^count ")

    def test_registers_before_the_first_run(self):
        with vmond.Machine("real-counter.bin", paused=True) as m:
            m.qmp.command("set-vcpu-registers", cpu_index=0,
                          registers={"rip": LANDED, "rax": 0x12345678})
            m.qmp.command("cont")
            m.serial.wait("^landed 12345678$")
            self.assertNotIn("real-counter", m.serial.text())
            m.serial.wait("^count ")

    def test_reset_undoes_an_edit(self):
        with vmond.Machine("real-counter.bin") as m:
            m.serial.wait("^count ")
            m.qmp.command("stop")
            m.qmp.command("set-vcpu-registers", cpu_index=0, registers={"rip": LANDED})
            m.qmp.command("system_reset")
            m.qmp.command("cont")
            m.serial.wait("real-counter$")
            m.serial.wait("^count ")
            self.assertNotIn("landed", m.serial.text())

    def test_refused_edits_change_nothing(self):
        with vmond.Machine("long.elf") as m:
            m.serial.wait("^step 3 ")
            m.qmp.command("stop")
            before = m.qmp.command("query-vcpu-state")
            self.assert_refused(m.qmp, "CPU", "set-vcpu-registers", cpu_index=1,
                                registers={"rax": 1})
            self.assert_refused(m.qmp, "CPU", "set-vcpu-registers", cpu_index=-1,
                                registers={"rax": 1})
            self.assert_refused(m.qmp, "unexpected", "set-vcpu-registers", cpu_index=0,
                                registers={"rax": 1, "nosuch": 2})
            self.assert_refused(m.qmp, "type|expects", "set-vcpu-registers", cpu_index=0,
                                registers={"rax": "1"})
            self.assertEqual(m.qmp.command("query-vcpu-state"), before)
            self.assertFalse(any(s["dirty"] for v in m.qmp.command("query-vcpu-sync")["vcpus"]
                                 for s in v["substates"]))
            m.qmp.command("cont")
            m.serial.wait_new("^step ")
