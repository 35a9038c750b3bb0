# SPDX-License-Identifier: MIT
"""The kernel of a Debian package, downloaded and unpacked once, for guests to boot."""

import collections
import os
import re
import shutil
import subprocess
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
PACKAGE = "linux-image-cloud-amd64"
CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"),
                     "vmond-kernel")

# Paths: the bzImage of the package, and the ELF image inside it.
Kernel = collections.namedtuple("Kernel", "bzimage vmlinux")


class Unavailable(Exception):
    """The text says why."""


def _run(*command, cwd=None):
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, cwd=cwd).stdout
    except FileNotFoundError:
        raise Unavailable(f"{command[0]} is missing, and the kernel comes as a Debian package") \
            from None
    except subprocess.CalledProcessError as err:
        raise Unavailable(f"{' '.join(command)}: {err.stderr.strip() or err}") from None


def _download(directory):
    """Unpacks the package into `directory`; the path of its bzImage."""
    # It depends on the package of the current version, which has the kernel.
    names = re.findall(r"Depends: (linux-image-[0-9]\S*)", _run("apt-cache", "depends", PACKAGE))
    if not names:
        raise Unavailable(f"no package {PACKAGE} is known")
    _run("apt-get", "download", "-q", names[0], cwd=directory)
    package = next(f for f in os.listdir(directory) if f.endswith(".deb"))
    _run("dpkg", "-x", os.path.join(directory, package), directory)
    boot = os.path.join(directory, "boot")
    return next(os.path.join(boot, f) for f in os.listdir(boot) if f.startswith("vmlinuz-"))


def _download_at_last(directory, say):
    """As _download(); a fresh machine has no lists of packages, or old ones."""
    try:
        return _download(directory)
    except Unavailable:
        say("apt-get update")
        _run(*([] if os.geteuid() == 0 else ["sudo"]), "apt-get", "update")
        return _download(directory)


def fetch(say=print):
    """The kernel, from the cache if it is there.  say() is told what takes time."""
    kernel = Kernel(os.path.join(CACHE, "vmlinuz"), os.path.join(CACHE, "vmlinux"))
    if os.path.isdir(CACHE):
        return kernel
    say(f"getting the kernel of the Debian package {PACKAGE}")
    os.makedirs(os.path.dirname(CACHE), exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        os.chmod(scratch, 0o755)        # apt downloads as a user of its own, if it is root
        image = _download_at_last(scratch, say)
        new = tempfile.mkdtemp(prefix="vmond-kernel-", dir=os.path.dirname(CACHE))
        try:
            os.chmod(new, 0o755)
            shutil.copy(image, os.path.join(new, "vmlinuz"))
            _run(os.path.join(HERE, "extract-vmlinux"), image, os.path.join(new, "vmlinux"))
            os.rename(new, CACHE)
        except OSError:
            if not os.path.isdir(CACHE):        # not another one that was as quick
                raise
        finally:
            shutil.rmtree(new, ignore_errors=True)
    say(f"{os.path.basename(image)}: in {CACHE}")
    return kernel
