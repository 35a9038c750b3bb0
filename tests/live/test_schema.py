# SPDX-License-Identifier: MIT
"""That what holds messages against the schema lets no wrong one pass.

Every client of these tests does so with every message; here messages are given to it that no server
sent.
"""

import copy

import schema
import vmond

NOW = {"seconds": 1, "microseconds": 2}


class Schema(vmond.LiveTest):
    @classmethod
    def setUpClass(cls):
        cls.machine = vmond.Machine("long.elf", paused=True)
        cls.addClassCleanup(cls.machine.close, check=True)
        cls.schema = cls.machine.qmp.session.schema

    def session(self, *requests):
        session = schema.Session()
        session.use(self.schema)
        for request in requests:
            session.sent(request)
        return session

    def assert_passes(self, message, *requests):
        self.session(*requests).received(message)

    def assert_caught(self, text, message, *requests):
        with self.assertRaisesRegex(schema.Violation, text):
            self.session(*requests).received(message)

    def test_replies(self):
        ask = {"execute": "query-status", "id": 1}
        good = {"status": "running", "running": True, "singlestep": False}
        self.assert_passes({"return": good, "id": 1}, ask)
        self.assert_caught("'extra' is not declared", {"return": {**good, "extra": 1}, "id": 1},
                           ask)
        self.assert_caught("'running' is not there",
                           {"return": {"status": "running", "singlestep": False}, "id": 1}, ask)
        self.assert_caught("no value of", {"return": {**good, "status": "dancing"}, "id": 1}, ask)
        self.assert_caught("no boolean", {"return": {**good, "running": 1}, "id": 1}, ask)
        self.assert_caught("no object", {"return": [], "id": 1}, ask)
        self.assert_caught("no message", {"return": good, "id": 1, "more": 1}, ask)
        self.assert_caught("'extra' is not declared", {"return": {"extra": 1}}, {"execute": "stop"})
        self.assert_caught("no array", {"return": {}}, {"execute": "query-cpus-fast"})

    def test_deep(self):
        q = self.machine.qmp
        good = q.command("query-vcpu-state")
        ask = {"execute": "query-vcpu-state"}
        self.assert_passes({"return": good}, ask)
        bad = copy.deepcopy(good)
        bad[0]["sregs"]["cs"]["colour"] = 1
        self.assert_caught(r"return of query-vcpu-state\[0\], sregs, cs: 'colour' is not declared",
                           {"return": bad}, ask)
        bad = copy.deepcopy(good)
        bad[0]["regs"]["rax"] = 1.5
        self.assert_caught("regs, rax: 1.5 is no int", {"return": bad}, ask)

    def test_requests(self):
        wrong = {"execute": "stop", "arguments": {"a": 1}, "id": "x"}
        self.assert_caught("'a' is not declared", {"return": {}, "id": "x"}, wrong)
        self.assert_passes({"error": {"class": "GenericError", "desc": "no"}, "id": "x"}, wrong)
        self.assert_caught("'uri' is not there", {"return": {}}, {"execute": "migrate"})
        self.assert_caught("lacks 'nosuch'", {"return": {}}, {"execute": "nosuch"})
        self.assert_caught("out of band", {"return": {}}, {"exec-oob": "stop"})

    def test_events(self):
        self.assert_passes({"event": "STOP", "timestamp": NOW})
        self.assert_caught("'x' is not declared",
                           {"event": "STOP", "timestamp": NOW, "data": {"x": 1}})
        self.assert_caught("'reason' is not there",
                           {"event": "SHUTDOWN", "timestamp": NOW, "data": {"guest": True}})
        self.assert_caught("lacks 'PARTY'", {"event": "PARTY", "timestamp": NOW})
        self.assert_caught("no event", {"event": "STOP"})
        self.assert_caught("no timestamp", {"event": "STOP", "timestamp": {"seconds": 1}})

    def test_errors(self):
        ask = {"execute": "stop"}
        self.assert_caught("no error", {"error": {"class": "Mine", "desc": "no"}}, ask)
        self.assert_caught("no error", {"error": {"class": "GenericError", "desc": ""}}, ask)
        self.assert_caught("no error", {"error": {"class": "GenericError"}}, ask)

    def test_which_reply_is_whose(self):
        session = self.session(b'{"execute": "stop"} {"execute": "query-name", "id": 5}',
                               {"execute": "query-version"})
        session.received({"return": {"name": "x"}, "id": 5})
        session.received({"return": {}})
        with self.assertRaisesRegex(schema.Violation, "return of query-version"):
            session.received({"return": {}})
        # Nobody knows whose it is after this, but for those with an id.
        session = self.session(b"\xff", {"execute": "stop"}, {"execute": "query-version", "id": 1})
        session.received({"return": {"any": 1}})
        with self.assertRaisesRegex(schema.Violation, "return of query-version"):
            session.received({"return": {}, "id": 1})

    def test_what_waits_is_looked_at(self):
        session = schema.Session()
        session.received({"event": "PARTY", "timestamp": NOW})
        with self.assertRaisesRegex(schema.Violation, "PARTY"):
            session.use(self.schema)
