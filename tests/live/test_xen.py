# SPDX-License-Identifier: MIT
"""Xen PV-on-HVM guests: the leaves, the MSR, and the pages that it has written."""

import re

import vmond

CRC32C = 0x82f63b78
PAGE = 4096
STUB = 32
GUESTS = {"real": "xen-real.bin", "prot": "xen-prot.elf", "long": "xen-long.elf"}


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (CRC32C if crc & 1 else 0)
    return crc ^ 0xffffffff


def value(bits, page, number):
    """What a stub returns: the blob, the page and the stub can be told from it."""
    return bits << 24 | page << 16 | number


def blob(bits, pages, code=32):
    """Stubs that return at once, after an exit to a port that nobody listens on."""
    wide = b"\x66" if code == 16 else b""
    return b"".join((wide + b"\xb8" + value(bits, page, number).to_bytes(4, "little") +
                     wide + b"\xe7\xe8\xc3").ljust(STUB, b"\xcc")
                    for page in range(pages) for number in range(PAGE // STUB))


def shown(*values):
    """A pattern for what a guest prints; the one of 64 bits shows its registers in full."""
    return " ".join(f"(?:0{{8}})?{v:08x}" for v in values)


class Xen(vmond.DirectoryTest):
    paths = None

    def option(self, mode="long", pages=(1, 1), more=""):
        """--xen-hvm with blobs that the guest of that mode can run."""
        code = 16 if mode == "real" else 32
        self.blobs = {32: blob(0x32, pages[0], code), 64: blob(0x64, pages[1])}
        self.files = {bits: self.write(f"blob{bits}", content)
                      for bits, content in self.blobs.items()}
        return f"blob32={self.files[32]},blob64={self.files[64]}{more}"

    def available(self):
        """The ways that this host's KVM has."""
        if Xen.paths is None:
            Xen.paths = []
            for path in "kernel", "user-space":
                try:
                    with vmond.Machine(None, "--xen-hvm", self.option(more=f",path={path}")):
                        Xen.paths.append(path)
                except vmond.Ended as ended:
                    self.assertIn(f"; leave out path={path}", ended.stderr)
        return Xen.paths

    def check_guest(self, m, mode, pages, base):
        """What a guest of that mode says up to its end."""
        bits = 0x64 if mode == "long" else 0x32
        least, own = min(pages), pages[mode == "long"]
        m.serial.wait(f"^{mode}$")
        m.serial.wait(f"^xen base {shown(base)} max {shown(base + 4)} version {shown(0x40011)} "
                      f"pages {shown(least)} msr {shown(0x40000000)}$")
        khz = m.serial.wait("^time flags [0-9a-f]+ khz ([0-9a-f]+) host ([0-9a-f]+)\n")
        self.assertEqual(khz[1], khz[2])
        self.assertNotEqual(int(khz[1], 16), 0)
        m.serial.wait(f"^hvm features {shown(8)} vcpu {shown(0)}$")
        for page in range(least):
            m.serial.wait(f"^page {page} ok {shown(*[value(bits, page, n) for n in (0, 5, 127)])}$")
        if own == least:
            m.serial.wait(f"^beyond gp {shown(value(bits, least - 1, 1))}$")
        else:
            m.serial.wait(f"^beyond ok {shown(value(bits, least, 1))}$")
        for what in "last", "hole", "high", "highest", "read":
            m.serial.wait(f"^{what} gp$")
        m.serial.wait("^done$")

    def again(self, m, key, bits, page, written="ok"):
        m.type(key)
        if key == "w":
            m.serial.wait("^write ok$")
        if key == "b":
            m.serial.wait("^beyond gp$")
        m.serial.wait(f"^again {shown(value(bits, page, 3))} low ok$")

    def test_xen_guests(self):
        for path in self.available():
            for mode, image in GUESTS.items():
                for pages in (1, 1), (3, 3), (2, 1), (1, 2):
                    with self.subTest(path, mode=mode, pages=pages):
                        self.run_guest(path, mode, image, pages)

    def run_guest(self, path, mode, image, pages):
        option = self.option(mode, pages, f",path={path}")
        with vmond.Machine(image, "--xen-hvm", option, typed=True) as m:
            self.check_guest(m, mode, pages, 0x40000100)
            bits, own = (0x64, pages[1]) if mode == "long" else (0x32, pages[0])
            last = min(own - 1, min(pages))
            self.again(m, "x", bits, last)
            self.again(m, "w", bits, 0)
            self.again(m, "b", bits, 0)
            info = m.qmp.command("query-xen")
            self.check_info(info, path, mode, pages)
            self.assertEqual(m.stderr(), "")

    def check_info(self, info, path, mode, pages):
        bits, own = (64, pages[1]) if mode == "long" else (32, pages[0])
        written, refused = info.pop("written"), info.pop("refused")
        self.assertEqual(info, {
            "enabled": True, "path": path, "msr": 0x40000000, "cpuid-base": 0x40000100,
            "version": "4.17", "complete": path == "user-space", "unlisted": 0,
            "blob32": {"file": self.files[32], "pages": pages[0],
                       "crc32c": crc32c(self.blobs[32])},
            "blob64": {"file": self.files[64], "pages": pages[1],
                       "crc32c": crc32c(self.blobs[64])}})
        if path == "kernel":
            self.assertEqual((written, refused), ([], 0))
            return
        page, = written
        self.assertEqual(page.pop("gpa") % PAGE, 0)
        more = own > min(pages)
        self.assertEqual(page, {"mode": bits, "index": 0, "cpu-index": 0,
                                "count": min(pages) + more + 1})
        self.assertEqual(refused, 6 - more)     # among them what again() has asked for

    def test_xen_vcpus(self):
        cpus = 4
        for path in self.available():
            option = self.option(more=f",path={path}")
            with self.subTest(path), \
                    vmond.Machine(GUESTS["long"], "--xen-hvm", option, cpus=cpus, typed=True) as m:
                m.serial.wait("^done$")
                m.type("x")
                for ap in range(1, cpus):
                    m.serial.wait(f"^ap {ap} ([0-9a-f]{{16}})$")
                found = re.findall(r"^ap \d+ ([0-9a-f]{8})([0-9a-f]{8})$", m.serial.text(), re.M)
                self.assertEqual(sorted(int(i, 16) for i, _ in found), list(range(1, cpus)))
                self.assertEqual({v for _, v in found}, {f"{value(0x64, 0, 2):08x}"})
                if path == "user-space":
                    written = m.qmp.command("query-xen")["written"]
                    self.assertEqual(sorted(p["cpu-index"] for p in written),
                                     list(range(cpus)))
                    self.assertEqual(len({p["gpa"] for p in written}), cpus)
                self.assertEqual(m.stderr(), "")

    def test_xen_look_costs_nothing(self):
        with vmond.Machine(GUESTS["long"], "--xen-hvm", self.option(), typed=True) as m:
            m.serial.wait("^done$")
            m.qmp.command("stop")
            m.qmp.command("query-xen")
            m.qmp.hmp("info xen")
            m.qmp.command("cont")
            sync = m.qmp.command("query-vcpu-sync")
            self.assertEqual((sync["sets-since-stop"], sync["vm-sets-since-stop"]), (0, 0))
            self.again(m, "x", 0x64, 0)

    def test_xen_stops_between(self):
        """A machine that is stopped and looked at as often as one likes misses no write."""
        writes = 100
        for path in self.available():
            option = self.option(more=f",path={path}")
            with self.subTest(path), \
                    vmond.Machine(GUESTS["long"], "--xen-hvm", option, typed=True) as m:
                m.serial.wait("^done$")
                m.type("w" * writes)
                while m.serial.text().count("again") < writes:
                    m.qmp.command("stop")
                    m.qmp.hmp("info registers -a")
                    m.qmp.command("cont")
                self.assertEqual(m.serial.text().count("write ok\n"), writes)
                if path == "user-space":
                    self.assertEqual(m.qmp.command("query-xen")["written"][0]["count"], writes + 1)
                self.assertEqual(m.stderr(), "")

    def test_xen_one_blob(self):
        """Without a blob for its mode a guest can have no page at all."""
        self.option()
        with vmond.Machine(GUESTS["long"], "--xen-hvm", f"blob32={self.files[32]}") as m:
            m.serial.wait(f"^page 0 gp {shown(0, 0, 0)}$")
        with vmond.Machine(GUESTS["prot"], "--xen-hvm", f"blob64={self.files[64]}") as m:
            m.serial.wait(f"^page 0 gp {shown(0, 0, 0)}$")

    def test_xen_short_blob(self):
        """A file that ends within a page is filled up, with zeros."""
        path = self.write("short", blob(0x64, 2)[:PAGE + 6 * STUB])
        with vmond.Machine(GUESTS["long"], "--xen-hvm", f"blob64={path}", typed=True) as m:
            m.serial.wait("^page 1 ok "
                          f"{shown(value(0x64, 1, 0), value(0x64, 1, 5), 0)}$")
            self.assertEqual(m.qmp.command("query-xen")["blob64"]["pages"], 2)

    def test_xen_none(self):
        end = vmond.run("run", "--kernel", vmond.guest(GUESTS["prot"]), "--serial", "stdio")
        self.assertEqual((end.returncode, end.stdout), (7, "prot\nno xen\n"))
        with vmond.Machine(None) as m:
            self.assertEqual(m.qmp.command("query-xen"), {"enabled": False})
            self.assertEqual(m.qmp.hmp("info xen"), "Xen PV-on-HVM: disabled\n")

    def test_xen_hmp(self):
        with vmond.Machine(GUESTS["prot"], "--xen-hvm", self.option("prot"), typed=True) as m:
            m.serial.wait("^done$")
            lines = m.qmp.hmp("info xen").splitlines()
            self.assertRegex(lines[0], "^Xen PV-on-HVM: enabled, path (kernel|user-space)$")
            self.assertEqual(lines[1], "MSR 0x40000000, CPUID 0x40000100, version 4.17")
            self.assertEqual(lines[2], f"blob32: 1 page, crc32c 0x{crc32c(self.blobs[32]):08x}, "
                                       f"{self.files[32]}")
            if "user-space" in lines[0]:
                self.assertRegex(lines[4], "^[0-9a-f]{13}000: page 0 of blob32, by CPU 0, count 1$")
                self.assertEqual(lines[5], "writes refused: 5")
            else:
                self.assertEqual(lines[4], "the kernel writes pages, and does not tell which")

    def test_xen_other_msr_and_version(self):
        option = self.option(more=",msr=0x40000200,version=5.1")
        with vmond.Machine(GUESTS["long"], "--xen-hvm", option, typed=True) as m:
            m.serial.wait(f"version {shown(0x50001)} pages {shown(1)} msr {shown(0x40000200)}$")
            m.serial.wait("^read gp$")
            self.again(m, "x", 0x64, 0)

    def test_xen_reset(self):
        with vmond.Machine(GUESTS["long"], "--xen-hvm", self.option(), typed=True) as m:
            for _ in range(3):
                m.serial.wait("^done$")
                info = m.qmp.command("query-xen")
                if info["path"] == "user-space":
                    self.assertEqual((info["written"][0]["count"], info["refused"]), (1, 5))
                self.again(m, "x", 0x64, 0)
                m.qmp.command("stop")
                m.qmp.command("system_reset")
                info = m.qmp.command("query-xen")
                self.assertEqual((info["written"], info["refused"]), ([], 0))
                m.qmp.command("cont")

    def save(self, m, path):
        m.qmp.command("stop")
        m.qmp.command("snapshot-save", filename=path)
        vmond.wait_until(lambda: m.qmp.command("query-migrate")["status"] == "completed", "it")

    def test_xen_clone(self):
        """Its blobs come along, and nothing but the guest writes a page, on whatever way."""
        path = self.path("snapshot")
        for mode, image in GUESTS.items():
            with self.subTest(mode), \
                    vmond.Machine(image, "--xen-hvm", self.option(mode), typed=True) as m:
                m.serial.wait("^done$")
                self.save(m, path)
                before = m.qmp.command("query-xen")
                own = self.option(mode)
                bits = 0x64 if mode == "long" else 0x32
            ways = [()] + [("--xen-hvm", f"{own},path={p}") for p in self.available()]
            own = ways[1][1] if len(ways) > 1 else None
            self.option(mode)
            for way in ways:
                with self.subTest(mode, way=way), \
                        vmond.Machine(None, "--clone", path, *way, "--paused", typed=True) as m:
                    info = m.qmp.command("query-xen")
                    if not way:
                        for name in "blob32", "blob64":
                            self.assertNotIn("file", info[name])
                            del before[name]["file"]
                            self.assertEqual(info.pop(name), before.pop(name))
                    self.assertEqual(info["written"], before["written"])
                    self.assertEqual(info["cpuid-base"], before["cpuid-base"])
                    m.qmp.command("cont")
                    self.again(m, "x", bits, 0)
                    self.again(m, "b", bits, 0)
                    self.again(m, "w", bits, 0)
                    if info["path"] == "user-space":
                        after = m.qmp.command("query-xen")
                        self.assertEqual(after["written"][0]["count"], 2 if info["written"] else 1)
                    self.assertEqual(m.stderr(), "")

    def test_xen_clone_refused(self):
        path = self.path("snapshot")
        with vmond.Machine(GUESTS["long"], "--xen-hvm", self.option(), typed=True) as m:
            m.serial.wait("^done$")
            self.save(m, path)
        for what, pages, more in ("blob32", (2, 1), ""), ("blob64", (1, 2), ""), \
                ("version", (1, 1), ",version=3.0"), ("MSR", (1, 1), ",msr=0x40000200"):
            with self.subTest(what):
                option = self.option(pages=pages, more=more)
                end = vmond.run("run", "--clone", path, "--xen-hvm", option)
                self.assertEqual(end.returncode, 1)
                self.assertEqual(end.stderr, f"vmond: {path}: the snapshot is of a machine with "
                                             f"another {what} in --xen-hvm; it has its own, "
                                             "leave out the option\n")
        with vmond.Machine(None, "--paused") as m:
            self.save(m, path)
        end = vmond.run("run", "--clone", path, "--xen-hvm", self.option())
        self.assertEqual((end.returncode, end.stderr),
                         (1, f"vmond: {path}: the snapshot is of a machine without --xen-hvm; "
                             "leave out the option\n"))

    def test_xen_incoming(self):
        stream = self.path("stream")
        with vmond.Machine(GUESTS["prot"], "--xen-hvm", self.option("prot"), typed=True) as m:
            m.serial.wait("^done$")
            m.qmp.command("stop")
            m.qmp.command("migrate", uri="file:" + stream)
            vmond.wait_until(lambda: m.qmp.command("query-migrate")["status"] == "completed", "it")
            written = m.qmp.command("query-xen")["written"]
        with vmond.Machine(None, "--incoming", "file:" + stream, typed=True) as m:
            vmond.wait_until(lambda: m.qmp.status() != "inmigrate", "it")
            self.assertEqual(m.qmp.command("query-xen")["written"], written)
            m.qmp.command("cont")
            for key in "xwb":
                self.again(m, key, 0x32, 0)

    def test_xen_refused(self):
        big = self.write("big", b"\x90" * (255 * PAGE + 1))
        most = self.write("most", b"\x90" * (255 * PAGE))
        empty = self.write("empty", b"")
        for option, status, text in (
                ("blob32=/nowhere", 1, "blob32 /nowhere: can not open it: No such file"),
                (f"blob64={big}", 1, "has more than 255 pages"),
                (f"blob64={empty}", 1, "the file is empty"),
                (f"blob64={self.directory}", 1, "it is a directory"),
                (f"msr=0x10,blob64={most}", 2, "MSR 0x10 is not one of those that"),
                ("msr=0x40000000", 2, "needs blob32, blob64 or both")):
            with self.subTest(option):
                end = vmond.run("run", "--xen-hvm", option)
                self.assertEqual(end.returncode, status)
                self.assertIn(text, end.stderr)
                self.assertEqual(end.stderr.count("\n"), 1)
        with vmond.Machine(None, "--xen-hvm", f"blob64={most}") as m:
            self.assertEqual(m.qmp.command("query-xen")["blob64"]["pages"], 255)
