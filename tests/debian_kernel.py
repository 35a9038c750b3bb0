# SPDX-License-Identifier: MIT
"""Kernels of Debian packages, downloaded and unpacked once, for guests to boot."""

import collections
import os
import re
import shutil
import subprocess
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
CLOUD, GENERIC = "linux-image-cloud-amd64", "linux-image-amd64"
# For what a machine must be seen to do with: the power button, and a panic that is told of.
MODULES = ["button", "evdev", "pvpanic", "pvpanic-mmio"]
CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"),
                     "vmond-kernel")

# Paths: the bzImage of the package, the ELF image inside it, and the modules in their order.
Kernel = collections.namedtuple("Kernel", "bzimage vmlinux modules")


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


def _download(package, directory):
    """Unpacks the package into `directory`; the path of its bzImage."""
    # It depends on the package of the current version, which has the kernel.
    names = re.findall(r"Depends: (linux-image-[0-9]\S*)", _run("apt-cache", "depends", package))
    if not names:
        raise Unavailable(f"no package {package} is known")
    _run("apt-get", "download", "-q", names[0], cwd=directory)
    archive = next(f for f in os.listdir(directory) if f.endswith(".deb"))
    _run("dpkg", "-x", os.path.join(directory, archive), directory)
    boot = os.path.join(directory, "boot")
    return next(os.path.join(boot, f) for f in os.listdir(boot) if f.startswith("vmlinuz-"))


def _download_at_last(package, directory, say):
    """As _download(); a fresh machine has no lists of packages, or old ones."""
    try:
        return _download(package, directory)
    except Unavailable:
        say("apt-get update")
        _run(*([] if os.geteuid() == 0 else ["sudo"]), "apt-get", "update")
        return _download(package, directory)


def _copy_modules(tree, new):
    for directory, _, files in os.walk(os.path.join(tree, "lib/modules")):
        for name in files:
            if name.endswith(".ko") and name[:-3] in MODULES:
                shutil.copy(os.path.join(directory, name), new)


def _there(directory):
    modules = [os.path.join(directory, f"{name}.ko") for name in MODULES]
    # What is not a module is built in.
    return Kernel(os.path.join(directory, "vmlinuz"), os.path.join(directory, "vmlinux"),
                  [path for path in modules if os.path.exists(path)])


def fetch(say=print, package=CLOUD):
    """A package's kernel, from the cache if it is there.  say() is told what takes time."""
    directory = os.path.join(CACHE, package)
    if os.path.isdir(directory):
        return _there(directory)
    say(f"getting the kernel of the Debian package {package}")
    os.makedirs(CACHE, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        os.chmod(scratch, 0o755)        # apt downloads as a user of its own, if it is root
        image = _download_at_last(package, scratch, say)
        new = tempfile.mkdtemp(prefix="new-", dir=CACHE)
        try:
            os.chmod(new, 0o755)
            shutil.copy(image, os.path.join(new, "vmlinuz"))
            _run(os.path.join(HERE, "extract-vmlinux"), image, os.path.join(new, "vmlinux"))
            _copy_modules(scratch, new)
            os.rename(new, directory)
        except OSError:
            if not os.path.isdir(directory):    # not another one that was as quick
                raise
        finally:
            shutil.rmtree(new, ignore_errors=True)
    say(f"{os.path.basename(image)}: in {directory}")
    return _there(directory)
