# SPDX-License-Identifier: MIT
"""What guests print, line by line: a step that was lost, repeated or gone wrong is found.

Each function takes what a guest has printed from its start on, whoever it ran under, and returns how
far it has come; the last line may be incomplete.
"""

import itertools
import re

MASK = (1 << 64) - 1


def _rotate(value, bits):
    return (value << bits | value >> (64 - bits)) & MASK


def _compute_long_checksums():
    """The sequence that long.S works through, computed anew."""
    words, checksum, number = [0] * 64, 0x0123456789abcdef, 0x9e3779b97f4a7c15
    while True:
        for i, word in enumerate(words):
            number = (number * 6364136223846793005 + 1442695040888963407) & MASK
            words[i] = _rotate(word, 1) ^ number
            checksum = (_rotate(checksum, 5) + words[i]) & MASK
        yield checksum


_computed, _computation = [], _compute_long_checksums()


def _long_checksums():
    """The same, but computed once however often a text is gone through."""
    for number in itertools.count():
        if number == len(_computed):
            _computed.append(next(_computation))
        yield _computed[number]


class Wrong(AssertionError):
    """Not what the guest prints when nothing happens to it."""


class _Lines:
    """The lines of a text, one after the other; False from the last one's incomplete rest on."""

    def __init__(self, text):
        self.lines = text.split("\n")
        self.number = 0

    def take(self, start, rest=""):
        """The match of what is behind the start of the next line, or None at the end.

        The start is plain text: to compile each step's own pattern would take longer than all else.
        """
        if self.number == len(self.lines) - 1:
            return None
        line = self.lines[self.number]
        match = line.startswith(start) and re.compile(rest).fullmatch(line, len(start))
        if not match:
            before = "\n".join(self.lines[max(0, self.number - 3):self.number])
            raise Wrong(f"line {self.number + 1} is {line!r} and not {start + rest!r}; before "
                        f"it come\n{before}")
        self.number += 1
        return match


def long(text, cpus):
    """long.elf and long-halt.elf."""
    lines, ticks, counts = _Lines(text), 0, {}
    if not lines.take("long"):
        return 0
    for step, checksum in enumerate(_long_checksums(), 1):
        match = lines.take(f"step {step} {checksum:016x} ticks ", r"(\d+)")
        if not match:
            return step - 1
        if int(match[1]) < ticks:
            raise Wrong(f"step {step}: time has gone back from {ticks} to {match[1]}")
        ticks = int(match[1])
        if step % 4 or cpus == 1:
            continue
        ap = step // 4 % (cpus - 1) + 1
        match = lines.take(f"ap {ap} ", r"(\d+)")
        if not match:
            return step
        # 32 bits of it, which wrap only for a guest much older than a test's.
        if int(match[1]) < counts.get(ap, 0):
            raise Wrong(f"vCPU {ap} has counted back from {counts[ap]} to {match[1]}")
        counts[ap] = int(match[1])


def svm(text, cpus):
    """svm.elf: what its inner guest has come to."""
    lines = _Lines(text)
    if not lines.take("svm") or not lines.take("nested paging ", "[01]"):
        return 0
    for step, checksum in enumerate(_long_checksums(), 1):
        if not lines.take(f"step {step} {checksum:016x}"):
            return step - 1


def pae(text, cpus):
    lines, number, pages, swapped = _Lines(text), 0x9e3779b9, [0, 0], 1
    if not lines.take("pae") or not lines.take("paging"):
        return 0
    where = lines.take("pdptrs ", "(kept|in memory)")
    if not where:
        return 0
    step = 0
    while True:
        step += 1
        number = (number * 1664525 + 1013904223) & 0xffffffff
        # Which page the first window shows; in each of 64 rounds one is added to, the other XORed.
        first = swapped ^ (where[1] == "kept")
        pages[first] = (pages[first] + 64 * number) & 0xffffffff
        if not lines.take(f"step {step} {sum(pages) & 0xffffffff:08x}"):
            return step - 1
        if step % 4 == 0:
            swapped ^= 1


def io_loop(text, cpus):
    lines, counts = _Lines(text), {}
    if not lines.take("io-loop"):
        return 0
    number = 0
    while True:
        number += 16
        if not lines.take(f"io {number} {cpus}"):
            return number // 16 - 1
        if cpus == 1:
            continue
        ap = number // 16 % (cpus - 1) + 1
        match = lines.take(f"ap {ap} ", r"(\d+)")
        if not match:
            return number // 16
        if int(match[1]) < counts.get(ap, 0):
            raise Wrong(f"vCPU {ap} has counted back from {counts[ap]} to {match[1]}")
        counts[ap] = int(match[1])


def _counter(text, banner, name, period):
    lines, count = _Lines(text), 0
    if not lines.take(banner):
        return 0
    while lines.take(f"{name} {(count + 1) * period}"):
        count += 1
    return count


def counter(text, cpus):
    return _counter(text, "real-counter", "count", 1 << 18)


def counter_halt(text, cpus):
    return _counter(text, "real-counter", "count", 16)


def prot(text, cpus):
    """From where it has said what its loader told it."""
    front, ready, rest = text.partition("ready\n")
    if not ready:
        return 0
    for line in front.split("\n")[:-1]:
        if not re.match("prot|memory lower |cmdline|mmap |module size ", line):
            raise Wrong(f"{line!r} comes before it is ready")
    return 1 + _counter(ready + rest, "ready", "ticks", 16)
