# SPDX-License-Identifier: MIT
"""Statistics of the kernel, and the dirty rate."""

import ktrace
import vmond
from test_sync import Traced

TYPES = {"cumulative", "instant", "peak", "linear-histogram", "log2-histogram"}


class Stats(vmond.LiveTest):
    def setUp(self):
        with vmond.Machine("real-counter.bin") as m:
            if not m.qmp.command("query-stats-schemas"):
                self.skipTest("this kernel's KVM has no statistics")

    def test_schemas(self):
        with vmond.Machine("long.elf", cpus=2) as m:
            schemas = {s["target"]: s["stats"] for s in m.qmp.command("query-stats-schemas")}
            self.assertEqual(set(schemas), {"vm", "vcpu"})
            for stats in schemas.values():
                self.assertGreater(len(stats), 5)
                self.assertEqual(len({s["name"] for s in stats}), len(stats))
                for s in stats:
                    self.assertIn(s["type"], TYPES)
                    self.assertEqual("base" in s, s["exponent"] != 0)
            ns = next(s for s in schemas["vcpu"] if s["name"] == "halt_wait_ns")
            self.assertEqual(ns, {"name": "halt_wait_ns", "type": "cumulative", "unit": "seconds",
                                  "base": 10, "exponent": -9})
            results = m.qmp.command("query-stats", target="vcpu")
            paths = [c["qom-path"] for c in m.qmp.command("query-cpus-fast")]
            self.assertEqual([r["qom-path"] for r in results], paths)
            results += m.qmp.command("query-stats", target="vm")
            self.assertEqual(len(results), 3)
            for result in results:
                schema = schemas["vcpu" if "qom-path" in result else "vm"]
                self.assertEqual([s["name"] for s in result["stats"]], [s["name"] for s in schema])
                for stat, s in zip(result["stats"], schema):
                    kind = list if "histogram" in s["type"] else \
                        bool if s.get("unit") == "boolean" else int
                    self.assertIs(type(stat["value"]), kind, stat["name"])

    def test_counts(self):
        """A guest that halts does so more and more often."""
        with vmond.Machine("real-counter-halt.bin") as m:
            def exits():
                stats = m.qmp.command("query-stats", target="vcpu", providers=[
                    {"provider": "kvm", "names": ["exits", "halt_wakeup"]}])[0]["stats"]
                return sum(s["value"] for s in stats)
            first = exits()
            vmond.wait_until(lambda: exits() > first, "a statistic to move")
            self.assertRegex(m.qmp.hmp("info stats vcpu exits"),
                             r"^provider: kvm\n    exits \(cumulative\): \d+\n$")

    def test_nobody_is_stopped(self):
        """After the first question no vCPU enters the kernel for the next thousand."""
        reason = ktrace.why_not()
        if reason:
            self.skipTest(reason)
        with Traced("real-counter.bin") as m:
            m.serial.wait("^count")
            m.qmp.command("query-stats-schemas")
            m.serial.wait_new("^count")
            start = ktrace.now()
            for _ in range(1000):
                m.qmp.command("query-stats", target="vcpu")
                m.qmp.command("query-stats", target="vm")
            end = ktrace.now()
            trace = m.trace()
            calls = [c for c in trace.calls if start <= c.time <= end]
            self.assertEqual([c.request for c in calls if c.vcpu == ktrace.VM], [])
            # The guest's own output, now and then, is all that brings it back.
            self.assertLess(len(calls), 1000)


class DirtyRate(vmond.LiveTest):
    def measure(self, m, **arguments):
        m.qmp.command("calc-dirty-rate", calc_time=1, **arguments)
        self.assert_refused(m.qmp, "^the dirty rate is already being measured.$",
                            "calc-dirty-rate", calc_time=1)
        return vmond.wait_until(lambda: (i := m.qmp.command("query-dirty-rate"))
                                ["status"] == "measured" and i, "the dirty rate")

    def test_measures(self):
        with vmond.Machine("long.elf", cpus=2) as m:
            m.serial.wait("^ap 1 ")
            for mode in "page-sampling", "dirty-bitmap":
                info = self.measure(m, mode=mode)
                self.assertEqual((info["mode"], info["calc-time"]), (mode, 1))
                self.assertEqual(info["sample-pages"], 512 if mode == "page-sampling" else 0)
                self.assertGreaterEqual(info["dirty-rate"], 0)
                m.serial.wait_new("^step")
            self.assertEqual(m.qmp.drain_events(), [])
            self.assertRegex(m.qmp.hmp("info dirty_rate"),
                             r"^Status: measured\n(.*\n)*Dirty rate: \d+ \(MB/s\)\n$")

    def test_end_in_the_middle(self):
        with vmond.Machine("real-counter.bin") as m:
            m.qmp.command("calc-dirty-rate", calc_time=60, mode="dirty-bitmap")
            m.qmp.command("quit")
            self.assertEqual(m.wait_exit(), 0)
