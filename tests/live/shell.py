# SPDX-License-Identifier: MIT
"""The monitor shell as a program, and servers for it that are not vmond."""

import json
import os
import shutil
import socket
import subprocess
import threading
import unittest

import vmond

VMONSH = os.environ.get("VMONSH") or os.path.join(os.path.dirname(vmond.PROGRAM or ""), "vmonsh")
COMPLETION = os.path.join(vmond.HERE, "../../monitor/shell/completion")
QEMU = shutil.which("qemu-system-x86_64")

needs_qemu = unittest.skipUnless(QEMU, "qemu-system-x86_64 is not installed")


def environment(directory="/nonexistent", **more):
    names = {"VMOND_SOCKET": "", "XDG_RUNTIME_DIR": directory, "XDG_STATE_HOME": directory}
    return {**os.environ, **names, **more}


def run(path, *arguments, stdin="", **more):
    """Runs vmonsh to its end."""
    target = ["-s", path] if path else []
    return subprocess.run([VMONSH, *target, *arguments], input=stdin, capture_output=True,
                          text=True, timeout=vmond.TIMEOUT, check=False, env=environment(**more))


class Qemu:
    """Debian's QEMU with a QMP socket, stopped."""

    def __init__(self, test):
        self.path = os.path.join(test.temporary_directory(), "qmp")
        self.process = subprocess.Popen(
            [QEMU, "-M", "microvm,accel=kvm:tcg", "-S", "-nodefaults", "-display", "none",
             "-name", "peer", "-qmp", f"unix:{self.path},server=on,wait=off"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        test.addCleanup(self.close)
        vmond.connect(self.path).close()

    def close(self):
        self.process.terminate()
        self.process.wait(vmond.TIMEOUT)


class FakeServer:
    """A socket that somebody answers on as a test says."""

    def __init__(self, test, answer):
        self.path = os.path.join(test.temporary_directory(), "fake")
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen()
        self.thread = threading.Thread(target=self.serve, args=(answer,))
        self.thread.start()
        test.addCleanup(self.close)

    def serve(self, answer):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            with client:
                answer(client)

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.listener.close()


GREETING = b'{"QMP": {"version": {}, "capabilities": []}}\r\n'


def answering(replies):
    """For FakeServer: replies by command ("return" members); None ends, ... never answers."""
    def answer(client):
        client.sendall(GREETING)
        for line in client.makefile("rb"):
            request = json.loads(line)
            reply = replies.get(request["execute"], {})
            if reply is None:
                return
            if reply is not ...:
                client.sendall(json.dumps({"return": reply, "id": request["id"]}).encode())
    return answer
