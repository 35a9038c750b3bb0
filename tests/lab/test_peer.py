# SPDX-License-Identifier: MIT
"""The same kernel, initrd and command line under vmond and under QEMU's microvm."""

import re
import unittest

import linux

NUMBER = "[0-9a-f]{16}"


def shape(text):
    """`info registers` without its values: the names and marks of each line.

    Flags, types and segments' modes are the guest's, and differ with where it was stopped.
    """
    lines = []
    for line in text.replace("\r\n", "\n").splitlines():
        line = re.sub(r"\[[^]]*\]|DPL=\d \S+( *)", "[]", line)
        lines.append(re.sub(r"(?<=[= ])[0-9a-f]+\b", "N", line))
    return lines


class Peer(linux.LinuxTest):
    options = {"cpus": 2, "memory": "256M"}

    @classmethod
    def setUpClass(cls):
        if linux.QEMU is None:
            raise unittest.SkipTest("there is no qemu-system-x86_64 to compare with")
        super().setUpClass()
        cls.peer = linux.Microvm(cls.kernel, cls.image, **cls.options)
        cls.addClassCleanup(cls.peer.close)

    def test_1_warnings(self):
        mine, theirs = self.machine.warnings(), self.peer.warnings()
        self.assertEqual(sorted(mine - theirs), [])

    def test_2_processors(self):
        def flags(guest):
            rows = guest.run("grep -E '^(flags|model|vendor_id|apicid|initial)' /proc/cpuinfo")
            return rows
        mine, theirs = flags(self.machine), flags(self.peer)
        for row in "vendor_id", "model name", "apicid", "initial apicid":
            self.assertEqual(re.findall(rf"^{row}\s*: (.*)$", mine, re.M),
                             re.findall(rf"^{row}\s*: (.*)$", theirs, re.M))

    def test_3_what_is_seen(self):
        for guest in self.machine, self.peer:
            guest.qmp.command("stop")
        for line in "info registers", "info registers -a", "info status":
            mine, theirs = (g.qmp.hmp(line) for g in (self.machine, self.peer))
            self.assertEqual(shape(mine), shape(theirs), line)
        for guest in self.machine, self.peer:
            rows = guest.qmp.hmp("info mem").splitlines()
            self.assertGreater(len(rows), 10)
            self.assertEqual([r for r in rows if not re.fullmatch(
                rf"{NUMBER}-{NUMBER} {NUMBER} [u-]r[w-]", r)][:3], [])
        # The direct mapping of RAM and the kernel's text are where both have them.
        mine, theirs = (g.qmp.hmp("info mem") for g in (self.machine, self.peer))
        text = r"^ffffffff81000000-\S+ \S+ -r-$"
        self.assertEqual(re.search(text, mine, re.M)[0], re.search(text, theirs, re.M)[0])
