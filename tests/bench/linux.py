# SPDX-License-Identifier: MIT
"""From execve() to a Debian kernel's entry, its first byte on the serial port, and user space.

All get the same kernel, initrd and command line.  Its edd=off makes the kernel's first line the
first byte for all: the bzImage's 16-bit part, which only some programs run, else says something
about disks.  The entry is seen by a copy of the kernel with other first instructions, which send a
byte: that is how long the program itself takes; from there to the first byte the kernel takes over,
and on a host whose KVM emulates the guest's instructions next to nothing else counts.
"""

import os
import select
import struct
import subprocess
import sys
import time

import footprint
import machines
import report
import startup

TESTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
sys.path.insert(0, TESTS)

import debian_kernel  # noqa: E402 (the path comes first)

IMAGES = (("vmlinux", "vmlinux, by its PVH entry"), ("vmlinuz", "bzImage"))
COMMAND_LINE = "earlyprintk=ttyS0 console=ttyS0 edd=off"
FIRST_LINE = b"[    0.000000] Linux version "
FIRST_BYTE = b"["         # no program says so by itself
USER_SPACE = b"vmond-lab: user space reached"
SILENCE = 30            # seconds after which a kernel says nothing more

# In 32 and 64 bits alike: mov $0x3f8, %dx; mov $2, %al, the mark of hello.S; out; cli; hlt; jmp.
MARK = b"\2"
SEND_MARK = bytes.fromhex("66baf803 b002 ee fa f4 ebfc")
PT_LOAD, PT_NOTE = 1, 4
XEN_ELFNOTE_PHYS32_ENTRY = 18


class _Missing(RuntimeError):
    """What is needed can not be had; the text says why."""


def _pvh_entry(elf):
    """The offset in an ELF64 image of what its PVH note says is the entry."""
    start, = struct.unpack_from("<Q", elf, 0x20)
    size, number = struct.unpack_from("<HH", elf, 0x36)
    segments = [struct.unpack_from("<I4xQ8xQQ", elf, start + i * size) for i in range(number)]
    for kind, offset, _, length in segments:
        end = offset + length
        while kind == PT_NOTE and offset < end:
            name, content, note = struct.unpack_from("<III", elf, offset)
            at = offset + 12 + (name + 3 & -4)
            if note == XEN_ELFNOTE_PHYS32_ENTRY and elf[offset + 12:at] == b"Xen\0":
                entry, = struct.unpack_from("<I", elf, at)
                return next(offset + entry - gpa for kind, offset, gpa, length in segments
                            if kind == PT_LOAD and gpa <= entry < gpa + length)
            offset = at + (content + 3 & -4)
    raise _Missing("the kernel has no PVH note")


def _entries(image):
    """Offsets of the instructions that are the kernel's first."""
    if image.startswith(b"\x7fELF"):
        return [_pvh_entry(image)]
    protected_mode = (image[0x1f1] + 1) * 512   # boot.rst: setup_sects
    return [protected_mode, protected_mode + 0x200]


def _entered(path):
    """Of an image the copy that says no more than that it was entered."""
    return path + ".entered"


def prepare(tools):
    """Brings kernels and initrd to where measure() finds them."""
    try:
        kernel = debian_kernel.fetch(say=lambda text: print(text, file=sys.stderr))
    except debian_kernel.Unavailable as e:
        raise _Missing(str(e)) from None
    for path, name in (kernel.vmlinux, "vmlinux"), (kernel.bzimage, "vmlinuz"):
        target = os.path.join(tools.directory, name)
        os.symlink(path, target)
        with open(path, "rb") as f:
            image = bytearray(f.read())
        for offset in _entries(image):
            image[offset:offset + len(SEND_MARK)] = SEND_MARK
        with open(_entered(target), "wb") as f:
            f.write(image)
    made = subprocess.run([os.path.join(TESTS, "lab", "initrd"), _initrd(tools)],
                          stderr=subprocess.PIPE, text=True, check=False)
    if made.returncode:
        raise _Missing(made.stderr.strip())


def _initrd(tools):
    return os.path.join(tools.directory, "initrd")


