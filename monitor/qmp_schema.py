# SPDX-License-Identifier: MIT
"""Reads and checks the QMP schema.

The schema is one JSON object:
  manual  date, and sections of prose by title: a list of lines, "" between paragraphs, and objects
          {TERM: TEXT} for lists
  groups  [{title, commands: [{name, description, arguments, returns, returns-description, errors,
          example, allow-oob}]}]
  events  [{name, description, data, rate-limit-ms}]
  types   [{enum: NAME, description, values: {VALUE: TEXT}}
          | {object: NAME, description, members, tag, variants: {VALUE: NAME}}
          | {alternate: NAME, description, choices: [TYPE]}]
A text is a string or a list of lines.  The members of objects, arguments and data are given as
{NAME: {type, description, features}}, with a "*" before the names of optional ones; for arguments
and data the name of an object type will do, which may have variants.  A type is
the name of a builtin or of an entry in types; [NAME] is an array of it.
"""

import json
import re

BUILTINS = {  # name: (type in introspection, type in JSON, kind in C)
    "str": ("str", "string", "STR"),
    "int": ("int", "int", "INT"),
    "uint64": ("int", "int", "UINT"),
    "uint16": ("int", "int", "UINT16"),
    "number": ("number", "number", "NUMBER"),
    "bool": ("bool", "boolean", "BOOL"),
    "null": ("null", "null", "NULL"),
    "any": ("any", "value", "ANY"),
}
INT_RANGES = {"int": (-1 << 63, (1 << 63) - 1), "uint64": (0, (1 << 64) - 1), "uint16": (0, 65535)}


class SchemaError(Exception):
    pass


class Member:
    def __init__(self, name, spec, where, schema):
        self.optional = name.startswith("*")
        self.name = name.removeprefix("*")
        where = f"{where}, member '{self.name}'"
        check_name(self.name, r"[A-Za-z][A-Za-z0-9_-]*", where)
        check_keys(spec, where, {"type", "description"}, {"features"})
        self.description = text(spec["description"], where)
        self.features = spec.get("features", [])
        self.type = schema.resolve(spec["type"], where)


class Type:
    """kind is builtin, enum, object, array or alternate."""

    def __init__(self, kind, name, description=""):
        self.kind, self.name, self.description = kind, name, description
        self.values = {}     # enum: description by value
        self.members = []    # object
        self.tag = None      # object: the Member that selects the variant
        self.variants = {}   # object: Type by value of the tag; None for no further members
        self.element = None  # array
        self.choices = []    # alternate: Types

    def wire_name(self):
        """The name in introspection, where the sizes of integers do not show."""
        if self.kind == "builtin":
            return BUILTINS[self.name][0]
        return f"[{self.element.wire_name()}]" if self.kind == "array" else self.name

    def json_type(self):
        if self.kind == "builtin":
            return BUILTINS[self.name][1]
        return {"enum": "string", "alternate": "value"}.get(self.kind, self.kind)

    def children(self):
        types = [m.type for m in self.members] + self.choices
        types += [variant for variant in self.variants.values() if variant]
        return types + [self.element] if self.element else types

    def c_name(self):
        if self.kind == "array":
            return "array_of_" + self.element.c_name()
        return "type_" + c_identifier(self.name)


class Command:
    def __init__(self, spec, schema):
        check_keys(spec, "a command", {"name", "description"},
                   {"arguments", "returns", "returns-description", "errors", "example",
                    "allow-oob"})
        self.name = spec["name"]
        where = f"command '{self.name}'"
        check_name(self.name, r"[a-z][a-z0-9_-]*", where)
        self.handler = "qmp_" + c_identifier(self.name)
        self.description = text(spec["description"], where)
        self.arguments = schema.implicit(f"{self.name}-arguments", spec.get("arguments"), where)
        self.returns = schema.resolve(spec["returns"], where) if "returns" in spec else None
        self.returns_description = text(spec.get("returns-description"), where)
        self.errors = [text(error, where) for error in spec.get("errors", [])]
        self.allow_oob = spec.get("allow-oob", False)
        self.example = spec.get("example", [])


class Event:
    def __init__(self, spec, schema):
        check_keys(spec, "an event", {"name", "description", "rate-limit-ms"}, {"data"})
        self.name = spec["name"]
        where = f"event '{self.name}'"
        check_name(self.name, r"[A-Z][A-Z0-9_]*", where)
        self.description = text(spec["description"], where)
        self.data = schema.implicit(f"{self.name}-data", spec.get("data"), where)
        self.rate_limit_ms = spec["rate-limit-ms"]
        if type(self.rate_limit_ms) is not int or not 0 <= self.rate_limit_ms < 1 << 32:
            raise SchemaError(f"{where}: 'rate-limit-ms' is no number of milliseconds")


