# SPDX-License-Identifier: MIT
"""What a Linux guest finds of its processor: features, identity and topology as asked for."""

import os
import re
import subprocess

import linux
import vmond

# Names of features that Linux spells in another way than by underscores; () for those that it does
# not show at all in /proc/cpuinfo (arch/x86/include/asm/cpufeatures.h, those that begin with "").
LINUX = {
    "tsc-deadline": ("tsc_deadline_timer",), "cr8legacy": ("cr8_legacy",),
    "pause-filter": ("pausefilter",), "sgxlc": ("sgx_lc",),
    "avx512vbmi2": ("avx512_vbmi2",), "avx512vnni": ("avx512_vnni",),
    "avx512bitalg": ("avx512_bitalg",),
    "spec-ctrl": ("ibrs", "ibpb"), "amd-stibp": ("stibp",), "amd-ssbd": ("ssbd",),
    "invtsc": ("constant_tsc", "nonstop_tsc"),
    "amd-no-ssb": (), "svme-addr-chk": (), "stibp-always-on": (), "amd-psfd": (), "btc-no": (),
    "core-capability": (), "no-nested-data-bp": (), "lfence-always-serializing": (),
    "null-sel-clr-base": (), "auto-ibrs": (),
}
# What Linux adds by itself:
SYNTHETIC = {
    "rep_good", "nopl", "cpuid",        # it may use REP MOVS, long NOPs, CPUID
    "extd_apicid",                      # AMD: APIC ids of 8 bits
    "3dnowprefetch",                    # AMD: every one with long mode has PREFETCHW
    "tsc_known_freq", "tsc_reliable",   # kvmclock says so
    "constant_tsc",                     # by the family
    "vmmcall", "vmcall",                # how to call the hypervisor
    "xtopology",                        # leaf 0xB is there
    "pti", "retpoline",                 # against Meltdown and Spectre
    "cpuid_fault",                      # MSR_PLATFORM_INFO has it
    "ospke",                            # it has switched protection keys on
}
# What goes with XSAVE, which Linux does without when what it finds is not consistent.  In the lab that
# is so: the emulated SVM does not intercept XSETBV, so KVM does not know the guest's XCR0.
NEEDS_XSAVE = {
    "xsave", "xsaveopt", "xsavec", "xsaves", "xgetbv1", "avx", "avx2", "fma", "fma4", "xop", "vaes",
    "vpclmulqdq", "gfni", "mpx", "pku", "avx_vnni",
}
XSAVE_IS_OFF = "XSAVE consistency problem|arch/x86/kernel/fpu/xstate.c"


def cpuinfo(text):
    """/proc/cpuinfo, a dictionary for each processor."""
    return [dict(re.findall(r"^(\S.*?)\s*: ?(.*)$", block, re.M))
            for block in text.strip().split("\n\n")]


def linux_names(features):
    names = set()
    for feature in features:
        if not feature.startswith("kvm"):       # those have leaves of their own
            names.update(LINUX.get(feature, (re.sub("[-.]", "_", feature),)))
    return names


class Topology:
    """What --smp has asked for."""

    def __init__(self, sockets, cores, threads):
        self.sockets, self.cores, self.threads = sockets, cores, threads
        self.cpus = sockets * cores * threads
        self.smp = f"{self.cpus},sockets={sockets},cores={cores},threads={threads}"

    def place(self, cpu):
        """Its socket and its core, among all cores; vCPUs are in the order of their APIC ids."""
        return cpu // (self.cores * self.threads), cpu // self.threads


