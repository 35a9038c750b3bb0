# SPDX-License-Identifier: MIT
"""What each step asks of KVM, counted by strace."""

import os
import re
import shutil
import subprocess
import time

import machines
import report

SETTLE = 0.3            # seconds until vCPU threads have done what a step left to them

STEPS = (
    ("query-status", machines.request("query-status")),
    ("query-cpus-fast", machines.request("query-cpus-fast")),
    ("info registers, running", machines.hmp("info registers")),
    ("info registers -a, running", machines.hmp("info registers -a")),
    ("stop", machines.request("stop")),
    ("cont", machines.request("cont")),
    ("stop", machines.request("stop")),
    ("info registers, paused", machines.hmp("info registers")),
    ("info registers -a, paused", machines.hmp("info registers -a")),
    ("cont after info registers -a", machines.request("cont")),
)
# What is set at every cont whatever was looked at: guest time.
POLICY = ("KVM_SET_CLOCK", "KVM_SET_PIT2", "KVM_KVMCLOCK_CTRL")
KINDS = ("GET", "SET", "policy", "other", "RUN")

_CALL = re.compile(r"^\d+ +(\d+\.\d+) ioctl\(\d+, (KVM_\w+)")


def _kind(request):
    if request in POLICY:
        return "policy"
    for kind in ("GET", "SET", "RUN"):
        if request.startswith("KVM_" + kind):
            return kind
    return "other"


def _count(trace, times):
    """One dict of counts for each step; a call belongs to the last step that began before it."""
    counts = [dict.fromkeys(KINDS, 0) for _ in times]
    with open(trace, encoding="utf-8") as f:
        for line in f:
            if m := _CALL.match(line):
                begun = sum(t <= float(m[1]) for t in times)
                if begun:
                    counts[begun - 1][_kind(m[2])] += 1
    return counts


def _trace(tools, kind, cpus):
    trace = os.path.join(tools.directory, "trace")
    prefix = ["strace", "-D", "-f", "-ttt", "-e", "trace=ioctl", "-e", "signal=none", "-o", trace]
    times = []
    with machines.Machine(kind, "halted", cpus, prefix) as machine:
        time.sleep(SETTLE)
        for _, request in STEPS:
            times.append(time.time())
            machine.monitor.round_trip(request)
            time.sleep(SETTLE)
        end = time.time()
    times.append(end)                           # what comes behind belongs to no step
    return _count(trace, times)[:-1]


def measure(tools, vmond, qemu, options):
    strace = shutil.which("strace")
    if not strace or subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True,
                                    check=False).returncode:
        print("\nKVM calls: strace is missing or may not trace")
        return
    for cpus in options.cpus:
        ours, theirs = _trace(tools, vmond, cpus), _trace(tools, qemu, cpus)
        report.print_table(
            f"KVM calls of each step (policy is {', '.join(POLICY)}): {cpus} vCPU, halted",
            ["", "vmond GET", *KINDS[1:], "QEMU GET", *KINDS[1:]],
            [[name, *(str(mine[k]) for k in KINDS), *(str(its[k]) for k in KINDS)]
             for (name, _), mine, its in zip(STEPS, ours, theirs)])
