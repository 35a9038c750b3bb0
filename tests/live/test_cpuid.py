# SPDX-License-Identifier: MIT
"""What a guest sees of the processor is what was asked for, register by register.

Guests execute CPUID for every leaf and subleaf and report it (tests/guests/cpuid.inc); what they
report is compared with the table that query-vcpu-cpuid shows, and that with what --cpu and --smp
have asked for.  Long mode at CPL 3 is left out: there are hosts whose KVM can not intercept CPUID
there.
"""

import json
import re
import struct

import vmond

SIGNIFICANT_INDEX = 1
MODES = {"real": "cpuid-real.bin", "protected": "cpuid-prot.elf", "long": "cpuid-long.elf"}

# Bits that KVM makes follow the vCPU's state when the guest asks, whatever the table says
# (kvm_update_cpuid_runtime() in arch/x86/kvm/cpuid.c): (leaf, subleaf, register) to (mask, why).
DYNAMIC = {
    (0x1, 0, "ecx"): (1 << 27, "OSXSAVE: CR4.OSXSAVE"),
    (0x1, 0, "edx"): (1 << 9, "APIC: the enable bit of IA32_APIC_BASE"),
    (0x7, 0, "ecx"): (1 << 4, "OSPKE: CR4.PKE"),
    (0xd, 0, "ebx"): (0xffffffff, "size of the XSAVE area with the XCR0 of now"),
    (0xd, 1, "ebx"): (0xffffffff, "size of the compacted area with the XCR0 and XSS of now"),
}
# The TSC's frequency, which is known only of a vCPU.
TSC_LEAVES = 0x15, 0x40000010
REGISTERS = "eax", "ebx", "ecx", "edx"

MODELS = [
    "host", "max", "x86-64-v2", "host,-avx2,-cx16",
    "host,vendor=GenuineTest1,family=6,model=85,stepping=7,model-id=A processor for a test",
]
IDENTITY = MODELS[-1]
# --smp, and how wide the fields of an APIC id are for it: thread, core, die.
TOPOLOGIES = [
    ("4,sockets=2,cores=1,threads=2", (1, 0, 0)),
    ("6,sockets=1,cores=3,threads=2", (1, 2, 0)),
    ("8,sockets=2,dies=2,cores=2,threads=1", (0, 1, 1)),
]
CHANGED = re.compile(r"KVM has changed CPUID 0x(\w+)\.(\d+) (E[A-D]X) from 0x(\w+) to 0x(\w+)")


def key_of(entry):
    index = entry["index"] if entry["flags"] & SIGNIFICANT_INDEX else None
    return entry["function"], index


class Table:
    """The table of one vCPU, and what KVM makes of it (kvm_cpuid() in arch/x86/kvm/cpuid.c)."""

    def __init__(self, entries):
        self.entries = {key_of(e): e for e in entries}
        self.leaves = {e["function"] for e in entries}

    def find(self, leaf, subleaf):
        return self.entries.get((leaf, None)) or self.entries.get((leaf, subleaf))

    def answer(self, leaf, subleaf):
        entry = self.find(leaf, subleaf)
        if entry:
            return {r: entry[r] for r in REGISTERS}
        zero = dict.fromkeys(REGISTERS, 0)
        # A level of the topology that there is not: it is told its own number, and who it is.
        if leaf in (0xb, 0x1f) and self.find(leaf, 1):
            return zero | {"ecx": subleaf & 0xff, "edx": self.find(leaf, 1)["edx"]}
        return zero

    def register(self, leaf, register, subleaf=0):
        return self.answer(leaf, subleaf)[register]


def changes(machine):
    """What KVM has made of the table, as the log has it: {(leaf, subleaf, register): (from, to)}."""
    return {(int(m[1], 16), int(m[2]), m[3].lower()): (int(m[4], 16), int(m[5], 16))
            for m in CHANGED.finditer(machine.stderr())}


class Reports:
    """What the vCPUs have said: by APIC id, a list of (leaf, subleaf, registers)."""

    def __init__(self, machine, cpus):
        for _ in range(cpus):
            machine.serial.wait("^end$")
        self.by_apic_id = {}
        for line in machine.serial.text().splitlines():
            word, *numbers = line.split()
            numbers = [int(n, 16) for n in numbers]
            if word == "cpu":
                report = self.by_apic_id.setdefault(numbers[0], [])
            elif word == "cpuid":
                report.append((numbers[0], numbers[1], dict(zip(REGISTERS, numbers[2:]))))


def tables(machine):
    return [Table(v["entries"]) for v in machine.qmp.command("query-vcpu-cpuid")]


