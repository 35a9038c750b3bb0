# SPDX-License-Identifier: MIT
"""A program in a real terminal: tmux, with a server of its own that nothing is left of."""

import os
import re
import shutil
import subprocess
import tempfile

import vmond

TMUX = shutil.which("tmux")


class Terminal:
    """Use as a context manager.  Keys are those of tmux's send-keys."""

    def __init__(self, argv, columns=100, lines=30, env=None):
        self.directory = tempfile.mkdtemp(prefix="vmond-live-")
        self.status = os.path.join(self.directory, "status")
        self.base = [TMUX, "-S", os.path.join(self.directory, "tmux"), "-f", os.devnull]
        # libedit never frees the names of the functions that it was given; under a leak checker
        # that would be the status of every program.
        suppressions = os.path.join(self.directory, "leaks")
        with open(suppressions, "w", encoding="ascii") as f:
            f.write("leak:wcsdup\n")
        variables = {"LSAN_OPTIONS": f"suppressions={suppressions}:print_suppressions=0",
                     "LC_ALL": "C.UTF-8", "XDG_STATE_HOME": self.directory,
                     "NO_COLOR": "", **(env or {})}
        options = [word for pair in variables.items() for word in ("-e", "=".join(pair))]
        self.tmux("new-session", "-d", "-x", str(columns), "-y", str(lines), *options,
                  # What is on the screen at the end can still be looked at.
                  ";", "set-option", "-g", "remain-on-exit", "on",
                  ";", "respawn-pane", "-k", *options, "sh", "-c",
                  # tmux knows the status of a program, too, but not always.
                  'trap : INT; "$@"; echo $? > "$0.new"; mv "$0.new" "$0"', self.status, *argv)

    def tmux(self, *arguments):
        return subprocess.run([*self.base, *arguments], check=True, capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=vmond.TIMEOUT,
                              env={**os.environ, "LC_ALL": "C.UTF-8"}).stdout

    def keys(self, *keys):
        self.tmux("send-keys", *keys)

    def type(self, text, enter=True):
        self.tmux("send-keys", "-l", text)
        if enter:
            self.keys("Enter")

    def screen(self, colours=False):
        return self.tmux("capture-pane", "-p", *(["-e"] if colours else []))

    def wait(self, pattern, colours=False):
        """Waits until the screen shows a match, and returns it."""
        regex = re.compile(pattern, re.MULTILINE)
        screen = ""

        def look():
            nonlocal screen
            screen = self.screen(colours)
            return regex.search(screen)
        try:
            return vmond.wait_until(look, f"{pattern!r} on the screen")
        except vmond.Timeout as e:
            raise vmond.Timeout(f"{e}, which shows:\n{screen}") from None

    def wait_exit(self):
        """Waits for the end of the program; returns its status."""
        def look():
            try:
                with open(self.status, encoding="ascii") as f:
                    return f.read().strip()
            except FileNotFoundError:
                return None
        return int(vmond.wait_until(look, "the program's end"))

    def close(self):
        self.tmux("kill-server")
        shutil.rmtree(self.directory)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
