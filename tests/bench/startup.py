# SPDX-License-Identifier: MIT
"""From execve() to the guest's first byte on the serial port, and to the monitor's greeting."""

import os
import subprocess

import machines
import report


def launch(tools, argv, *options):
    """Milliseconds to each mark that the options of launch.c name, and of processor time."""
    done = subprocess.run([tools.program("launch"), *options, *argv], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{argv[0]}: {done.stderr.strip()}")
    *walls, processor = done.stdout.split()
    return [int(wall) / 1e6 for wall in walls], int(processor) / 1e3


def _launch_once(tools, kind, guest, cpus, greeting):
    monitor = machines.new_socket_path(tools)
    (wall,), cpu = launch(tools, kind.argv(guest, cpus, monitor),
                          *(["-s", monitor] if greeting else []))
    if os.path.exists(monitor):
        os.unlink(monitor)
    return wall, cpu


def _compare(tools, title, kinds, guest, cpus, rounds, greeting):
    walls = {kind: [] for kind in kinds}
    processor = {kind: [] for kind in kinds}
    for number in range(-1, rounds):            # the first brings the files into memory
        for kind in kinds:
            wall, cpu = _launch_once(tools, kind, guest, cpus, greeting)
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
