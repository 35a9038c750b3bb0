# SPDX-License-Identifier: MIT
"""Guests that are saved and started again, over and over: not one step is lost or repeated.

The environment can ask for more: GENERATIONS, how often that is done with each.
"""

import contextlib
import os
import random
import time

import chain
import vmond
from test_snapshot import SnapshotTest, quit_and_read, save, wait_moved, want_events
from test_sync import LOOKS

GENERATIONS = int(os.environ.get("GENERATIONS", "40"))

# Image, vCPUs, what checks its output.
GUESTS = [
    ("long.elf", 1, chain.long), ("long.elf", 4, chain.long), ("long-halt.elf", 1, chain.long),
    ("long-halt.elf", 4, chain.long), ("io-loop.elf", 1, chain.io_loop),
    ("io-loop.elf", 3, chain.io_loop), ("real-counter.bin", 1, chain.counter),
    ("real-counter-halt.bin", 1, chain.counter_halt), ("prot.elf", 1, chain.prot),
]


class Generations(SnapshotTest):
    """A guest that is saved at a random moment, again and again, each by a clone of the last."""

    def start(self, rng, path, cpus, paused):
        way = rng.choice(["clone", "incoming"]) if path.endswith("snapshot") else "incoming"
        options = ["--clone", path] if way == "clone" else ["--incoming", "file:" + path]
        m = vmond.Machine(None, *options, cpus=cpus, paused=paused)
        if way == "incoming":
            vmond.wait_until(lambda: m.qmp.status() != "inmigrate", "the state to come")
        return m

    def look(self, m, rng):
        m.cpus = len(m.qmp.command("query-cpus-fast"))
        for _, look in rng.sample(LOOKS, 3):
            # Not each of these addresses is mapped in each of the guests.
            with contextlib.suppress(vmond.QmpError):
                look(m.qmp, m)

    def generation(self, m, rng, directory, paused):
        """What happens to one: ends with the next one's file."""
        q = m.qmp
        if paused:
            self.assertEqual(q.status(), "paused")
            if rng.random() < 0.5:
                self.look(m, rng)
            if rng.random() < 0.9:
                q.command("cont")
        time.sleep(rng.choice([0, rng.uniform(0, 0.005), rng.uniform(0, 0.03)]))
        if rng.random() < 0.3:
            q.command("stop")
            if rng.random() < 0.5:
                self.look(m, rng)
        if rng.random() < 0.75:
            path = os.path.join(directory, "snapshot")  # which this one is a clone of, often
            save(m, path, stay=True)
        else:
            path = os.path.join(directory, "stream")
            want_events(q)
            q.command("migrate-set-parameters",
                      multifd_compression=rng.choice(["none", "zstd"]))
            q.command("migrate", uri="file:" + path)
            self.assertEqual(wait_moved(q), "completed")
            self.assertEqual(q.status(), "postmigrate")
        return path

    def check(self, image, cpus, checker, generations):
        rng = random.Random(f"{image} {cpus}")
        directory = self.temporary_directory()
        text, path = "", None
        for number in range(generations):
            # The last machine is running unless it was saved stopped; so `cont` is needed at times.
            paused = rng.random() < 0.5
            machine = self.start(rng, path, cpus, paused) if path else \
                vmond.Machine(image, cpus=cpus)
            with machine as m:
                if path and not paused and m.qmp.status() != "running":
                    self.assertEqual(m.qmp.status(), "paused")
                    m.qmp.command("cont")
                path = self.generation(m, rng, directory, paused and number > 0)
                text += quit_and_read(m)
            try:
                checker(text, cpus)
            except chain.Wrong as e:
                raise chain.Wrong(f"generation {number}: {e}") from None
        with self.start(rng, path, cpus, True) as m:
            come = checker(text, cpus)
            m.qmp.command("cont")
            vmond.wait_until(lambda: checker(text + m.serial.text(), cpus) > come + 1, "progress")
            text += quit_and_read(m)
        checker(text, cpus)
        return text


def _add_generations():
    for image, cpus, checker in GUESTS:
        def test(self, image=image, cpus=cpus, checker=checker):
            self.check(image, cpus, checker, GENERATIONS)
        name = image.split(".")[0].replace("-", "_")
        setattr(Generations, f"test_{name}_{cpus}_vcpus", test)


_add_generations()
