#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the tests of whole Linux guests in the lab: one line each, and the count at the end.

usage: run.py [WORD]...            only tests whose name contains one of the words
       run.py --inside [WORD]...   what the former runs in the lab; on a machine with VMX or SVM
                                   it can be run without, see FILES in test_linux.py

VMOND and GUESTS in the environment say where things are, as for the live tests.  Exit status 0 if
nothing failed, 1 if something did, 77 if everything was skipped.
"""

import os
import signal
import subprocess
import sys
import tempfile
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
SECONDS, PATIENCE = 1200, 150
# The largest guest has 5 GiB, of which it touches little.
MEMORY = 6144
# What is worth seeing again on a KVM that does not emulate the guest's instructions.
LIVE = ["test_real_mode", "test_multiboot", "test_pvh", "test_long_mode", "test_memory_map",
        "test_what_is_seen"]


def skip(reason):
    print(f"skip  lab: {reason}")
    print("0 passed, 0 failed, 1 skipped")
    return NOT_HERE


def make_files(directory):
    """What the tests need: kernels, their symbols, and the first file system."""
    kernel = debian_kernel.fetch(lambda text: print(text, flush=True))
    os.symlink(kernel.bzimage, os.path.join(directory, "vmlinuz"))
    os.symlink(kernel.vmlinux, os.path.join(directory, "vmlinux"))
    with open(kernel.vmlinux, "rb") as f:
        table = kallsyms.symbols(f.read())
    with open(os.path.join(directory, "symbols"), "w", encoding="utf-8") as f:
        f.writelines(f"{address:x} {kind} {name}\n" for address, kind, name in table
                     if kind in "tT")
    subprocess.run([os.path.join(HERE, "initrd"), os.path.join(directory, "initrd")], check=True)


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
        return subprocess.run(
            [LAB, "-c", "1", "-m", str(MEMORY), "-t", str(SECONDS), "--", "env",
             f"VMOND={vmond.PROGRAM}", f"GUESTS={vmond.GUESTS}", f"FILES={directory}",
             f"VMOND_TEST_TIMEOUT={PATIENCE}", sys.executable, os.path.abspath(__file__),
             "--inside", *words], check=False).returncode


def inside(words):
    loader = unittest.defaultTestLoader
    tests = list(live.select(loader.discover(HERE, "test_*.py", HERE), words))
    tests += [test for test in live.select(loader.discover(live.HERE, "test_*.py", live.HERE), LIVE)
              if not words or any(word in test.id() for word in words)]
    return live.run(tests)


def main():
    words = sys.argv[1:]
    if words[:1] == ["--inside"]:
        return inside(words[1:])
    return outside(words)


if __name__ == "__main__":
    sys.exit(main())
