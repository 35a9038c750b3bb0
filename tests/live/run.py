#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the live tests: one line each, and the count at the end.

usage: run.py [WORD]...    only tests whose name contains one of the words

Exit status 0 if nothing failed, 1 if something did, 77 if everything was skipped.
"""

import os
import signal
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, HERE)

import vmond  # noqa: E402 (the path comes first)


class Result(unittest.TestResult):
    """Counts tests, not subtests, and prints as it goes."""

    def __init__(self):
        super().__init__()
        self.passed = self.failed = self.skips = 0
        self.started = 0.0
        self.trouble = None

    @staticmethod
    def name(test):
        return test.id()

    def startTest(self, test):
        super().startTest(test)
        self.started = time.monotonic()
        self.trouble = None

    def _trouble(self, test, err):
        self.trouble = (self.trouble or "") + self._exc_info_to_string(err, test)

    def addError(self, test, err):
        self._trouble(test, err)
        if not isinstance(test, unittest.TestCase):     # setUpClass and the like
            self.stopTest(test)

    def addFailure(self, test, err):
        self._trouble(test, err)

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self._trouble(subtest, err)

    def addSkip(self, test, reason):
        self.skips += 1
        self.trouble = None
        print(f"skip  {self.name(test)}: {reason}", flush=True)

    def stopTest(self, test):
        took = time.monotonic() - self.started
        if self.trouble is not None:
            self.failed += 1
            print(f"FAIL  {self.name(test)} ({took:.1f} s)")
            print("      " + self.trouble.rstrip().replace("\n", "\n      "), flush=True)
        elif self.passed_now:
            self.passed += 1
            print(f"ok    {self.name(test)} ({took:.1f} s)", flush=True)
        self.passed_now = False

    passed_now = False

    def addSuccess(self, test):
        self.passed_now = True


def select(suite, words):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from select(test, words)
        elif not words or any(word in test.id() for word in words):
            yield test


def run(tests):
    """Runs them, or says why it does not; returns the exit status."""
    # As an interrupt it unwinds the test, which ends what that has started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    result = Result()
    reason = vmond.why_not()
    if reason is None:
        unittest.TestSuite(tests).run(result)
    else:
        for test in tests:
            result.addSkip(test, reason)
    print(f"{result.passed} passed, {result.failed} failed, {result.skips} skipped")
    if result.failed:
        return 1
    return 77 if result.skips and not result.passed else 0


def main():
    suite = unittest.defaultTestLoader.discover(HERE, "test_*.py", HERE)
    return run(list(select(suite, sys.argv[1:])))


if __name__ == "__main__":
    sys.exit(main())
