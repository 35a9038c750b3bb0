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
        self.base = [TMUX, "-S", os.path.join(self.directory, "tmux"), "-f", os.devnull]
        variables = {"LC_ALL": "C.UTF-8", "XDG_STATE_HOME": self.directory, "NO_COLOR": "",
                     **(env or {})}
        options = [word for pair in variables.items() for word in ("-e", "=".join(pair))]
        self.tmux("new-session", "-d", "-x", str(columns), "-y", str(lines), *options,
                  # What is on the screen at the end can still be looked at.
                  ";", "set-option", "-g", "remain-on-exit", "on",
                  ";", "respawn-pane", "-k", *options, *argv)

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
            dead, status = self.tmux("list-panes", "-F",
                                     "#{pane_dead} #{pane_dead_status}").split(" ")
            return status.strip() if dead == "1" else None
        return int(vmond.wait_until(look, "the program's end"))

    def close(self):
        self.tmux("kill-server")
        shutil.rmtree(self.directory)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
