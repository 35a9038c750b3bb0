# SPDX-License-Identifier: MIT
"""What a process asks of KVM, as strace sees it: a witness that does not share the daemon's code.

Every ioctl that enters the kernel is one line with its raw number.  On a vCPU's descriptor only
requests that are known to read count as reading; anything else, known or not, counts as a write.
"""

import collections
import os
import re
import shutil
import subprocess
import time

import vmond

CREATE_VM = 0xae01
CREATE_VCPU = 0xae41
RUN = 0xae80

# <linux/kvm.h>, as _IOC() makes them on x86.
VCPU_READS = {
    0x8090ae81: "GET_REGS", 0x8138ae83: "GET_SREGS", 0x8140aecc: "GET_SREGS2",
    0xc018ae85: "TRANSLATE", 0xc008ae88: "GET_MSRS", 0x81a0ae8c: "GET_FPU",
    0x8400ae8e: "GET_LAPIC", 0xc008ae91: "GET_CPUID2", 0x8004ae98: "GET_MP_STATE",
    0x8040ae9f: "GET_VCPU_EVENTS", 0x8080aea1: "GET_DEBUGREGS", 0xaea3: "GET_TSC_KHZ",
    0x9000aea4: "GET_XSAVE", 0x9000aecf: "GET_XSAVE2", 0x8188aea6: "GET_XCRS",
    0xc080aebe: "GET_NESTED_STATE", 0xaece: "GET_STATS_FD",
}
VCPU_WRITES = {
    0x4090ae82: "SET_REGS", 0x4138ae84: "SET_SREGS", 0x4140aecd: "SET_SREGS2",
    0x4004ae86: "INTERRUPT", 0x4008ae89: "SET_MSRS", 0x41a0ae8d: "SET_FPU",
    0x4400ae8f: "SET_LAPIC", 0x4008ae90: "SET_CPUID2", 0x4004ae99: "SET_MP_STATE",
    0xae9a: "NMI", 0x4048ae9b: "SET_GUEST_DEBUG", 0x4040aea0: "SET_VCPU_EVENTS",
    0x4080aea2: "SET_DEBUGREGS", 0xaea2: "SET_TSC_KHZ", 0x5000aea5: "SET_XSAVE",
    0x4188aea7: "SET_XCRS", 0x4080aebf: "SET_NESTED_STATE", 0x4018aee1: "SET_DEVICE_ATTR",
    0x4010aeac: "SET_ONE_REG",
}
VCPU_POLICY = {0xaead: "KVMCLOCK_CTRL"}
# Of the machine.  Interrupt lines move when devices move them, which is no writing back of state.
VM_READS = {
    0xae03: "CHECK_EXTENSION", 0x8030ae7c: "GET_CLOCK", 0x8070ae9f: "GET_PIT2",
    0xc208ae62: "GET_IRQCHIP", 0x4010ae42: "GET_DIRTY_LOG", 0xaece: "GET_STATS_FD",
    0x4008ae61: "IRQ_LINE", 0xc008ae67: "IRQ_LINE_STATUS", 0x4020aea5: "SIGNAL_MSI",
}
VM_WRITES = {0x8208ae63: "SET_IRQCHIP", CREATE_VCPU: "CREATE_VCPU"}
VM_POLICY = {0x4030ae7b: "SET_CLOCK", 0x4070aea0: "SET_PIT2"}

_LINE = re.compile(r"(\d+) +(\d+\.\d+) (.*)")
_CALL = re.compile(r"ioctl\((0x[0-9a-f]+|\d+), (0x[0-9a-f]+|\d+), .*?(?:\) += (-?\w+)|<unfinished)")
_RESUMED = re.compile(r"<\.\.\. ioctl resumed>.*\) += (-?\w+)")
_EXITED = re.compile(r"\+\+\+ (exited|killed)")

# A call's `vcpu` is the vCPU's index, or VM for a machine; other descriptors are left out.
Call = collections.namedtuple("Call", "time vcpu request")
VM = -1


