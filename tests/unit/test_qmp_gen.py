#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tests of the schema compiler: what it refuses, and how it says so.

Runs from anywhere; the sources are found next to this file, or in $top_srcdir.
"""

import copy
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

TOP = os.environ.get("top_srcdir") or os.path.join(os.path.dirname(__file__), "..", "..")
COMPILER = os.path.join(TOP, "monitor", "qmp-gen.py")
SCHEMA = os.path.join(TOP, "monitor", "qmp-schema.json")

SMALL = {
    "manual": {"date": "January 1, 2000",
               "sections": {"COMMANDS": ["Commands."], "EVENTS": ["Events."], "TYPES": ["Types."]}},
    "groups": [{"title": "All", "commands": [
        {"name": "do-it", "description": "Does it.",
         "arguments": {"how": {"type": "Way", "description": "The way to do it."},
                       "*what": {"type": ["StrOrNull"], "description": "What to do."}},
         "returns": "Result",
         "example": [{"->": {"execute": "do-it", "arguments": {"how": "fast"}}},
                     {"<-": {"return": {"how": "fast", "count": 3}}}]}]}],
    "events": [{"name": "DONE", "description": "It was done.", "rate-limit-ms": 1000,
                "data": {"count": {"type": "int", "description": "How often."}}}],
    "types": [
        {"enum": "Way", "description": "A way.", "values": {"fast": "Quickly.", "slow": "Slowly."}},
        {"alternate": "StrOrNull", "description": "A string or none.", "choices": ["str", "null"]},
        {"object": "Result", "description": "What came of it.", "tag": "how",
         "members": {"how": {"type": "Way", "description": "The way."}},
         "variants": {"fast": "Fast"}},
        {"object": "Fast", "description": "For quick ones.",
         "members": {"count": {"type": "uint64", "description": "How often."}}}],
}


class CompilerTest(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.directory)
        self.schema = copy.deepcopy(SMALL)
        self.command = self.schema["groups"][0]["commands"][0]

    def path(self, name):
        return os.path.join(self.directory, name)

    def run_compiler(self, schema, prefix="", **environment):
        options = [f"--{option}={self.path(prefix + option)}"
                   for option in ("header", "source", "man")]
        return subprocess.run([sys.executable, COMPILER, schema] + options, check=False,
                              capture_output=True, text=True, env={**os.environ, **environment})

    def compile(self, content=None):
        with open(self.path("schema"), "w", encoding="utf-8") as file:
            file.write(content or json.dumps(self.schema))
        return self.run_compiler(self.path("schema"))

    def assert_refused(self, *words, content=None):
        result = self.compile(content)
        self.assertEqual(result.returncode, 1)
        self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
        for word in words:
            self.assertIn(word, result.stderr)
        self.assertFalse(os.path.exists(self.path("source")))

    def read(self, name):
        with open(self.path(name), encoding="ascii") as file:
            return file.read()

    def test_small(self):
        result = self.compile()
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertIn("qmp_handler qmp_do_it;", self.read("header"))
        self.assertIn('{ "DONE", &type_DONE_data, 1000 }', self.read("source"))
        self.assertIn("QMP_KIND_ALTERNATE", self.read("source"))
        self.assertIn("At most one is sent in 1000 milliseconds.", self.read("man"))

    def test_deterministic(self):
        for prefix, seed in (("first-", "1"), ("second-", "2")):
            result = self.run_compiler(SCHEMA, prefix, PYTHONHASHSEED=seed)
            self.assertEqual(result.returncode, 0)
        for output in ("header", "source", "man"):
            self.assertEqual(self.read("first-" + output), self.read("second-" + output))

    @unittest.skipUnless(shutil.which("mandoc"), "mandoc is not installed")
    def test_page(self):
        self.assertEqual(self.run_compiler(SCHEMA).returncode, 0)
        lint = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", self.path("man")],
                              capture_output=True, text=True, check=False)
        self.assertEqual(lint.stdout + lint.stderr, "")

    def test_no_json(self):
        self.assert_refused("line 1", content="{")

    def test_no_schema(self):
        result = self.run_compiler(self.path("nowhere"))
        self.assertEqual(result.returncode, 1)
        self.assertIn("nowhere: No such file", result.stderr)

    def test_duplicate_member(self):
        self.assert_refused("'a' is there twice", content='{"a": 1, "a": 2}')

    def test_duplicate_command(self):
        self.schema["groups"][0]["commands"].append(self.command)
        self.assert_refused("command 'do-it' is there twice")

    def test_duplicate_handler(self):
        self.schema["groups"][0]["commands"].append({"name": "do_it", "description": "Again."})
        self.assert_refused("handler 'qmp_do_it' is there twice")

    def test_duplicate_type(self):
        self.schema["types"].append(self.schema["types"][0])
        self.assert_refused("type 'Way' is there twice")

    def test_duplicate_argument(self):
        self.command["arguments"]["*how"] = self.command["arguments"]["how"]
        self.assert_refused("command 'do-it'", "member 'how' is there twice")

    def test_unknown_type(self):
        self.command["arguments"]["how"]["type"] = "Wya"
        self.assert_refused("command 'do-it', member 'how'", 'unknown type "Wya"')

    def test_unused_type(self):
        self.schema["types"].append({"enum": "Mood", "description": "A mood.", "values": {}})
        self.assert_refused("type 'Mood' is used nowhere")

    def test_unknown_member(self):
        self.command["retruns"] = "Result"
        self.assert_refused("a command 'do-it'", "unknown member 'retruns'")

    def test_missing_description(self):
        del self.command["arguments"]["how"]["description"]
        self.assert_refused("command 'do-it', member 'how' lacks 'description'")

    def test_empty_description(self):
        self.schema["types"][0]["values"]["slow"] = ""
        self.assert_refused("type 'Way', value 'slow'", "description")

    def test_stray_quote(self):
        self.command["description"] = "Does `it."
        self.assert_refused("command 'do-it'", "stray `")

    def test_missing_rate_limit(self):
        del self.schema["events"][0]["rate-limit-ms"]
        self.assert_refused("event 'DONE' lacks 'rate-limit-ms'")

    def test_bad_name(self):
        self.command["name"] = "do it"
        self.assert_refused("command 'do it'", "does not match")

    def test_arguments_by_name(self):
        self.command["arguments"] = "Result"
        self.command["example"] = [{"->": {"execute": "do-it",
                                           "arguments": {"how": "fast", "count": 1}}}]
        del self.schema["types"][1]
        self.schema["events"][0]["data"] = "Fast"
        with open(self.path("named"), "w", encoding="ascii") as f:
            json.dump(self.schema, f)
        result = self.run_compiler(self.path("named"))
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        with open(self.path("man"), encoding="ascii") as f:
            self.assertIn(".It Va how Ql fast\nIn addition, the members of\n.Vt Fast .",
                          f.read().split("Returns")[0])

    def test_arguments_of_no_object_type(self):
        self.command["arguments"] = "Way"
        self.assert_refused("command 'do-it'", "'Way' is no object type")

    def test_variants_of_variants_as_arguments(self):
        self.command["arguments"]["how"]["type"] = "Outer"
        self.schema["types"].append({
            "object": "Outer", "description": "One around another.", "tag": "which",
            "members": {"which": {"type": "Way", "description": "The way."}},
            "variants": {"fast": "Result"}})
        self.assert_refused("command 'do-it'", "'Result' is a variant and has variants")

    def test_recursive_arguments(self):
        self.schema["types"].append({"object": "Loop", "description": "A loop.", "members": {
            "*again": {"type": ["Loop"], "description": "Again."}}})
        self.command["arguments"]["how"]["type"] = "Loop"
        self.assert_refused("command 'do-it'", "type 'Loop' contains itself")

    def test_ambiguous_alternate(self):
        self.schema["types"][1]["choices"] = ["int", "number"]
        self.assert_refused("type 'StrOrNull'", "'number' is there twice")

    def test_bad_variant(self):
        self.schema["types"][2]["variants"] = {"fats": "Fast"}
        self.assert_refused("type 'Result'", "variant 'fats' is no value of the tag")

    def test_variant_with_a_member_of_the_object(self):
        self.schema["types"][3]["members"]["how"] = {"type": "str", "description": "How often."}
        self.assert_refused("type 'Result': with variant 'fast' the member 'how' is there twice")

    def test_example_wrong_argument(self):
        self.command["example"][0]["->"]["arguments"]["how"] = "fats"
        self.assert_refused("example of command 'do-it'", "'fats' is no value of 'Way'")

    def test_example_wrong_return(self):
        self.command["example"][1]["<-"]["return"]["count"] = -1
        self.assert_refused("example of command 'do-it', 'count'", "-1 is no uint64")

    def test_example_missing_member(self):
        del self.command["example"][1]["<-"]["return"]["count"]
        self.assert_refused("example of command 'do-it'", "'count' is missing")

    def test_example_unexpected_member(self):
        self.command["example"][1]["<-"]["return"]["speed"] = 1
        self.assert_refused("example of command 'do-it'", "'speed' is unexpected")


if __name__ == "__main__":
    unittest.main()
