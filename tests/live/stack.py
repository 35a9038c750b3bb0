# SPDX-License-Identifier: MIT
"""A management stack at the other end of a monitor: how it frames, what it asks, what it tolerates.

The conversations below are those of libvirt 9.0 with QEMU, command for command.  Each line of one
is (command, arguments, rule); the rule says what the stack takes for an answer.
"""

import json
import socket

import schema
import vmond

MUST = "must"                   # anything but a return ends it all
DEVICE = "device"               # DeviceNotFound is an answer too: there is no such device
IF_THERE = "if there"           # asked only if query-commands has it; then it must succeed
MAY_FAIL = "may fail"           # the same, and GenericError is an answer too
REPLY_MAX = 10 << 20
VERSION_MIN = (4, 2, 0)

# What it wants to know of a program before it uses it.  Devices that it asks after blindly:
DEVICES = ["virtio-blk-pci", "scsi-hd", "ide-hd", "PIIX4_PM", "kvm-pit", "ICH9-LPC",
           "virtio-balloon-pci", "virtio-balloon-ccw", "virtio-balloon-device", "usb-host"]
HOST = {"name": "host"}
PROBE = [
    ("qmp_capabilities", {}, MUST),
    ("query-version", {}, MUST),
    ("query-target", {}, MUST),
    ("query-qmp-schema", {}, MUST),
    ("query-commands", {}, MUST),
    ("query-kvm", {}, MUST),
    ("qom-list-types", {}, MUST),
    *[("device-list-properties", {"typename": name}, DEVICE) for name in DEVICES],
    # Without an answer to these two the stack itself would crash.
    ("qom-list-properties", {"typename": "memory-backend-file"}, MUST),
    ("query-machines", {}, MUST),
    ("qom-list-properties", {"typename": "none-machine"}, MUST),
    # So would an error to this one make it.
    ("query-cpu-definitions", {}, IF_THERE),
    ("query-tpm-models", {}, MUST),
    ("query-tpm-types", {}, MUST),
    ("query-command-line-options", {}, MUST),
    ("query-migrate-capabilities", {}, MUST),
    ("query-sev-capabilities", {}, MAY_FAIL),
    ("query-sgx-capabilities", {}, MAY_FAIL),
    ("query-cpu-model-expansion", {"type": "static", "model": HOST}, MAY_FAIL),
    ("query-cpu-model-expansion",
     {"type": "static", "model": {**HOST, "props": {"migratable": False}}}, MAY_FAIL),
    ("query-cpu-model-expansion",
     {"type": "full", "model": {**HOST, "props": {"migratable": False,
                                                  "hv-passthrough": True}}}, MAY_FAIL),
]
FIRST_CPU = "/machine/unattached/device[0]"
START = [
    ("qmp_capabilities", {}, MUST),
    ("query-migrate-capabilities", {}, MUST),
    ("migrate-set-capabilities", {"capabilities": [{"capability": "events", "state": True}]},
     MUST),
    ("query-chardev", {}, MUST),
    ("query-cpus-fast", {}, MUST),
    ("qom-list", {"path": FIRST_CPU}, DEVICE),
    ("query-iothreads", {}, IF_THERE),
    ("query-named-block-nodes", {"flat": True}, MUST),
    ("qom-list", {"path": "/machine/peripheral"}, MUST),
    ("query-block", {}, MUST),
]
STATISTICS = [
    ("query-stats", {"target": "vcpu"}, IF_THERE),
    ("query-stats-schemas", {}, IF_THERE),
    ("query-blockstats", {}, MUST),
    ("query-blockstats", {"query-nodes": True}, MUST),
    ("query-named-block-nodes", {"flat": True}, MUST),
    ("query-dirty-rate", {}, IF_THERE),
]
AFTER_RESET = [
    ("qom-list", {"path": "/machine/peripheral"}, MUST),
    ("query-block", {}, MUST),
    ("query-block", {}, MUST),
]
RECONNECT = [
    ("qmp_capabilities", {}, MUST),
    ("query-migrate-capabilities", {}, MUST),
    ("query-status", {}, MUST),
    ("query-hotpluggable-cpus", {}, IF_THERE),
    ("query-cpus-fast", {}, MUST),
    ("qom-get", {"path": FIRST_CPU, "property": "migratable"}, MAY_FAIL),
    ("query-iothreads", {}, IF_THERE),
    ("query-block", {}, MUST),
    ("query-chardev", {}, MUST),
    ("query-jobs", {}, IF_THERE),
    ("qom-list", {"path": "/machine/peripheral"}, MUST),
]