class Cpu:
    """One machine, which goes on from one test to the next; a model and a topology each."""

    cpu, off, topology = "host", {}, Topology(1, 1, 1)

    @classmethod
    def setUpClass(cls):
        cls.options = {"cpus": None, "memory": "192M", "append": linux.BRIEF}
        cls.more = ("--cpu", cls.cpu, "--smp", cls.topology.smp)
        super().setUpClass()

    def expand(self):
        model = {"name": self.cpu.split(",", maxsplit=1)[0], "props": self.off}
        return self.machine.qmp.command("query-cpu-model-expansion", type="full",
                                        model=model)["model"]["props"]

    def expected_flags(self, machine, asked):
        on = {name for name, value in asked.items() if value is True}
        properties = {"pmu", "kvm", "migratable", "enforce", "host-phys-bits",
                      "vmware-cpuid-freq"}
        flags = linux_names(on - properties)
        # What says that there are several in a socket, and on AMD's processors that they may be cores.
        if self.topology.cpus > self.topology.sockets:
            flags.add("ht")
            if asked["vendor"] == "AuthenticAMD":
                flags.add("cmp_legacy")
        if machine.run(f"dmesg | grep -m1 -E '{XSAVE_IS_OFF}'"):
            flags -= NEEDS_XSAVE
        return flags

    def test_1_flags(self):
        m = self.machine
        asked = self.expand()
        expected = self.expected_flags(m, asked)
        processors = cpuinfo(self.look(m)[0])
        self.assertEqual(len(processors), self.topology.cpus)
        for processor in processors:
            flags = set(processor["flags"].split())
            self.assertEqual(sorted(flags - SYNTHETIC - expected), [], "not asked for")
            self.assertEqual(sorted(expected - flags), [], "asked for")
            self.assertEqual(
                [processor[k] for k in ("vendor_id", "cpu family", "model", "stepping")],
                [str(asked[k]) for k in ("vendor", "family", "model", "stepping")])
            self.assertEqual(processor["model name"], asked["model-id"])
            self.assertTrue(processor["address sizes"].startswith(
                f"{asked['phys-bits']} bits physical"), processor["address sizes"])

    def test_2_topology(self):
        self.check_topology(*self.look(self.machine))

    def look(self, m):
        """/proc/cpuinfo and the files about the topology; the guest is asked once only, it is slow."""
        if not hasattr(m, "cpu_files"):
            # A warning of the kernel's, such as of a slow timer, would come into the middle of it.
            text = m.run("dmesg -n 1; cat /proc/cpuinfo; cd /sys/devices/system/cpu; "
                         "grep . possible present online cpu[0-9]*/topology/*; dmesg -n 5")
            start = text.index("possible:")
            m.cpu_files = text[:start], dict(re.findall(r"^(\S+?):(.*)$", text[start:], re.M))
        return m.cpu_files

    def check_topology(self, info, files):
        """By what the kernel shows of it, and by what lscpu makes of that."""
        names = "physical_package_id", "core_id", "thread_siblings_list", "core_siblings_list"
        cpus = range(self.topology.cpus)
        found = [[files[f"cpu{cpu}/topology/{name}"] for name in names] for cpu in cpus]
        packages = [self.topology.place(cpu)[0] for cpu in cpus]
        cores = [self.topology.place(cpu)[1] for cpu in cpus]
        self.assertEqual([int(row[0]) for row in found], packages)
        # Core ids have gaps; they are the same for threads of one core, and only for these.
        by_id = [(row[0], row[1]) for row in found]
        self.assertEqual([[a == b for b in by_id] for a in by_id],
                         [[a == b for b in cores] for a in cores])
        for cpu in cpus:
            self.assertEqual(cpus_of(found[cpu][2]), [c for c in cpus if cores[c] == cores[cpu]])
            self.assertEqual(cpus_of(found[cpu][3]),
                             [c for c in cpus if packages[c] == packages[cpu]])
        self.check_lscpu(info, files)

    def check_lscpu(self, info, files):
        """lscpu on a copy of the guest's files."""
        root = self.temporary_directory()
        files = {f"sys/devices/system/cpu/{name}": text + "\n" for name, text in files.items()}
        files["proc/cpuinfo"] = info
        for name, text in files.items():
            path = os.path.join(root, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)
        ran = subprocess.run(["lscpu", "-s", root], capture_output=True, text=True, check=True,
                             env=os.environ | {"LC_ALL": "C"})
        shown = dict(re.findall(r"^\s*(\S.*?):\s*(.*)$", ran.stdout, re.M))
        self.assertEqual(
            [shown[k] for k in ("CPU(s)", "Thread(s) per core", "Core(s) per socket", "Socket(s)")],
            [str(n) for n in (self.topology.cpus, self.topology.threads, self.topology.cores,
                              self.topology.sockets)], ran.stdout)


def cpus_of(text):
    """[0, 1, 2, 5] of "0-2,5"."""
    ranges = [[int(n) for n in part.split("-")] for part in text.split(",")]
    return [cpu for r in ranges for cpu in range(r[0], r[-1] + 1)]


class Host(Cpu, linux.LinuxTest):
    topology = Topology(sockets=2, cores=1, threads=2)

    def test_3_microcode(self):
        """The host's revision, which KVM tells."""
        vcpu = self.machine.qmp.command("query-vcpu-state", cpu_index=0, msrs=True)[0]
        revision = {m["index"]: m["value"] for m in vcpu["msrs"]}[0x8b]
        shown = int(cpuinfo(self.look(self.machine)[0])[0]["microcode"], 16)
        self.assertIn(shown, (revision & 0xffffffff, revision >> 32))

    def test_4_clone(self):
        """Saved and started from there, it sees the same."""
        m = self.machine
        path = os.path.join(self.temporary_directory(), "saved")
        # The frequency is a measurement, of each processor and each time.
        own = re.sub(r"(?m)^cpu MHz.*\n", "", self.look(m)[0])
        table = m.qmp.command("query-vcpu-cpuid")
        m.qmp.command("migrate-set-capabilities",
                      capabilities=[{"capability": "events", "state": True}])
        m.qmp.command("snapshot-save", filename=path, stay=True)
        while m.qmp.event("MIGRATION")["status"] != "completed":
            pass
        with vmond.Machine(None, "--clone", path, typed=True) as plain:
            clone = Clone(plain)
            self.assertEqual(plain.qmp.command("query-vcpu-cpuid"), table)
            info, files = self.look(clone)
            self.assertEqual(re.sub(r"(?m)^cpu MHz.*\n", "", info), own)
            self.check_topology(info, files)


class Clone(linux.Guest):
    def __init__(self, machine):
        self.serial, self.type = machine.serial, machine.type


class Baseline(Cpu, linux.LinuxTest):
    cpu, topology = "x86-64-v2", Topology(sockets=1, cores=3, threads=2)


class Less(Cpu, linux.LinuxTest):
    cpu, off = "host,-avx2,-cx16", {"avx2": False, "cx16": False}

    def test_3_less(self):
        flags = cpuinfo(self.look(self.machine)[0])[0]["flags"].split()
        self.assertNotIn("avx2", flags)
        self.assertNotIn("cx16", flags)
