# SPDX-License-Identifier: MIT
"""Both kernels, in both forms, on 1, 2 and 4 vCPUs, with little memory and with much.

The first of each kind says everything that it does on its way, the others nothing but warnings.
"""

import itertools
import unittest

import linux
import vmond

MUCH = 5 << 20          # KiB


class Boots(vmond.LiveTest):
    def setUp(self):
        if not linux.FILES:
            raise unittest.SkipTest("FILES is not set: run tests/lab/run.py")

    def boot(self, kernel, image, cpus, memory):
        append = "nokaslr" if (cpus, memory) == (1, "128M") else linux.BRIEF
        with linux.Linux(kernel, image, cpus=cpus, memory=memory, append=append) as m:
            self.assertEqual(m.cpus, cpus)
            kib = int(m.run("grep MemTotal /proc/meminfo").split()[1])
            # The kernel keeps some for itself: its image, and 64 bytes for each page.
            whole, least = (MUCH, 0.95) if memory == "5G" else (128 << 10, 0.6)
            self.assertLess(kib, whole)
            self.assertGreater(kib, whole * least)
            self.assertIsNone(linux.TROUBLE.search(m.serial.text()))
            m.type("poweroff\n")
            self.assertEqual(m.qmp.event("SHUTDOWN"), {"guest": True, "reason": "guest-shutdown"})
            self.assertEqual(m.wait_exit(), 0)


def add(kernel, image, cpus, memory):
    def test(self):
        self.boot(kernel, image, cpus, memory)
    setattr(Boots, f"test_{kernel}_{image}_{cpus}_{memory}", test)


for combination in itertools.product(("cloud", "generic"), ("vmlinuz", "vmlinux"), (1, 2, 4),
                                     ("128M", "5G")):
    add(*combination)
