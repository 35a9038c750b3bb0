# SPDX-License-Identifier: MIT
"""From execve() to the guest's first byte on the serial port, and to the monitor's greeting."""

import os
import subprocess

import machines
import report


def _launch(tools, argv, monitor, greeting):
    """Milliseconds of time and of processor time."""
    done = subprocess.run(
        [tools.program("launch"), *(["-s", monitor] if greeting else []), *argv],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if os.path.exists(monitor):
        os.unlink(monitor)
    if done.returncode:
        raise RuntimeError(f"{argv[0]}: {done.stderr.strip()}")
    wall, processor = done.stdout.split()
    return int(wall) / 1e6, int(processor) / 1e3


def _compare(tools, title, kinds, guest, cpus, rounds, greeting):
    walls = {kind: [] for kind in kinds}
    processor = {kind: [] for kind in kinds}
    for number in range(-1, rounds):            # the first brings the files into memory
        for kind in kinds:
            monitor = machines.new_socket_path(tools)
            wall, cpu = _launch(tools, kind.argv(guest, cpus, monitor), monitor, greeting)
            if number >= 0:
                walls[kind].append(wall)
                processor[kind].append(cpu)
    ours = report.median(walls[kinds[0]])
    report.print_table(
        f"execve() to {title}, ms, {rounds} rounds: {cpus} vCPU",
        ["", "p50", "min", "p90", "CPU p50", "vmond/this"],
        [[kind.name, *report.spread(walls[kind], 1), report.number(report.median(processor[kind])),
          "" if kind is kinds[0] else f"{ours / report.median(walls[kind]):.3f}"]
         for kind in kinds])


def measure(tools, vmond, qemu, options):
    kinds, left_out = machines.others(tools)
    for cpus in options.cpus:
        _compare(tools, "the guest's first byte", [vmond, qemu, *kinds], "hello", cpus,
                 options.rounds, False)
    _compare(tools, "the monitor's greeting", [vmond, qemu], "halted", 1, options.rounds, True)
    if left_out:
        print(f"  {left_out}")
