#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the tests of whole Linux guests in the lab: one line each, and the count at the end.

usage: run.py [WORD]...                 only tests whose name contains one of the words
       run.py --inside PART [WORD]...   what the former runs in the lab (see PARTS)

The lab has one processor, so there are some side by side, each with a part of the tests.  Where
this machine's own KVM has hardware virtualisation, the tests are run on it as well.  VMOND and
GUESTS in the environment say where things are, as for the live tests.  Exit status 0 if nothing
failed, 1 if something did, 77 if everything was skipped.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
sys.dont_write_bytecode = True
sys.path[:0] = [os.path.join(TESTS, "live"), TESTS]

import debian_kernel  # noqa: E402 (the path comes first)
import kallsyms  # noqa: E402
import run as live  # noqa: E402
import vmond  # noqa: E402

LAB = os.path.join(HERE, "lab")
NOT_HERE = 77
# Of the lab, and of one thing that must happen in there.
SECONDS, PATIENCE = 3000, 300
# The largest guest has 5 GiB, of which it touches little.
MEMORY = 6144

# What is run side by side: "boots" is about as long as all the rest, and "shadow" is a lab of its
# own, where KVM goes without nested paging.
PARTS = {"boots": lambda test: ".Boots." in test.id(),
         "shadow": lambda test: ".Shadow." in test.id(),
         "others": lambda test: not re.search(r"\.(Boots|Shadow)\.", test.id()),
         "all": lambda test: ".Shadow." not in test.id()}
OPTIONS = {"shadow": ["-p", "kvm-amd.npt=0"]}

# What is worth seeing again on a KVM that does not emulate the guest's instructions.
LIVE = ["test_real_mode", "test_multiboot", "test_pvh", "test_long_mode", "test_memory_map",
        "test_what_is_seen", "test_xen_guests", "test_xen_clone", "test_xen_vcpus"]


COUNTS = re.compile(r"(\d+) passed, (\d+) failed, (\d+) skipped")


def skip(reason):
    print(f"skip  lab: {reason}")
    print("0 passed, 0 failed, 1 skipped")
    return NOT_HERE


def make_files(directory):
    """What the tests need: kernels, their symbols, and the first file system (see linux.py)."""
    for name, package in ("cloud", debian_kernel.CLOUD), ("generic", debian_kernel.GENERIC):
        kernel = debian_kernel.fetch(lambda text: print(text, flush=True), package)
        here = os.path.join(directory, name)
        os.mkdir(here)
        os.symlink(kernel.bzimage, os.path.join(here, "vmlinuz"))
        os.symlink(kernel.vmlinux, os.path.join(here, "vmlinux"))
        with open(kernel.vmlinux, "rb") as f:
            table = kallsyms.symbols(f.read())
        with open(os.path.join(here, "symbols"), "w", encoding="utf-8") as f:
            f.writelines(f"{address:x} {kind} {name}\n" for address, kind, name in table
                         if kind in "tTwW")
        modules = [word for path in kernel.modules for word in ("-m", path)]
        subprocess.run([os.path.join(HERE, "initrd"), *modules, os.path.join(here, "initrd")],
                       check=True)


def outside(words):
    # As an interrupt it ends the lab too, and what has been made for it goes.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if vmond.PROGRAM is None:
        return skip("no vmond program found; build it, or set VMOND")
    # Busybox is among what the lab installs, and the first file system has it too.
    prepared = subprocess.run([LAB, "--prepare"], stderr=subprocess.PIPE, text=True, check=False)
    if prepared.returncode == NOT_HERE:
        return skip(prepared.stderr.strip().removeprefix("lab: "))
    sys.stderr.write(prepared.stderr)
    if prepared.returncode:
        return 1
    with tempfile.TemporaryDirectory(prefix="vmond-lab-") as directory:
        try:
            make_files(directory)
        except debian_kernel.Unavailable as err:
            return skip(err)
        inside = ["env", f"VMOND={vmond.PROGRAM}", f"GUESTS={vmond.GUESTS}", f"FILES={directory}",
                  f"VMOND_TEST_TIMEOUT={PATIENCE}", sys.executable, os.path.abspath(__file__),
                  "--inside"]
        lab = [LAB, "-m", str(MEMORY), "-t", str(SECONDS)]
        runs = [Part([*lab, *OPTIONS.get(part, []), "--", *inside, part, *words])
                for part in parts(words)]
        if hardware_virtualisation():
            for part in runs:
                part.join()
            print("the same on this machine's KVM:", flush=True)
            runs.append(Part([*inside, "all", *words]))
        return total(runs)


def parts(words):
    """Which there are to run: all, or those that have tests of these names."""
    if not words:
        return [part for part in PARTS if part != "all"]
    return [part for part in ("all", "shadow") if selection(part, words)] or ["all"]


def hardware_virtualisation():
    """Whether a whole kernel can run on this machine's own KVM."""
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as f:
        flags = re.search(r"^flags\s*:(.*)$", f.read(), re.M)
    return (vmond.why_not() is None and flags is not None
            and not {"vmx", "svm"}.isdisjoint(flags[1].split()))


class Part(threading.Thread):
    """Runs a command, prints what it prints line by line, and keeps the counts it ends with."""

    def __init__(self, command):
        super().__init__()
        self.counts, self.process = None, subprocess.Popen(command, stdout=subprocess.PIPE,
                                                           text=True, errors="replace")
        self.start()

    def run(self):
        for line in self.process.stdout:
            counts = COUNTS.fullmatch(line.strip())
            if counts:
                self.counts = [int(n) for n in counts.groups()]
            else:
                sys.stdout.write(line)
                sys.stdout.flush()
        self.process.wait()


def total(runs):
    try:
        for part in runs:
            part.join()
    finally:
        for part in runs:
            part.process.terminate()    # it is over, unless we have been interrupted
            part.process.wait()
    # A lab that has not come to the end of its tests has said why.
    passed, failed, skipped = map(sum, zip(*[part.counts or (0, 1, 0) for part in runs]))
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    if failed:
        return 1
    return NOT_HERE if skipped and not passed else 0


def selection(part, words):
    loader = unittest.defaultTestLoader
    tests = list(live.select(loader.discover(HERE, "test_*.py", HERE), words))
    tests += [test for test in live.select(loader.discover(live.HERE, "test_*.py", live.HERE), LIVE)
              if not words or any(word in test.id() for word in words)]
    return [test for test in tests if PARTS[part](test)]


def main():
    words = sys.argv[1:]
    if words[:1] == ["--inside"]:
        return live.run(selection(words[1], words[2:]))
    return outside(words)


if __name__ == "__main__":
    sys.exit(main())