class CpuidTest(vmond.LiveTest):
    def start(self, image, *options, **more):
        return vmond.Machine(image, *options, "--log-level", "info", **more)

    def check_report(self, report, table):
        """What a vCPU has reported is what its table says."""
        self.assertGreater(len(report), 30)
        for leaf, subleaf, seen in report:
            asked = table.answer(leaf, subleaf)
            for register in REGISTERS:
                mask, _ = DYNAMIC.get((leaf, subleaf, register), (0, None))
                if (seen[register] ^ asked[register]) & ~mask:
                    self.fail(f"leaf {leaf:#x} subleaf {subleaf}, {register}: the guest sees "
                              f"{seen[register]:#x}, not {asked[register]:#x}")
        # All that is in the table has been asked for, but for what lies beyond the guest's leaves.
        seen = {(leaf, subleaf) for leaf, subleaf, _ in report}
        for leaf, subleaf in table.entries:
            base = max(b for b in (0, 0x40000000, 0x40000100, 0x80000000) if b <= leaf)
            if leaf <= table.register(base, "eax"):
                self.assertIn((leaf, subleaf or 0), seen)

    def check_asked(self, machine, cpu, smp, table):
        """The table of the first vCPU is what `vmond cpuid` foretells, but for what KVM changes."""
        ran = vmond.run("cpuid", "--json", "--cpu", cpu, "--smp", smp)
        self.assertEqual((ran.returncode, ran.stderr), (0, ""))
        asked, changed = Table(json.loads(ran.stdout)["entries"]), changes(machine)
        self.assertEqual(list(asked.entries), list(table.entries))
        for (leaf, subleaf), entry in table.entries.items():
            if leaf in TSC_LEAVES:
                continue
            for register in REGISTERS:
                want = asked.entries[leaf, subleaf][register]
                mask, _ = DYNAMIC.get((leaf, subleaf or 0, register), (0, None))
                given, made = changed.get((leaf, subleaf or 0, register), (want, want))
                where = hex(leaf), subleaf, register
                self.assertEqual(want & ~mask, given & ~mask, where)
                self.assertEqual(entry[register] & ~mask, made & ~mask, where)

    def seen(self, cpu):
        """What the guest of a machine with this --cpu sees, and what KVM has changed of it."""
        with self.start("cpuid-real.bin", "--cpu", cpu) as m:
            report = Reports(m, 1).by_apic_id[0]
            return {(leaf, subleaf): r for leaf, subleaf, r in report}, changes(m)


class Registers(CpuidTest):
    def test_every_register_in_every_mode(self):
        for cpu in MODELS:
            for mode, image in MODES.items():
                with self.subTest(cpu=cpu, mode=mode), self.start(image, "--cpu", cpu) as m:
                    reports = Reports(m, 1)
                    self.assertEqual(list(reports.by_apic_id), [0])
                    table = tables(m)[0]
                    self.check_report(reports.by_apic_id[0], table)
                    self.check_asked(m, cpu, "1", table)

    def test_table_before_and_after(self):
        """The table that is shown does not depend on whether the guest has run, or runs."""
        with self.start("cpuid-long.elf", cpus=2, paused=True) as m:
            before = tables(m)
            m.qmp.command("cont")
            Reports(m, 2)
            running = m.qmp.command("query-vcpu-cpuid")
            m.qmp.command("stop")
            stopped = m.qmp.command("query-vcpu-cpuid")
            self.assertEqual(running, stopped)
            self.assertEqual(m.qmp.command("query-vcpu-cpuid", cpu_index=1), stopped[1:])
            for old, new in zip(before, tables(m)):
                self.check_same(old, new)
            self.assertEqual(m.qmp.command("query-vcpu-sync")["sets-since-stop"], 0)
            self.assert_refused(m.qmp, "expects a CPU number", "query-vcpu-cpuid", cpu_index=2)

    def check_same(self, old, new):
        self.assertEqual(list(old.entries), list(new.entries))
        for (leaf, subleaf), entry in old.entries.items():
            for register in REGISTERS:
                mask, _ = DYNAMIC.get((leaf, subleaf or 0, register), (0, None))
                self.assertEqual(entry[register] & ~mask,
                                 new.entries[leaf, subleaf][register] & ~mask,
                                 (hex(leaf), subleaf, register))

    def test_identity(self):
        seen, _ = self.seen(IDENTITY)
        vendor = struct.pack("<3I", *(seen[0, 0][r] for r in ("ebx", "edx", "ecx")))
        self.assertEqual(vendor, b"GenuineTest1")
        # Extended family and model, family, model, stepping: Intel SDM vol. 2A, CPUID, figure 3-6.
        self.assertEqual(seen[1, 0]["eax"], 0x50657)
        name = b"".join(struct.pack("<4I", *(seen[leaf, 0][r] for r in REGISTERS))
                        for leaf in (0x80000002, 0x80000003, 0x80000004))
        self.assertEqual(name.rstrip(b"\0"), b"A processor for a test")

    def test_features_taken_away(self):
        """They are gone, unless KVM says that it has put them back."""
        seen, changed = self.seen("host,-avx2,-cx16")
        for leaf, register, bit in (7, "ebx", 5), (1, "ecx", 13):
            given, made = changed.get((leaf, 0, register), (0, 0))
            self.assertFalse(given >> bit & 1)
            self.assertEqual(seen[leaf, 0][register] >> bit & 1, made >> bit & 1)


