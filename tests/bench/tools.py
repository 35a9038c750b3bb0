# SPDX-License-Identifier: MIT
"""What the benchmark brings along: its C programs and its guests, built into a directory."""

import os
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
PROGRAMS = ("bare", "chatter", "clone_bare", "echo", "echo_event", "fleet", "launch")
LIBRARIES = {"echo_event": ("-levent",)}
SPEED_LOOPS = 200_000
# Name, source, and symbols; each becomes NAME.img, and NAME.rom, which starts it as firmware.
GUESTS = (
    ("halted", "loop.S", ()),
    ("spinning", "loop.S", ("-DSPIN",)),
    ("clone", "clone.S", ()),
    ("hello", "hello.S", ()),
    ("speed", "hello.S", (f"-DLOOPS={SPEED_LOOPS}",)),
)


def _compile(*arguments):
    compiler = os.environ.get("CC", "cc")
    try:
        status = subprocess.run([*compiler.split(), *arguments], check=False).returncode
    except FileNotFoundError:
        raise RuntimeError(f"there is no C compiler {compiler}; install gcc, or set CC") from None
    if status:
        raise RuntimeError(f"{arguments[-1]} can not be built")


def _flat_image(target, source, symbols):
    _compile("-m32", "-nostdlib", "-static", "-no-pie", "-Wl,-Ttext=0", "-Wl,--oformat=binary",
             "-Wl,--build-id=none", *symbols, "-o", target, os.path.join(HERE, source))


class Tools:
    """The programs' and images' paths; `made` if they are there already."""

    def __init__(self, directory, made=False):
        self.directory = directory
        if made:
            return
        for name in PROGRAMS:
            _compile("-std=gnu11", "-D_GNU_SOURCE", "-O2", "-pthread", "-o", self.program(name),
                     os.path.join(HERE, name + ".c"), *LIBRARIES.get(name, ()))
        for name, source, symbols in GUESTS:
            _flat_image(self.image(name), source, symbols)
            _flat_image(self.rom(name), "rom.S", [f'-DPAYLOAD="{self.image(name)}"'])

    def program(self, name):
        return os.path.join(self.directory, name)

    def image(self, name):
        return os.path.join(self.directory, name + ".img")

    def rom(self, name):
        return os.path.join(self.directory, name + ".rom")
