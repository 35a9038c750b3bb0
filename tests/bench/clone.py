# SPDX-License-Identifier: MIT
"""Machines started paused from a saved state, alone and a hundred at once; and saving one.

The machine is that of clone.S with one vCPU.  It is stopped, every other MiB of its RAM is filled
with random bytes from outside, and it is saved: vmond to a file, by snapshot-save, QEMU to one
through a pipe.  Then each starts from that, vmond mapping its file and QEMU reading its own through
a pipe, and beside them a program that does no more with vmond's file than tell KVM what it has to
be told.  Saving is up against dd, which writes the same bytes that are not zero to the same
directory, and like vmond waits until they are on the disk.
"""

import itertools
import os
import re
import shutil
import subprocess
import time

import machines
import report
import startup

SIZES_MIB = (128, 1024, 4096)
SAVED_MIB = 1024
FLEET = 100
FLEET_SIZES_MIB = (128, 1024)
# Each has all of its memory to itself.
QEMU_FLEET, QEMU_FLEET_MIB = 10, 128
LEAST_ROUNDS = 3                        # of what takes seconds
MIB = 1 << 20
START, GO = 0x7c00, 0x7000              # as in clone.S

_MAPPING = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) rw")
_PRIVATE = re.compile(r"^Private_(?:Clean|Dirty): +(\d+) kB$", re.MULTILINE)


class _Vmond(machines.Vmond):
    def boot_argv(self, guest, mib, monitor):
        return [self.program, "run", "--kernel", self.tools.image(guest), "--memory", f"{mib}M",
                "--serial", "stdio", "--monitor", f"unix:{monitor}"]

    def save(self, monitor, path):
        monitor.round_trip(machines.request("snapshot-save", filename=path))

    def clone_argv(self, path, _mib, monitor):
        return [self.program, "run", "--clone", path, "--paused", "--serial", "stdio",
                "--monitor", f"unix:{monitor}"]


class _Qemu(machines.Qemu):
    def _machine(self, mib, monitor, *more):
        argv = self.argv("clone", 1, monitor)
        argv[argv.index("-m") + 1] = str(mib)
        return [*argv, *more]

    def boot_argv(self, _guest, mib, monitor):
        return self._machine(mib, monitor)

    def save(self, monitor, path):
        """Its own limit is meant for networks."""
        monitor.round_trip(machines.request("migrate-set-parameters", max_bandwidth=1 << 40))
        monitor.round_trip(machines.request(
            "migrate", uri=f"exec:dd of={path} bs=1M iflag=fullblock conv=fsync 2>/dev/null"))

    def clone_argv(self, path, mib, monitor):
        return self._machine(mib, monitor, "-S", "-incoming", f"exec:cat {path}")


class _Bare:
    name = "bare"

    def __init__(self, tools):
        self.tools = tools

    def clone_argv(self, path, _mib, monitor):
        return [self.tools.program("clone_bare"), path, monitor]


class _Source(machines.Process):
    """A stopped machine that is to be saved, half of its RAM filled."""

    def __init__(self, kind, mib):
        self.kind, self.mib = kind, mib
        path = machines.new_socket_path(kind.tools)
        super().__init__(kind.boot_argv("clone", mib, path))
        try:
            self.await_bytes(1)
            self.monitor = machines.Connection(path)
            self.monitor.socket.recv(4096)      # the greeting
            self.monitor.round_trip(machines.request("qmp_capabilities"))
            self.monitor.round_trip(machines.request(
                "migrate-set-capabilities", capabilities=[{"capability": "events", "state": True}]))
            self.monitor.round_trip(machines.request("stop"))
            self._fill()
        except BaseException:
            super().close()
            raise

    def _ram(self, memory):
        """Where it is, which is where the guest's code is found."""
        size = self.mib * MIB
        with open(self.kind.tools.image("clone"), "rb") as f:
            code = f.read()
        with open(f"/proc/{self.pid}/maps", encoding="utf-8") as f:
            ranges = [(int(m[1], 16), int(m[2], 16)) for m in map(_MAPPING.match, f) if m]
        ends = {}                               # each range's, or that of those right behind it
        for start, end in reversed(ranges):
            ends[start] = ends.get(end, end)
        for start, end in ends.items():
            for address in start, end - size:
                if start <= address <= end - size and \
                        os.pread(memory, len(code), address + START) == code:
                    return address
        raise RuntimeError(f"{self.kind.name}: its guest's RAM is not found")

    def _fill(self):
        memory = os.open(f"/proc/{self.pid}/mem", os.O_RDWR)
        try:
            start = self._ram(memory)
            block = os.urandom(MIB)
            for number in range(1, self.mib, 2):
                os.pwrite(memory, block, start + number * MIB)
            os.pwrite(memory, b"\1", start + GO)
        finally:
            os.close(memory)

    def save(self, path):
        """Seconds until the machine says that it is done."""
        start = time.perf_counter()
        self.kind.save(self.monitor, path)
        seen = b""
        while not re.search(rb'"status": "(completed|failed)"', seen):
            seen += self.monitor.socket.recv(1 << 16)
        took = time.perf_counter() - start
        if b'"failed"' in seen:
            raise RuntimeError(f"{self.kind.name}: saving has failed: {seen!r}")
        return took

    def close(self):
        self.monitor.close()
        super().close()