class Schema:
    def __init__(self, spec):
        check_keys(spec, "the schema", {"manual", "groups", "events", "types"}, set())
        self.manual = spec["manual"]
        check_keys(self.manual, "'manual'", {"date", "sections"}, set())
        self.types = {name: Type("builtin", name) for name in BUILTINS}
        entries = [(self.declare(entry), entry) for entry in spec["types"]]
        for type_, entry in entries:
            self.define(type_, entry)
        for type_, entry in entries:
            self.define_variants(type_, entry)
        self.groups = []
        for group in spec["groups"]:
            check_keys(group, "a group", {"title", "commands"}, set())
            self.groups.append((group["title"], [Command(c, self) for c in group["commands"]]))
        self.commands = sorted((c for _, group in self.groups for c in group),
                               key=lambda command: command.name)
        self.events = [Event(event, self) for event in spec["events"]]
        check_unique("command", [command.name for command in self.commands])
        check_unique("handler", [command.handler for command in self.commands])
        check_unique("event", [event.name for event in self.events])

        self.used = []  # types in the order of their first use
        for command in self.commands:
            self.use(command.arguments)
            self.use(command.returns)
            check_arguments(command.arguments, [], f"command '{command.name}'")
        for event in self.events:
            self.use(event.data)
            check_arguments(event.data, [], f"event '{event.name}'")
        for type_, _ in entries:
            if type_ not in self.used:
                raise SchemaError(f"type '{type_.name}' is used nowhere")
        for command in self.commands:
            check_example(command)

    def declare(self, entry):
        kinds = [kind for kind in ("enum", "object", "alternate") if kind in entry]
        if len(kinds) != 1:
            raise SchemaError(f"an entry of 'types' is not one of enum, object, alternate: {entry}")
        name = entry[kinds[0]]
        where = f"type '{name}'"
        check_name(name, r"[A-Z][A-Za-z0-9]*", where)
        if name in self.types:
            raise SchemaError(f"{where} is there twice")
        required = {"enum": "values", "object": "members", "alternate": "choices"}[kinds[0]]
        check_keys(entry, where, {kinds[0], "description", required},
                   {"tag", "variants"} if kinds[0] == "object" else set())
        self.types[name] = Type(kinds[0], name, text(entry["description"], where))
        return self.types[name]

    def define(self, type_, entry):
        where = f"type '{type_.name}'"
        for value, description in entry.get("values", {}).items():
            check_name(value, r"[A-Za-z0-9_-]+", where)
            type_.values[value] = text(description, f"{where}, value '{value}'")
        type_.choices = [self.resolve(choice, where) for choice in entry.get("choices", [])]
        kinds = ["number" if c.json_type() == "int" else c.json_type() for c in type_.choices]
        check_unique(f"{where}: choice of JSON type", kinds)
        type_.members = self.members(entry.get("members", {}), where)

    def define_variants(self, type_, entry):
        if "tag" not in entry:
            return
        where = f"type '{type_.name}'"
        tags = [m for m in type_.members if m.name == entry["tag"]]
        if not tags or tags[0].optional or tags[0].type.kind != "enum":
            raise SchemaError(f"{where}: tag '{entry['tag']}' is no mandatory member of enum type")
        type_.tag = tags[0]
        variants = entry.get("variants", {})
        for case, variant in variants.items():
            if self.resolve(variant, where).kind != "object":
                raise SchemaError(f"{where}: variant '{case}' is no object type")
            if case not in type_.tag.type.values:
                raise SchemaError(f"{where}: variant '{case}' is no value of the tag")
            check_unique(f"{where}: with variant '{case}' the member",
                         [m.name for m in type_.members + self.types[variant].members])
        for case in type_.tag.type.values:
            type_.variants[case] = self.types.get(variants.get(case))

    def members(self, spec, where):
        members = [Member(name, member, where, self) for name, member in spec.items()]
        check_unique(f"{where}: member", [member.name for member in members])
        return members

    def implicit(self, name, members, where):
        """The object type of a command's arguments or an event's data."""
        if not members:
            return None
        if isinstance(members, str):
            type_ = self.resolve(members, where)
            if type_.kind != "object":
                raise SchemaError(f"{where}: '{members}' is no object type")
            return type_
        type_ = Type("object", name)
        type_.members = self.members(members, where)
        return type_

    def resolve(self, reference, where):
        if isinstance(reference, list) and len(reference) == 1:
            element = self.resolve(reference[0], where)
            name = f"[{element.name}]"
            if name not in self.types:
                self.types[name] = Type("array", name)
                self.types[name].element = element
            return self.types[name]
        if not isinstance(reference, str) or reference not in self.types:
            raise SchemaError(f"{where}: unknown type {json.dumps(reference)}")
        return self.types[reference]

    def use(self, type_):
        if type_ and type_ not in self.used:
            self.used.append(type_)
            for child in type_.children():
                self.use(child)


