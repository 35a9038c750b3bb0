#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Symbols of a Linux kernel image, from the table that the kernel itself carries.

usage: kallsyms.py VMLINUX [ADDRESS]...

Distributions strip the symbol table and leave System.map empty, but the kernel keeps its own table
for its stack traces (kernel/kallsyms.c; written by scripts/kallsyms.c of the kernel's build).
Without ADDRESS all symbols are printed as System.map has them; with addresses (hexadecimal), the
symbol and the offset into it of each.
"""

import bisect
import struct
import sys


class NotFound(Exception):
    pass


def read_tokens(image, digits):
    """The 256 strings that names are put together from; `digits` is where token "0" starts."""
    start = digits
    for _ in range(ord("0")):
        start = image.rindex(b"\0", 0, start - 1) + 1
    tokens, at = [], start
    for _ in range(256):
        end = image.index(b"\0", at)
        tokens.append(image[at:end])
        at = end + 1
    return start, tokens


def read_names(image, at, count, tokens):
    """`count` names put together, or None if what is at `at` is not the names.

    Behind them stand the markers: the offsets of every 256th name.
    """
    names, start, markers = [], at, []
    for i in range(count):
        if i % 256 == 0:
            markers.append(at - start)
        length = image[at]
        at += 1
        if length & 0x80:
            length = (length & 0x7F) | image[at] << 7
            at += 1
        if not length:
            return None
        names.append(b"".join([tokens[byte] for byte in image[at:at + length]]))
        at += length
    at += -at % 8
    found = struct.unpack_from(f"<{len(markers)}I", image, at)
    return names if list(found) == markers else None


def read_table(image, digits):
    """[(address, type, name)] of the table whose token "0" starts at `digits`."""
    tokens_start, tokens = read_tokens(image, digits)
    # In front of the names: offsets, the address they count from, the number of symbols.
    for at in range(tokens_start - tokens_start % 8, 0x1000, -8):
        base, count = struct.unpack_from("<QQ", image, at)
        if base >> 31 != 0x1FFFFFFFF or not 1000 < count < 1 << 20:
            continue
        names = read_names(image, at + 16, count, tokens)
        if names:
            break
    else:
        raise NotFound("no names in front of the tokens")
    offsets_start = at - 4 * count
    offsets_start -= offsets_start % 8
    found = []
    for offset, name in zip(struct.unpack_from(f"<{count}i", image, offsets_start), names):
        # Per-CPU symbols are absolute and positive, the others count down from the base.
        address = offset if offset >= 0 else base - 1 - offset
        found.append((address, chr(name[0]), name[1:].decode("ascii", "replace")))
    return sorted(found)


def symbols(image):
    """[(address, type, name)], sorted by address."""
    wanted = b"".join(b"%d\0" % d for d in range(10))
    digits = image.find(wanted)
    while digits >= 0:
        try:
            return read_table(image, digits)
        except (NotFound, ValueError, IndexError, struct.error):
            digits = image.find(wanted, digits + 1)     # some other table of strings
    raise NotFound("no table of symbols")


def resolve(table, address):
    """"name+0x1f" of the symbol at or below an address.

    Before the kernel turns paging on, addresses are physical: those of its own map, less its start.
    """
    if address < 1 << 30:
        address += 0xFFFFFFFF80000000
    code = [s for s in table if s[0] >= 0xFFFF800000000000]
    i = bisect.bisect_right(code, (address, "\x7f", "\x7f")) - 1
    if i < 0 or address - code[i][0] > 1 << 20:
        return "?"
    return f"{code[i][2]}+0x{address - code[i][0]:x}"


def main(argv):
    if len(argv) < 2:
        sys.exit(__doc__.split("\n\n")[1])
    try:
        with open(argv[1], "rb") as file:
            table = symbols(file.read())
    except (OSError, NotFound) as err:
        sys.exit(f"kallsyms.py: {argv[1]}: {err}")
    for word in argv[2:]:
        print(resolve(table, int(word, 16)))
    if len(argv) == 2:
        for address, kind, name in table:
            print(f"{address:016x} {kind} {name}")


if __name__ == "__main__":
    main(sys.argv)
