# SPDX-License-Identifier: MIT
"""What can not work is refused with one line, a status, and nothing left behind."""

import os
import pwd
import shutil
import socket
import struct
import subprocess

import vmond


class Input(vmond.DirectoryTest):
    def assert_fails(self, status, pattern, *argv, done=None):
        """`vmond run ARGV` must fail so, and leave the directory as it was."""
        before = sorted(os.listdir(self.directory))
        done = done or vmond.run("run", *argv, cwd=self.directory)
        self.assertEqual(done.stdout, "")
        self.assertRegex(done.stderr, r"\Avmond[^\n]*: [^\n]+\n\Z")
        self.assertRegex(done.stderr, pattern)
        self.assertEqual(done.returncode, status)
        self.assertEqual(sorted(os.listdir(self.directory)), before)

    def assert_image_fails(self, pattern, path, *options):
        """With all that would have to be undone."""
        self.assert_fails(1, pattern, "--kernel", path, "--monitor", "unix:" + self.path("m"),
                          "--pidfile", self.path("p"), "--serial", "unix:" + self.path("s"),
                          *options)

    def test_usage(self):
        for pattern, *argv in [
                ("--nosuch", "--nosuch"),
                ("--nosuch", "--nosuch=1"),
                ("-x", "-x"),
                ("stray", "stray"),
                ("--cpus", "--cpus"),
                ("--cpus", "--cpus", "0"),
                ("--cpus", "--cpus", "1025"),
                ("--cpus", "--cpus", "-1"),
                ("--cpus", "--cpus", "1x"),
                ("--cpus", "--cpus", "99999999999999999999999"),
                ("--memory", "--memory", "0"),
                ("--memory", "--memory", "-5M"),
                ("--memory", "--memory", "12X"),
                ("--memory", "--memory", ""),
                ("--uuid", "--uuid", "12345"),
                ("--monitor", "--monitor", "tcp:1234"),
                ("--monitor", "--monitor", "unix:"),
                ("--serial", "--serial", "tty"),
                ("--name", "--name", "a\nb"),
                ("--paused", "--paused=maybe"),
                ("--paused", "--paused", "--paused"),
                ("--log-level", "--log-level", "loud"),
                ("--daemonize", "--daemonize", "--serial", "stdio")]:
            with self.subTest(argv):
                self.assert_fails(2, pattern, *argv)
        for argv in ["nosuch"], []:
            with self.subTest(argv):
                done = vmond.run(*argv)
                self.assertEqual((done.returncode, done.stdout), (2, ""))

    def test_missing_and_wrong_images(self):
        os.mkfifo(self.path("fifo"))
        for pattern, path in [
                ("nosuch.*No such file", self.path("nosuch")),
                (self.directory, self.directory),
                ("empty", self.write("empty", b"")),
                ("fifo", self.path("fifo")),
                ("/dev/zero", "/dev/zero"),
                ("huge", self.write("huge", b"\0" * (1 << 21)))]:
            with self.subTest(path):
                self.assert_image_fails(pattern, path)
        self.assert_image_fails("no-initrd.*No such file", vmond.guest("prot.elf"), "--initrd",
                                self.path("no-initrd"))

    def test_truncated_images(self):
        """Whatever was cut off, the image is refused, or loaded as what is left; nothing else."""
        for name in "prot.elf", "long.elf", "pvh.elf", "prot-flat.bin", "real-counter.bin":
            with open(vmond.guest(name), "rb") as f:
                image = f.read()
            for length in (1, 40, 60, 100, 200, len(image) // 2, len(image) - 1):
                with self.subTest(name, length=length):
                    path = self.write("cut", image[:length])
                    if image.startswith(b"\x7fELF") and 40 <= length <= 200:
                        self.assert_image_fails("cut", path)
                        continue
                    try:
                        with vmond.Machine(path, paused=True) as m:
                            self.assertEqual(m.qmp.status(), "prelaunch")
                    except vmond.Ended as e:
                        self.assertEqual(e.status, 1)
                        self.assertRegex(e.stderr, r"\Avmond[^\n]*: [^\n]*cut[^\n]*\n\Z")

    def test_damaged_elf(self):
        with open(vmond.guest("long.elf"), "rb") as f:
            image = bytearray(f.read())
        phoff = struct.unpack_from("<Q", image, 32)[0]
        for what, offset, form, value in [
                ("program headers beyond the file", 32, "<Q", 1 << 40),
                ("program headers wrap", 32, "<Q", (1 << 64) - 56),
                ("65535 of them", 56, "<H", 65535),
                ("none of them", 56, "<H", 0),
                ("of a wrong size", 54, "<H", 1),
                ("another machine", 18, "<H", 40),
                ("entry nowhere", 24, "<Q", 1 << 63),
                ("segment beyond RAM", phoff + 24, "<Q", 1 << 50),
                ("segment wraps", phoff + 24, "<Q", (1 << 64) - 4096),
                ("segment in the hole", phoff + 24, "<Q", 0xfee00000),
                ("segment beyond the file", phoff + 8, "<Q", 1 << 50),
                ("more in the file than in memory", phoff + 32, "<Q", 1 << 50),
                ("memory size wraps", phoff + 40, "<Q", (1 << 64) - 1)]:
            with self.subTest(what):
                damaged = bytearray(image)
                struct.pack_into(form, damaged, offset, value)
                self.assert_image_fails("damaged", self.write("damaged", damaged))

    def test_bzimage(self):
        image = bytearray(8192)
        image[0x1f1] = 4
        image[0x1fe:0x200] = b"\x55\xaa"
        image[0x200:0x202] = b"\xeb\x66"
        image[0x202:0x206] = b"HdrS"
        struct.pack_into("<H", image, 0x206, 0x20f)
        self.assert_image_fails("(?i)bzimage", self.write("kernel", image))

    def test_memory(self):
        """More than the host can give, and less than the guest needs."""
        for size in "4096T", "4194304G", "4097T", "200T":
            with self.subTest(size):
                self.assert_image_fails("(?i)memory", vmond.guest("long.elf"), "--memory", size)
        self.assert_image_fails("(?i)memory|RAM", vmond.guest("long.elf"), "--memory", "1M")
        self.assert_fails(1, "(?i)memory", "--memory", "4K")

    def test_more_cpus_than_kvm_has(self):
        done = vmond.run("run", "--cpus", "1024", "--kernel", self.path("nosuch"))
        self.assertEqual(done.returncode, 1)

    def test_monitor_path(self):
        image = vmond.guest("long.elf")
        with vmond.Machine("long.elf") as m:
            before = os.stat(m.monitor_path).st_ino
            self.assert_fails(1, f"{m.monitor_path}.*in use", "--kernel", image, "--monitor",
                              "unix:" + m.monitor_path, "--pidfile", self.path("p"))
            self.assertEqual(os.stat(m.monitor_path).st_ino, before)
            self.assertEqual(m.connect().status(), "running")
        plain = self.write("plain", b"precious")
        self.assert_fails(1, plain, "--kernel", image, "--monitor", "unix:" + plain)
        with open(plain, "rb") as f:
            self.assertEqual(f.read(), b"precious")
        self.assert_fails(1, "nosuch", "--kernel", image, "--monitor",
                          "unix:" + self.path("nosuch/m"))
        self.assert_fails(1, "(?i)long", "--kernel", image, "--monitor",
                          "unix:" + self.path("m" * 200))
        # The second of two fails: the first is undone.
        self.assert_fails(1, plain, "--kernel", image, "--monitor", "unix:" + self.path("m"),
                          "--monitor", "unix:" + plain)

    def test_stale_monitor_socket(self):
        path = self.path("stale")
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(path)
        with vmond.Machine("long.elf", "--monitor", "unix:" + path) as m:
            self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
            client = vmond.Qmp(path)
            m.clients.append(client)
            self.assertEqual(client.status(), "running")
        self.assertFalse(os.path.exists(path))

    def test_no_permission(self):
        try:
            user = pwd.getpwnam("nobody")
        except KeyError:
            self.skipTest("there is no user nobody")
        if os.getuid() != 0:
            self.skipTest("only root can become nobody")
        if os.stat("/dev/kvm").st_mode & 0o006 == 0o006:
            self.skipTest("/dev/kvm is open to everyone")
        os.chmod(self.directory, 0o755)
        program = shutil.copy(vmond.PROGRAM, self.path("vmond"))
        image = shutil.copy(vmond.guest("long.elf"), self.path("image"))
        os.chmod(program, 0o755)
        os.chmod(image, 0o644)
        os.mkdir(self.path("d"))
        os.chown(self.path("d"), user.pw_uid, user.pw_gid)
        done = subprocess.run(
            [program, "run", "--kernel", image, "--monitor", "unix:" + self.path("d/m")],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=vmond.TIMEOUT,
            user="nobody", group=user.pw_gid, extra_groups=[], check=False)
        self.assert_fails(1, "(?i)permission.*/dev/kvm|/dev/kvm.*permission", done=done)
        self.assertEqual(os.listdir(self.path("d")), [])

    def test_no_kvm(self):
        """In a mount namespace where /dev/kvm is not there, or is something else."""
        for pattern, hide in [("no /dev/kvm", "mount -t tmpfs none /dev"),
                              ("/dev/kvm is not KVM",
                               "mount --bind /dev/null /dev/kvm")]:
            with self.subTest(hide):
                if subprocess.run(["unshare", "-m", "sh", "-c", hide], capture_output=True,
                                  check=False).returncode:
                    self.skipTest("no mount namespaces for this user")
                done = subprocess.run(
                    ["unshare", "-m", "sh", "-c", hide + ' && exec "$@"', "sh", vmond.PROGRAM,
                     "run", "--kernel", vmond.guest("long.elf"), "--monitor",
                     "unix:" + self.path("m"), "--pidfile", self.path("p")],
                    capture_output=True, text=True, timeout=vmond.TIMEOUT, check=False)
                self.assert_fails(1, pattern, done=done)

    def test_files_that_can_not_be_written(self):
        image = vmond.guest("long.elf")
        self.assert_fails(1, "nosuch", "--kernel", image, "--pidfile", self.path("nosuch/p"))
        self.assert_fails(1, "nosuch", "--kernel", image, "--serial",
                          "file:" + self.path("nosuch/s"), "--monitor", "unix:" + self.path("m"))
        precious = self.write("precious", b"text")
        self.assert_fails(1, precious, "--kernel", image, "--pidfile", precious)
        with open(precious, "rb") as f:
            self.assertEqual(f.read(), b"text")

    def test_config_file(self):
        for pattern, text in [
                ("config", b""), ("config", b"[]"), ("config", b"{"), ("config", b"\xff\xfe"),
                ("nosuch", b'{"nosuch": 1}'), ("cpus", b'{"cpus": "many"}'),
                ("cpus", b'{"cpus": 0}'), ("memory", b'{"memory": []}')]:
            with self.subTest(text):
                path = self.write("config", text)
                done = vmond.run("run", "--config", path, cwd=self.directory)
                self.assertIn(done.returncode, (1, 2))
                self.assert_fails(done.returncode, pattern, done=done)
        self.assert_fails(1, "nosuch", "--config", self.path("nosuch"))