def why_not():
    """Why nothing can be traced here, or None."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    done = subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True, text=True,
                          check=False)
    return None if done.returncode == 0 else "strace does not work: " + done.stderr.strip()


def prefix(path):
    """What to put before a command to trace it into a file.  The command stays our child."""
    return ["strace", "-D", "-f", "-ttt", "-e", "trace=ioctl", "-e", "raw=ioctl",
            "-e", "signal=none", "-o", path]


def running(lines):
    """The threads that have called KVM_RUN, out of a trace that need not be complete."""
    return {int(m[1]) for m in map(_LINE.match, lines) if m and f", {RUN:#x}, " in m[3]}


class Trace:
    """A trace that is complete, taken apart."""

    def __init__(self, path, pid):
        vmond.wait_until(lambda: self._is_complete(path, pid), "the end of the trace")
        self.nr_vcpus = 0
        self.calls = []
        self._kvm = {}                  # descriptor: vCPU's index or VM
        self._pending = {}
        with open(path, encoding="ascii", errors="replace") as f:
            for line in f:
                self._line(line)

    @staticmethod
    def _is_complete(path, pid):
        with open(path, "rb") as f:
            f.seek(max(0, os.path.getsize(path) - 4096))
            tail = f.read().decode("ascii", "replace")
        return re.search(rf"^{pid} .*{_EXITED.pattern}", tail, re.MULTILINE)

    def _line(self, line):
        m = _LINE.match(line)
        if not m:
            raise AssertionError(f"strace wrote something unexpected: {line!r}")
        tid, when, rest = m.groups()
        if m := _CALL.match(rest):
            fd, request = int(m[1], 0), int(m[2], 0)
            if fd in self._kvm:
                self.calls.append(Call(float(when), self._kvm[fd], request))
            if m[3] is None:
                self._pending[tid] = request
            else:
                self._returned(request, m[3])
        elif m := _RESUMED.match(rest):
            self._returned(self._pending.pop(tid), m[1])
        elif not _EXITED.match(rest):
            raise AssertionError(f"strace wrote something unexpected: {line!r}")

    def _returned(self, request, value):
        if value == "?" or value.startswith("-"):
            return
        if request == CREATE_VM:
            self._kvm[int(value, 0)] = VM
        elif request == CREATE_VCPU:    # in the order of their indices
            self._kvm[int(value, 0)] = self.nr_vcpus
            self.nr_vcpus += 1

    def first_run(self, vcpu, after=0.0):
        """When KVM_RUN of a vCPU was first entered after a time; infinity if never."""
        for call in self.calls:
            if call.vcpu == vcpu and call.request == RUN and call.time > after:
                return call.time
        return float("inf")

    def window(self, start, cont):
        """Counts what happened from `start` to the first KVM_RUN of each vCPU behind `cont`.

        Returns counters of names: reads, writes, policy.  Names of vCPU requests have the index
        in front, "0:SET_REGS".
        """
        reads, writes, policy = (collections.Counter() for _ in range(3))
        end = {vcpu: self.first_run(vcpu, cont) for vcpu in range(self.nr_vcpus)}
        end[VM] = max(end.values(), default=cont)
        for call in self.calls:
            if not start <= call.time < end[call.vcpu] or call.request == RUN:
                continue
            if call.vcpu == VM:
                known = ((VM_READS, reads), (VM_POLICY, policy), (VM_WRITES, writes))
                name = "{}"
            else:
                known = ((VCPU_READS, reads), (VCPU_POLICY, policy), (VCPU_WRITES, writes))
                name = f"{call.vcpu}:{{}}"
            for names, counter in known:
                if call.request in names:
                    counter[name.format(names[call.request])] += 1
                    break
            else:
                writes[name.format(hex(call.request))] += 1
        return reads, writes, policy


def now():
    """The clock of the time stamps."""
    return time.time()