class Topology(CpuidTest):
    def test_every_vcpu(self):
        for smp, widths in TOPOLOGIES:
            cpus = int(smp.split(",")[0])
            with self.subTest(smp), \
                    self.start("cpuid-long.elf", "--smp", smp, cpus=None) as m:
                reports, all_tables = Reports(m, cpus), tables(m)
                counts = dict(part.split("=") for part in smp.split(",")[1:])
                ids = [self.apic_id(cpu, {k: int(v) for k, v in counts.items()}, widths)
                       for cpu in range(cpus)]
                # The local APICs have these ids, the tables belong to them, and they say so.
                self.assertEqual(sorted(reports.by_apic_id), ids)
                for apic_id, table in zip(ids, all_tables):
                    self.check_report(reports.by_apic_id[apic_id], table)
                    self.assertEqual(table.register(1, "ebx") >> 24, apic_id)
                    self.check_levels(table, apic_id, {k: int(v) for k, v in counts.items()},
                                      widths)
                self.check_asked(m, "host", smp, all_tables[0])
                shown = m.qmp.command("query-cpus-fast")
                self.assertEqual([c["props"]["socket-id"] for c in shown],
                                 [apic_id >> sum(widths) for apic_id in ids])

    def apic_id(self, cpu, counts, widths):
        """vCPUs are numbered in the order of their ids."""
        value = shift = 0
        for name, width in zip(("threads", "cores", "dies"), widths):
            cpu, part = divmod(cpu, counts.get(name, 1))
            value |= part << shift
            shift += width
        return value | cpu << shift

    def check_levels(self, table, apic_id, counts, widths):
        """Leaf 0xB: threads of a core, then all of a socket."""
        threads = counts["threads"]
        for subleaf, shift, number, kind in [
                (0, widths[0], threads, 1),
                (1, sum(widths), threads * counts["cores"] * counts.get("dies", 1), 2),
                (2, 0, 0, 0)]:
            level = table.answer(0xb, subleaf)
            self.assertEqual((level["eax"], level["ebx"], level["ecx"], level["edx"]),
                             (shift, number, kind << 8 | subleaf, apic_id), subleaf)


class Command(vmond.LiveTest):
    """vmond cpuid"""

    def test_host(self):
        ran = vmond.run("cpuid", "--json")
        self.assertEqual((ran.returncode, ran.stderr), (0, ""))
        host = json.loads(ran.stdout)
        with vmond.Machine("cpuid-real.bin") as m:
            definitions = m.qmp.command("query-cpu-definitions")
            self.assertEqual([d["name"] for d in definitions], [d["name"] for d in host["models"]])
            for a, b in zip(definitions, host["models"]):
                self.assertEqual(a["unavailable-features"], b["unavailable-features"])
        ran = vmond.run("cpuid")
        self.assertEqual((ran.returncode, ran.stderr), (0, ""))
        words = ran.stdout.split()
        for feature in host["features"] + host["emulated-features"]:
            self.assertIn(feature, words)
        self.assertEqual({e["function"] for e in host["entries"]} & {0, 1, 0x80000000},
                         {0, 1, 0x80000000})

    def test_refusals(self):
        for argv, text, status in [
                (("--nosuch",), "--nosuch: unknown option", 2),
                (("word",), "word: unknown argument", 2),
                (("--cpu",), "--cpu: needs a value", 2),
                (("--smp", "2"), "--smp: needs --cpu", 2),
                (("--cpu", "host", "--cpu=host"), "--cpu: given twice", 2),
                (("--cpu", "zzz"), "--cpu zzz: ", 2),
                (("--cpu", "host", "--smp", "0"), "--smp 0: ", 2)]:
            with self.subTest(argv):
                ran = vmond.run("cpuid", *argv)
                self.assertEqual((ran.returncode, ran.stdout), (status, ""))
                self.assertTrue(ran.stderr.startswith("vmond: " + text), ran.stderr)
                self.assertEqual(ran.stderr.count("\n"), 1)
        ran = vmond.run("cpuid", "--help")
        self.assertEqual((ran.returncode, ran.stderr), (0, ""))
        self.assertTrue(ran.stdout.startswith("Usage: vmond cpuid"))