class Stack:
    """One connection.  What comes is taken byte by byte, as strictly as the stack takes it."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(vmond.TIMEOUT)
        self.sock.connect(path)
        self.bytes = b""
        self.serial = 0
        self.events = []
        self.commands = None
        self.session = schema.Session()
        self.greeting = self.line()
        if "QMP" not in self.greeting:
            raise AssertionError(f"the first line is no greeting: {self.greeting}")

    def line(self):
        """The next message: one line, ended by CR and LF, with nothing between it and the last."""
        while b"\n" not in self.bytes:
            data = self.sock.recv(1 << 16)
            if not data:
                raise EOFError(f"the end, after {self.bytes!r}")
            self.bytes += data
            if len(self.bytes) > REPLY_MAX:
                raise AssertionError("a reply of more than 10 MiB")
        line, self.bytes = self.bytes.split(b"\n", 1)
        if not line.endswith(b"}\r") or not line.startswith(b"{"):
            raise AssertionError(f"not what a stack can read: {line[:100]!r}")
        message = json.loads(line[:-1])
        self.session.received(message)
        return message

    def send(self, request, fds=()):
        self.session.sent(request)
        data = json.dumps(request).encode() + b"\r\n"
        if fds:
            socket.send_fds(self.sock, [data], list(fds))
        else:
            self.sock.sendall(data)

    def ask(self, command, arguments=None, fds=()):
        """The answer to one command, and nobody sends another before it is there."""
        self.serial += 1
        request = {"execute": command, "id": f"libvirt-{self.serial}"}
        if arguments:
            request["arguments"] = arguments
        self.send(request, fds)
        while "event" in (message := self.line()):
            self.events.append(message)
        if message.get("id") != request["id"]:
            raise AssertionError(f"{message} answers something else than {request}")
        return message

    def must(self, command, arguments=None, fds=()):
        message = self.ask(command, arguments, fds)
        if "return" not in message:
            raise AssertionError(f"{command} is not expected to fail: {message['error']}")
        return message["return"]

    def follow(self, command, arguments, rule):
        """One line of a conversation; None for what is not there."""
        if rule in (IF_THERE, MAY_FAIL) and command not in self.known():
            return None
        message = self.ask(command, arguments)
        allowed = {DEVICE: "DeviceNotFound", MAY_FAIL: "GenericError"}.get(rule)
        if "error" in message and message["error"]["class"] != allowed:
            raise AssertionError(f"{command} {arguments}: {message['error']}")
        return message.get("return")

    def converse(self, conversation):
        """All lines of one: the answers by command, a list each."""
        answers = {}
        for command, arguments, rule in conversation:
            answers.setdefault(command, []).append(self.follow(command, arguments, rule))
            if command == "qmp_capabilities":
                self.session.use(schema.Schema(self.must("query-qmp-schema")))
        return answers

    def known(self):
        if self.commands is None:
            self.commands = {c["name"] for c in self.must("query-commands")}
        return self.commands

    def event(self, name, data=None):
        """Waits for an event, whose data must have this among it; returns its data."""
        while True:
            message = self.events.pop(0) if self.events else self.line()
            if message["event"] == name:
                got = message.get("data", {})
                if {**got, **(data or {})} == got:
                    return got

    def close(self):
        self.sock.close()