def _saved(kind, mib, path):
    """Saves a machine there, and returns the path."""
    with _Source(kind, mib) as source:
        source.save(path)
    return path


def _launch(tools, kind, path, mib):
    monitor = machines.new_socket_path(tools)
    walls, processor = startup.launch(tools, kind.clone_argv(path, mib, monitor), "-c", monitor)
    if os.path.exists(monitor):
        os.unlink(monitor)
    return *walls, processor


def _take_turns(tools, kinds, paths, mib, options):
    """For each kind its samples of milliseconds to paused, from cont to the mark, and of processor
    time.  One whose time is up makes do with fewer rounds."""
    samples = [[] for _ in kinds]
    spent = [0.0] * len(kinds)
    for number in range(-1, options.rounds):    # the first brings the files into memory
        for i, (kind, path) in enumerate(zip(kinds, paths)):
            if number >= LEAST_ROUNDS and spent[i] >= options.seconds:
                continue
            start = time.monotonic()
            sample = _launch(tools, kind, path, mib)
            spent[i] += time.monotonic() - start
            if number >= 0:
                samples[i].append(sample)
    return [list(zip(*own)) for own in samples]


def _rows(kinds, samples, which):
    ours = report.median(samples[0][which])
    for kind, own in zip(kinds, samples):
        yield [kind.name, str(len(own[which])), *report.spread(own[which], 1),
               report.number(report.median(own[2])),
               "" if own is samples[0] else f"{ours / report.median(own[which]):.3f}"]


def _launches(tools, vmond, qemu, bare, options):
    kinds = [vmond, bare, qemu]
    to_paused, to_mark, rounds = [], [], []
    for mib in SIZES_MIB:
        ours = _saved(vmond, mib, os.path.join(tools.directory, "ours"))
        theirs = _saved(qemu, mib, os.path.join(tools.directory, "theirs"))
        samples = _take_turns(tools, kinds, [ours, ours, theirs], mib, options)
        os.unlink(ours)
        os.unlink(theirs)
        to_paused += [[f"{mib} MiB"], *_rows(kinds, samples, 0)]
        to_mark += [[f"{mib} MiB"], *([*row[:5], row[6]] for row in _rows(kinds, samples, 1))]
    header = ["", "rounds", "p50", "min", "p90"]
    report.print_table("execve() of a clone to paused, with query-status answered, ms",
                       [*header, "CPU p50", "vmond/this"], to_paused)
    report.print_table("cont to the guest's first instruction, ms", [*header, "vmond/this"],
                       to_mark)


def _private(pids):
    """Median KiB that a process has to itself."""
    each = []
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup", encoding="utf-8") as f:
            each.append(sum(map(int, _PRIVATE.findall(f.read()))))
    return report.median(each)


def _continue(tools, prefix, count):
    for number in range(count):
        monitor = machines.Connection(os.path.join(tools.directory, f"{prefix}{number}"))
        monitor.socket.recv(4096)
        monitor.round_trip(machines.request("qmp_capabilities"))
        monitor.round_trip(machines.request("cont"))
        monitor.close()
    time.sleep(1)                               # by then the guests sleep


