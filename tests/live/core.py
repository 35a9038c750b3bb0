# SPDX-License-Identifier: MIT
"""An ELF core file taken apart: its threads' registers, QEMU's notes, and memory by address."""

import struct

REGISTERS64 = ("r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs rflags "
               "rsp ss fs_base gs_base ds es fs gs").split()
REGISTERS32 = "ebx ecx edx esi edi ebp eax ds es fs gs orig_eax eip cs eflags esp ss".split()
QEMU_REGISTERS = ("rax rbx rcx rdx rsi rdi rsp rbp r8 r9 r10 r11 r12 r13 r14 r15 rip "
                  "rflags").split()
QEMU_SEGMENTS = "cs ds es fs gs ss ldt tr gdt idt".split()
PT_LOAD, PT_NOTE, NT_PRSTATUS = 1, 4, 1
EM_386, EM_X86_64 = 3, 62


class Core:
    """threads: registers by pid; qemu: what QEMU's notes say; loads: (va, pa, offset, size)."""

    def __init__(self, data):
        self.data = data
        if data[:7] not in (b"\x7fELF\2\1\1", b"\x7fELF\1\1\1"):
            raise AssertionError(f"no ELF file: {data[:16]!r}")
        self.bits = 64 if data[4] == 2 else 32
        if self.bits == 64:
            kind, self.machine, _, _, phoff, _, _, _, size, count = struct.unpack_from(
                "<HHIQQQIHHH", data, 16)
        else:
            kind, self.machine, _, _, phoff, _, _, _, size, count = struct.unpack_from(
                "<HHIIIIIHHH", data, 16)
        if kind != 4:
            raise AssertionError(f"no core file, but type {kind}")
        self.loads, self.threads, self.qemu = [], {}, []
        for i in range(count):
            self._header(phoff + i * size)

    def _header(self, at):
        if self.bits == 64:
            kind, _, offset, va, pa, size = struct.unpack_from("<IIQQQQ", self.data, at)
        else:
            kind, offset, va, pa, size = struct.unpack_from("<IIIII", self.data, at)
        if kind == PT_LOAD:
            self.loads.append((va, pa, offset, size))
        elif kind == PT_NOTE:
            self._notes(offset, offset + size)
        else:
            raise AssertionError(f"a program header of type {kind}")

    def _notes(self, at, end):
        while at < end:
            name_size, size, kind = struct.unpack_from("<III", self.data, at)
            name = self.data[at + 12:at + 12 + name_size].rstrip(b"\0")
            at += 12 + (name_size + 3 & ~3)
            content = self.data[at:at + size]
            at += size + 3 & ~3
            if (name, kind) == (b"CORE", NT_PRSTATUS):
                self._thread(content)
            elif (name, kind) == (b"QEMU", 0):
                self.qemu.append(self._qemu(content))
            else:
                raise AssertionError(f"a note {name!r}, {kind}")

    def _thread(self, content):
        if self.machine == EM_X86_64:
            pid, = struct.unpack_from("<I", content, 32)
            self.threads[pid] = dict(zip(REGISTERS64, struct.unpack_from("<27Q", content, 112)))
        else:
            pid, = struct.unpack_from("<I", content, 24)
            self.threads[pid] = dict(zip(REGISTERS32, struct.unpack_from("<17I", content, 72)))

    @staticmethod
    def _qemu(content):
        version, size = struct.unpack_from("<II", content)
        if (version, size) != (1, len(content)):
            raise AssertionError(f"a note of version {version} and size {size}")
        state = dict(zip(QEMU_REGISTERS, struct.unpack_from("<18Q", content, 8)))
        for i, name in enumerate(QEMU_SEGMENTS):
            state[name] = struct.unpack_from("<III4xQ", content, 152 + i * 24)
        state["cr"] = struct.unpack_from("<5Q", content, 392)
        state["kernel_gs_base"], = struct.unpack_from("<Q", content, 432)
        return state

    def read(self, address, size):
        """By the addresses that the file gives memory; None where it does not have all of it."""
        data = b""
        while size:
            for va, _, offset, length in self.loads:
                if va <= address < va + length:
                    n = min(size, va + length - address)
                    data += self.data[offset + address - va:offset + address - va + n]
                    address += n
                    size -= n
                    break
            else:
                return None
        return data