class _Boot:
    """How far a kernel comes on the way to what it should say, and its program's memory there."""

    def __init__(self, kind, argv, wanted):
        with machines.Process(argv) as process:
            text = _follow(process, wanted)
            self.memory = footprint.beyond_guest(process.pid)
        self.name = kind.name
        self.reached = wanted in text
        start = text.find(FIRST_BYTE)
        if start >= 0 and not text[start:].startswith(FIRST_LINE):
            raise RuntimeError(f"{kind.name}: {text[:80]!r} is not how a kernel begins")
        self.last_line = text[max(start, 0):].decode(errors="replace").strip().split("\n")[-1]

    def shortfall(self):
        if self.last_line:
            return f"{self.name}: the kernel comes no further than \"{self.last_line.strip()}\""
        return f"{self.name}: the kernel says nothing within {SILENCE} seconds"


def _follow(process, wanted):
    """What the kernel says until it says what is wanted, or says nothing any more."""
    fd, text = process.process.stdout.fileno(), b""
    while wanted not in text and select.select([fd], [], [], SILENCE)[0]:
        piece = os.read(fd, 1 << 16)
        if not piece:
            said = process.process.stderr.read().decode(errors="replace").strip()
            raise RuntimeError(f"{process.process.args[0]}: {said or 'it has ended'}")
        text += piece
    return text


def _take_turns(tools, argvs, mark, options):
    """For each command the milliseconds to its mark; none for a command that is None."""
    samples = [[] for _ in argvs]
    end = time.monotonic() + options.seconds
    for number in range(options.rounds):
        if number and time.monotonic() >= end:
            break
        for argv, own in zip(argvs, samples):
            if argv:
                (wall,), _ = startup.launch(tools, argv, "-m", mark)
                own.append(wall)
    return samples


def _row(name, samples):
    """Each program's figures, and to all but the first vmond's share of them."""
    cells = [name, str(max(map(len, samples)))]
    for number, own in enumerate(samples):
        cells += report.spread(own, 1) if own else ["-"] * 3
        if number:
            cells.append(f"{report.median(samples[0]) / report.median(own):.3f}"
                         if own and samples[0] else "-")
    return cells


def _measure_image(tools, image, title, kinds, options):
    path = os.path.join(tools.directory, image)
    entered = [kind.linux_argv(_entered(path), _initrd(tools), COMMAND_LINE) for kind in kinds]
    argvs = [kind.linux_argv(path, _initrd(tools), COMMAND_LINE) for kind in kinds]
    startup.launch(tools, entered[0], "-m", MARK)       # brings the file into memory
    rows = [_row("kernel entered", _take_turns(tools, entered, MARK, options))]
    # A boot that is not measured comes first, and says who gets there.
    for name, wanted, mark in (("first byte", FIRST_LINE, FIRST_BYTE),
                               ("user space", USER_SPACE, USER_SPACE)):
        boots = [_Boot(kind, argv, wanted) for kind, argv in zip(kinds, argvs)]
        samples = _take_turns(tools, [argv if boot.reached else None
                                      for argv, boot in zip(argvs, boots)], mark, options)
        if any(samples):
            rows.append(_row(name, samples))
        if not all(boot.last_line for boot in boots):
            break                                       # user space would be waited for in vain
    header = ["", "rounds", "vmond p50", "min", "p90"]
    for kind in kinds[1:]:
        header += [f"{kind.name} p50", "min", "p90", f"vmond/{kind.name}"]
    report.print_table(f"execve() to where a Linux kernel gets, ms: {title}, 1 vCPU", header, rows)
    for boot in boots:
        if not boot.reached:
            print(f"  {boot.shortfall()}", flush=True)
    return [[f"{kind.name}, {image}", *map(str, boot.memory)] for kind, boot in zip(kinds, boots)]


def measure(tools, vmond, qemu, options):
    try:
        if not os.path.exists(_initrd(tools)):
            prepare(tools)
    except _Missing as e:
        print(f"\nLinux: {e}")
        return
    others, left_out = machines.others(tools)
    kinds = [vmond, qemu, *(kind for kind in others if isinstance(kind, machines.Kvmtool))]
    memory = []
    for image, title in IMAGES:
        memory += _measure_image(tools, image, title, kinds, options)
    report.print_table(
        f"Memory beyond the guest's {machines.MEMORY_MIB} MiB, kB, where its kernel gets",
        ["", "resident", "proportional", "private dirty"], memory)
    if left_out:
        print(f"  {left_out}")