def _fleet_once(tools, kind, path, mib, count):
    """Milliseconds for all, and KiB each has to itself, paused and after it has run."""
    prefix = os.path.basename(machines.new_socket_path(tools)) + "-"
    monitor = os.path.join(tools.directory, prefix + "%d")
    with subprocess.Popen([tools.program("fleet"), str(count), monitor,
                           *kind.clone_argv(path, mib, monitor)],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as fleet:
        took, *pids = map(int, fleet.stdout.readline().split() or [0])
        if len(pids) != count:
            raise RuntimeError(f"{kind.name}: {count} of it do not start")
        paused = _private(pids)
        _continue(tools, prefix, count)
        memory = paused, _private(pids)
        fleet.stdin.close()
    for number in range(count):
        if os.path.exists(monitor.replace("%d", str(number))):
            os.unlink(monitor.replace("%d", str(number)))
    return took / 1e6, *memory


def _fleets(tools, vmond, qemu, bare, options):
    rows = []
    for mib in FLEET_SIZES_MIB:
        fleets = [(vmond, FLEET), (bare, FLEET)]
        ours = _saved(vmond, mib, os.path.join(tools.directory, "ours"))
        theirs = None
        if mib == QEMU_FLEET_MIB:
            theirs = _saved(qemu, mib, os.path.join(tools.directory, "theirs"))
            fleets.append((qemu, QEMU_FLEET))
        samples = [[] for _ in fleets]
        for _ in range(min(options.rounds, LEAST_ROUNDS)):
            for (kind, count), own in zip(fleets, samples):
                own.append(_fleet_once(tools, kind, theirs if kind is qemu else ours, mib, count))
        rows.append([f"{mib} MiB"])
        for (kind, count), own in zip(fleets, samples):
            took, paused, ran = (report.median(column) for column in zip(*own))
            rows.append([kind.name, str(count), report.number(took), report.number(took / count),
                         str(paused), str(ran)])
        for path in filter(None, (ours, theirs)):
            os.unlink(path)
    report.print_table("Clones started at once: ms until all answer; KiB each has to itself",
                       ["", "clones", "ms", "ms each", "paused", "has run"], rows)


def _dd(content, path):
    start = time.perf_counter()
    subprocess.run(["dd", f"if={content}", f"of={path}", "bs=1M", "conv=fsync", "status=none"],
                   check=True)
    return time.perf_counter() - start


def _save_new(kind, path):
    """QEMU's machine whose state has been written does that no second time."""
    with _Source(kind, SAVED_MIB) as source:
        return source.save(path)


def _saves(tools, vmond, qemu, options):
    content, path = (os.path.join(tools.directory, name) for name in ("content", "saved"))
    with open(content, "wb") as f:
        block = os.urandom(MIB)
        for _ in range(SAVED_MIB // 2):
            f.write(block)
        os.fsync(f.fileno())
    end = time.monotonic() + options.seconds
    with _Source(vmond, SAVED_MIB) as ours:
        ways = [("vmond", lambda: ours.save(path)),
                ("dd, the same bytes", lambda: _dd(content, path)),
                ("QEMU", lambda: _save_new(qemu, path))]
        samples = {name: [] for name, _ in ways}
        # Each comes first as often as the others: a disk is the slower the more was just written.
        for number in itertools.count():
            first = number % len(ways)
            if number and not first and (number >= options.rounds or time.monotonic() >= end):
                break
            for name, save in ways[first:] + ways[:first]:
                samples[name].append(save())
                os.unlink(path)
                os.sync()
    os.unlink(content)
    median = report.median(samples["vmond"])
    report.print_table(
        f"Saving a machine of {SAVED_MIB} MiB, {SAVED_MIB // 2} of them not zero, to the disk, ms",
        ["", "rounds", "p50", "min", "p90", "this/vmond"],
        [[name, str(len(own)), *report.spread(own, 1e-3),
          "" if name == "vmond" else f"{report.median(own) / median:.3f}"]
         for name, own in samples.items()])


def measure(tools, vmond, qemu, options):
    vmond, qemu, bare = _Vmond(tools, vmond.program), _Qemu(tools, qemu.program), _Bare(tools)
    free = shutil.disk_usage(tools.directory).free
    if free < 2 * max(SIZES_MIB) * MIB:
        print(f"\nClones: {tools.directory} has no room for {2 * max(SIZES_MIB)} MiB; "
              "TMPDIR names another place")
        return
    _launches(tools, vmond, qemu, bare, options)
    _fleets(tools, vmond, qemu, bare, options)
    _saves(tools, vmond, qemu, options)
