# SPDX-License-Identifier: MIT
"""Writes cpio archives of the "newc" kind, which Linux unpacks as its first root file system.

Documented in the kernel's Documentation/driver-api/early-userspace/buffer-format.rst.  The same
entries always give the same bytes: no times, no inode numbers of this machine, all owned by root.
Nothing is made on this machine's disk, so that device nodes need no root here.
"""

import os
import stat


class Archive:
    def __init__(self):
        self.data = bytearray()
        self.names = set()

    def _add(self, name, mode, content=b"", device=(0, 0)):
        name = name.strip("/")
        if name in self.names:
            raise ValueError(f"{name} is already in the archive")
        parent = os.path.dirname(name)
        if parent and parent not in self.names:
            self.directory(parent)
        self._entry(name, mode, content, device)

    def _entry(self, name, mode, content=b"", device=(0, 0)):
        self.names.add(name)
        links = 2 if stat.S_ISDIR(mode) else 1
        # inode, mode, uid, gid, links, mtime, size, device of the file, of the node, name, check
        fields = (len(self.names), mode, 0, 0, links, 0, len(content), 0, 0, *device,
                  len(name) + 1, 0)
        self.data += b"070701" + b"".join(b"%08X" % f for f in fields) + name.encode() + b"\0"
        self._align()
        self.data += content
        self._align()

    def _align(self):
        self.data += bytes(-len(self.data) % 4)

    def directory(self, name):
        self._add(name, stat.S_IFDIR | 0o755)

    def file(self, name, content, executable=False):
        self._add(name, stat.S_IFREG | (0o755 if executable else 0o644), content)

    def copy(self, name, path, executable=False):
        """A file with the content of one of this machine."""
        with open(path, "rb") as f:
            self.file(name, f.read(), executable)

    def link(self, name, target):
        """A symbolic link."""
        self._add(name, stat.S_IFLNK | 0o777, target.encode())

    def character_device(self, name, major, minor):
        self._add(name, stat.S_IFCHR | 0o600, device=(major, minor))

    def finish(self):
        """The archive.  Several behind one another are one file system, if each starts aligned."""
        self._entry("TRAILER!!!", 0)
        return bytes(self.data)
