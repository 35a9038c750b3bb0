# SPDX-License-Identifier: MIT
"""Holds every message of a session against the schema that the server gives of itself.

What query-qmp-schema returns is taken at its word: a reply has every member that is declared, but
for optional ones, and no other; so have an event's data, and the arguments of a request that was
carried out.  A request that is refused may be as wrong as the test wants it.
"""

import collections
import json

CLASSES = {"GenericError", "CommandNotFound", "DeviceNotActive", "DeviceNotFound", "KVMMissingCap"}
# By the name that introspection has for them: "int" has no fraction, a bool is no number.
JSON_TYPES = {
    "string": lambda v: isinstance(v, str),
    "int": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "number": lambda v: isinstance(v, (int, float)) and not isinstance(v, bool),
    "boolean": lambda v: isinstance(v, bool),
    "null": lambda v: v is None,
    "object": lambda v: isinstance(v, dict),
    "array": lambda v: isinstance(v, list),
    "value": lambda v: True,
}
RAW_MAX = 1 << 20       # raw bytes that are looked into for requests


class Violation(AssertionError):
    """A message that is not what the schema says."""


class Schema:
    def __init__(self, entries):
        self.entries = {entry["name"]: entry for entry in entries}
        if len(self.entries) != len(entries):
            raise Violation("the schema has an entry twice")

    def lookup(self, name, *meta_types):
        entry = self.entries.get(name)
        if entry is None:
            raise Violation(f"the schema lacks {name!r}")
        if meta_types and entry["meta-type"] not in meta_types:
            raise Violation(f"{name!r} is a {entry['meta-type']} and no {' or '.join(meta_types)}")
        return entry

    def check_request(self, request):
        oob = "exec-oob" in request
        command = self.lookup(request["exec-oob" if oob else "execute"], "command")
        if oob and not command.get("allow-oob"):
            raise Violation(f"{command['name']} was carried out out of band")
        self.check(command["arg-type"], request.get("arguments", {}),
                   f"arguments of {command['name']}")

    def check_return(self, name, value):
        self.check(self.lookup(name, "command")["ret-type"], value, f"return of {name}")

    def check_event(self, name, data):
        self.check(self.lookup(name, "event")["arg-type"], data, f"data of {name}")

    def check_greeting(self, greeting):
        self.check(self.lookup("query-version", "command")["ret-type"], greeting["version"],
                   "version of the greeting")
        enable = self.member(self.lookup("qmp_capabilities", "command")["arg-type"], "enable")
        self.check(enable["type"], greeting["capabilities"], "capabilities of the greeting")

    def member(self, type_name, name):
        for member in self.lookup(type_name, "object")["members"]:
            if member["name"] == name:
                return member
        raise Violation(f"{type_name!r} has no member {name!r}")

    def check(self, type_name, value, where):
        """Whether a value is of a type; `where` says whose value it is."""
        type_ = self.lookup(type_name, "builtin", "enum", "array", "object", "alternate")
        getattr(self, "check_" + type_["meta-type"])(type_, value, where)

    def check_builtin(self, type_, value, where):
        if not JSON_TYPES[type_["json-type"]](value):
            raise Violation(f"{where}: {value!r} is no {type_['json-type']}")

    def check_enum(self, type_, value, where):
        if value not in type_["values"]:
            raise Violation(f"{where}: {value!r} is no value of {type_['name']}")

    def check_array(self, type_, value, where):
        if not isinstance(value, list):
            raise Violation(f"{where}: {value!r} is no array")
        for i, element in enumerate(value):
            self.check(type_["element-type"], element, f"{where}[{i}]")

    def check_alternate(self, type_, value, where):
        for choice in type_["members"]:
            try:
                return self.check(choice["type"], value, where)
            except Violation:
                pass
        raise Violation(f"{where}: {value!r} is no {type_['name']}")

    def members_of(self, type_, value):
        """The members of an object type, and those that the value's tag adds to them."""
        members = list(type_["members"])
        for variant in type_.get("variants", []):
            if variant["case"] == value.get(type_["tag"]):
                members += self.members_of(self.lookup(variant["type"], "object"), value)
        return members

    def check_object(self, type_, value, where):
        if not isinstance(value, dict):
            raise Violation(f"{where}: {value!r} is no object")
        members = {member["name"]: member for member in self.members_of(type_, value)}
        for name, member in members.items():
            if name in value:
                self.check(member["type"], value[name], f"{where}, {name}")
            elif "default" not in member:
                raise Violation(f"{where}: {name!r} is not there")
        for name in value.keys() - members.keys():
            raise Violation(f"{where}: {name!r} is not declared")


class Session:
    """The messages of one connection, as they go and come.

    Until the schema is known they wait.  A reply belongs to the request that has its id; one
    without an id to the oldest such request, as long as all that was sent could be read.
    """

    def __init__(self):
        self.schema = None
        self.waiting = []                       # (request, message)
        self.pending = collections.deque()      # requests without a reply
        self.lost = False                       # raw bytes were sent that are no requests

    def use(self, schema):
        self.schema = schema
        for request, message in self.waiting:
            self.check(request, message)
        self.waiting.clear()

    def sent(self, data):
        """An object, or raw bytes."""
        if isinstance(data, bytes):
            self.sent_raw(data)
        elif isinstance(data, dict):
            self.pending.append(data)

    def sent_raw(self, data):
        decoder = json.JSONDecoder()
        try:
            if len(data) > RAW_MAX:
                raise ValueError("too long")
            text = data.decode("ascii").strip()
            while text:
                request, end = decoder.raw_decode(text)
                if not isinstance(request, dict):
                    raise ValueError("no request")
                self.pending.append(request)
                text = text[end:].lstrip()
        except (ValueError, RecursionError):
            self.lost = True

    def received(self, message):
        request = None
        if "return" in message or "error" in message:
            request = self.request_of(message)
        if self.schema is None:
            self.waiting.append((request, message))
        else:
            self.check(request, message)

    def request_of(self, message):
        if "id" not in message and self.lost:
            return None
        for i, request in enumerate(self.pending):
            if request.get("id") == message.get("id"):
                del self.pending[i]
                return request
        return None

    def check(self, request, message):
        keys = set(message)
        if "QMP" in message:
            if keys != {"QMP"} or message["QMP"].keys() != {"version", "capabilities"}:
                raise Violation(f"no greeting: {message}")
            self.schema.check_greeting(message["QMP"])
        elif "event" in message:
            if keys - {"data"} != {"event", "timestamp"}:
                raise Violation(f"no event: {message}")
            check_timestamp(message["timestamp"])
            self.schema.check_event(message["event"], message.get("data", {}))
        elif "error" in message:
            check_error(message)
        elif keys - {"id"} != {"return"}:
            raise Violation(f"no message of the protocol: {message}")
        elif request is not None:
            self.schema.check_request(request)
            self.schema.check_return(request.get("execute", request.get("exec-oob")),
                                     message["return"])


def check_timestamp(timestamp):
    if (timestamp.keys() != {"seconds", "microseconds"} or
            not all(JSON_TYPES["int"](v) for v in timestamp.values())):
        raise Violation(f"no timestamp: {timestamp}")


def check_error(message):
    error = message["error"]
    if (set(message) - {"id"} != {"error"} or error.keys() != {"class", "desc"} or
            error["class"] not in CLASSES or not isinstance(error["desc"], str) or
            not error["desc"]):
        raise Violation(f"no error reply: {message}")
