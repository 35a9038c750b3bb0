# SPDX-License-Identifier: MIT
"""The same kernel, initrd and command line under vmond and under QEMU's microvm."""

import re
import unittest

import linux


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
    options = {"cpus": 2, "memory": "256M", "append": linux.BRIEF}

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
        mine, theirs = (g.run("grep -E '^(model name|vendor_id|apicid|initial)' /proc/cpuinfo")
                        for g in (self.machine, self.peer))
        for row in "vendor_id", "model name", "apicid", "initial apicid":
            self.assertEqual(re.findall(rf"^{row}\s*: (.*)$", mine, re.M),
                             re.findall(rf"^{row}\s*: (.*)$", theirs, re.M))

    def test_3_what_is_seen(self):
        for guest in self.machine, self.peer:
            guest.qmp.command("stop")
        for line in "info registers", "info registers -a", "info status":
            mine, theirs = (g.qmp.hmp(line) for g in (self.machine, self.peer))
            self.assertEqual(shape(mine), shape(theirs), line)
        # What stands in front of each line; the rest is the state of the moment.
        mine, theirs = ([line.split("\t")[0].split(" ")[0] for line in
                         g.qmp.hmp("info lapic").splitlines()] for g in (self.machine, self.peer))
        self.assertEqual(mine, theirs)
