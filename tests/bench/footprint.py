# SPDX-License-Identifier: MIT
"""Memory of an idle machine's process beyond the guest's RAM."""

import re

import machines
import report

_MAPPING = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ (\d+)")
_FIGURE = re.compile(r"^(Size|Rss|Pss|Private_Dirty): +(\d+) kB$")


def _mappings(pid):
    with open(f"/proc/{pid}/smaps", encoding="utf-8") as f:
        for line in f:
            if m := _MAPPING.match(line):
                mapping = {"start": m[1], "end": m[2], "inode": int(m[3])}
                yield mapping
            elif m := _FIGURE.match(line):
                mapping[m[1]] = int(m[2])


def _guest_ram(mappings):
    """The one anonymous mapping of just the guest's size or, merged with a neighbour, a little
    more; or two side by side, where the host was told to treat a part of it differently."""
    pairs = [[a, b] for a, b in zip(mappings, mappings[1:]) if a["end"] == b["start"]]
    for candidates in [[m] for m in mappings], pairs:
        fitting = [(size, c) for c in candidates if all(m["inode"] == 0 for m in c)
                   and (size := sum(m["Size"] for m in c)) >= machines.MEMORY_MIB << 10]
        if fitting:
            return min(fitting, key=lambda f: f[0])[1]
    return []


def beyond_guest(pid):
    """KiB resident, proportional and private."""
    mappings = list(_mappings(pid))
    ram = _guest_ram(mappings)
    if not ram:
        raise RuntimeError(f"process {pid} has no mapping of {machines.MEMORY_MIB} MiB")
    return [sum(m[key] for m in mappings if m not in ram)
            for key in ("Rss", "Pss", "Private_Dirty")]


def measure(tools, vmond, qemu, options):
    others, left_out = machines.others(tools)
    rows = []
    for kind in [vmond, qemu, *others]:
        least = None                            # with the fewest vCPUs
        for cpus in options.cpus:
            # One at a time, or they would share each other's pages.
            with machines.Machine(kind, "halted", cpus) as machine:
                rss, pss, private = beyond_guest(machine.pid)
            if least is None:
                least = (cpus, pss)
            further = f"{(pss - least[1]) / (cpus - least[0]):.1f}" if cpus > least[0] else ""
            rows.append([kind.name, str(cpus), str(rss), str(pss), str(private), further])
    report.print_table(
        f"Memory beyond the guest's {machines.MEMORY_MIB} MiB, kB, halted guest",
        ["", "vCPUs", "resident", "proportional", "private dirty", "PSS per further vCPU"], rows)
    if left_out:
        print(f"  {left_out}")