def c_identifier(name):
    return name.replace("-", "_")


def check_name(name, pattern, where):
    if not isinstance(name, str) or not re.fullmatch(pattern, name):
        raise SchemaError(f"{where}: the name {json.dumps(name)} does not match {pattern}")


def check_keys(spec, where, required, allowed):
    if not isinstance(spec, dict):
        raise SchemaError(f"{where} is no object: {json.dumps(spec)}")
    name = spec.get("name")
    where = f"{where} '{name}'" if name and name not in where else where
    for key in sorted(required - spec.keys()):
        raise SchemaError(f"{where} lacks '{key}'")
    for key in sorted(spec.keys() - required - allowed):
        raise SchemaError(f"{where} has an unknown member '{key}'")


def check_unique(what, names):
    for name in names:
        if names.count(name) > 1:
            raise SchemaError(f"{what} '{name}' is there twice")


def text(value, where):
    """Paragraphs, separated by newlines, out of a string or a list of lines."""
    if value is None:
        return ""
    lines = value if isinstance(value, list) else [value]
    if not all(isinstance(line, str) for line in lines) or not "".join(lines).strip():
        raise SchemaError(f"{where}: a description is missing or is no text")
    if not "".join(lines).isascii():
        raise SchemaError(f"{where}: a description is not ASCII")
    return "\n".join(" ".join(paragraph.split()) for paragraph in " ".join(
        line if line else "\n" for line in lines).split("\n"))


def check_arguments(type_, inside, where):
    """What the argument check in C handles: types that do not recurse, and variants without tags."""
    if type_ in inside:
        raise SchemaError(f"{where}: type '{type_.name}' contains itself")
    if type_:
        for variant in type_.variants.values():
            if variant and variant.tag:
                raise SchemaError(f"{where}: type '{variant.name}' is a variant and has variants")
        for child in type_.children():
            check_arguments(child, inside + [type_], where)


def check_example(command):
    where = f"example of command '{command.name}'"
    for line in command.example:
        for direction, message in line.items():
            if direction == "->" and message.get("execute") == command.name:
                check_value(command.arguments, message.get("arguments", {}), where)
            elif direction == "<-" and "return" in message:
                check_value(command.returns, message["return"], where)
            else:
                raise SchemaError(f"{where}: neither its request nor its return: {message}")


def check_value(type_, value, where):
    kinds = {str: ["string"], bool: ["boolean"], int: ["int", "number"], float: ["number"],
             type(None): ["null"], dict: ["object"], list: ["array"]}
    wanted = type_.json_type() if type_ else "object"
    if wanted not in kinds[type(value)] + ["value"]:
        raise SchemaError(f"{where}: {json.dumps(value)} is no {wanted}")
    if type_ and type_.kind == "enum" and value not in type_.values:
        raise SchemaError(f"{where}: '{value}' is no value of '{type_.name}'")
    if type_ and type_.name in INT_RANGES:
        low, high = INT_RANGES[type_.name]
        if not low <= value <= high:
            raise SchemaError(f"{where}: {value} is no {type_.name}")
    if wanted == "array":
        for element in value:
            check_value(type_.element, element, where)
    if wanted == "object":
        members = type_.members if type_ else []
        if type_ and type_.tag:
            variant = type_.variants.get(value.get(type_.tag.name))
            members = members + (variant.members if variant else [])
        for member in members:
            if member.name in value:
                check_value(member.type, value[member.name], f"{where}, '{member.name}'")
            elif not member.optional:
                raise SchemaError(f"{where}: '{member.name}' is missing")
        for name in value.keys() - {member.name for member in members}:
            raise SchemaError(f"{where}: '{name}' is unexpected")


def no_duplicates(pairs):
    check_unique("member", [name for name, _ in pairs])
    return dict(pairs)


def load(path):
    with open(path, encoding="utf-8") as file:
        return Schema(json.load(file, object_pairs_hook=no_duplicates))
