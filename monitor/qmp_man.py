# SPDX-License-Identifier: MIT
"""Writes the manual page of the QMP schema, in mdoc(7)."""

import itertools
import json
import re
import textwrap

from qmp_schema import SchemaError, text

WIDTH = 66  # of JSON in examples


def mdoc_escape(string):
    for plain, escaped in (("\\", "\\e"), ("^", "\\(ha"), ("~", "\\(ti")):
        string = string.replace(plain, escaped)
    return "\\&" + string if string[:1] in (".", "'") else string


def mdoc_argument(string):
    """One argument of a macro, taken literally."""
    string = mdoc_escape(string).replace('"', "\\(dq").replace("-", "\\-")
    if re.fullmatch(r"[A-Z][a-zA-Z0-9]{1,2}|[][().,:;?!|]", string):
        string = "\\&" + string  # neither the name of a macro nor a delimiter
    return f'"{string}"' if " " in string else string


def mdoc_text(paragraphs, where):
    """Running text: `code` becomes a literal, and each sentence starts a line."""
    lines = []
    for paragraph in paragraphs.split("\n"):
        lines += [".Pp"] if lines else []
        for sentence in re.split(r"(?<=[.?!]) +(?=[A-Z`])", paragraph.strip()):
            pieces = re.split(r"(\(?)`([^`]+)`([.,:;)]*)(?: |$)", sentence)
            for plain, opening, code, closing in zip(*[iter(pieces + [None] * 3)] * 4):
                if "`" in plain:
                    raise SchemaError(f"{where}: a stray ` in: {sentence}")
                for line in textwrap.wrap(plain, 74, break_on_hyphens=False):
                    lines.append(re.sub(r"-(?=\d)", r"\-", mdoc_escape(line)))
                if code:
                    words = ["Ql", opening, mdoc_argument(code)] + list(closing)
                    lines.append("." + " ".join(word for word in words if word))
    return lines


def mdoc_type(type_):
    return mdoc_argument(f"array of {type_.element.name}" if type_.element else type_.name)


def mdoc_list(items):
    """A tagged list out of pairs of a macro line and lines of text."""
    lines = [".Bl -tag -width Ds -compact"]
    for tag, body in items:
        lines += [f".It {tag}"] + body
    return lines + [".El"]


def mdoc_members(members, where):
    items = []
    for member in members:
        tag = f"Va {mdoc_argument(member.name)} : Vt {mdoc_type(member.type)}"
        for note in ["optional"] * member.optional + member.features:
            tag += f" , No {note}"
        items.append((tag, mdoc_text(member.description, f"{where}, member '{member.name}'")))
    return mdoc_list(items)


def mdoc_variants(type_):
    variants = [(case, variant) for case, variant in type_.variants.items() if variant]
    return mdoc_list((f"Va {mdoc_argument(type_.tag.name)} Ql {mdoc_argument(case)}",
                      ["In addition, the members of", f".Vt {variant.name} ."])
                     for case, variant in variants) if variants else []


def mdoc_example(example):
    lines = [".Pp", "Example:", ".Bd -literal -compact"]
    for message in example:
        for direction, value in message.items():
            for line in f"{direction} {layout(value, 3, 3)}".split("\n"):
                lines.append(mdoc_escape(line).replace("-", "\\-"))
    return lines + [".Ed"]


def layout(value, indent, column):
    """JSON that starts in `column` and goes on at `indent`, within WIDTH columns if possible."""
    flat = json.dumps(value)
    if column + len(flat) < WIDTH or not isinstance(value, (dict, list)) or not value:
        return flat
    lines = []
    for item in value.items() if isinstance(value, dict) else value:
        prefix = ""
        if isinstance(value, dict):
            prefix, item = f"{json.dumps(item[0])}: ", item[1]
        output = prefix + layout(item, indent + 2, indent + 2 + len(prefix))
        joined = f"{lines[-1]}, {output}" if lines else "\n"
        if "\n" not in joined and indent + 2 + len(joined) < WIDTH:
            lines[-1] = joined
        else:
            lines.append(output)
    pad = "\n" + " " * (indent + 2)
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return opening + pad + ("," + pad).join(lines) + closing


def mdoc_command(command):
    where = f"command '{command.name}'"
    lines = mdoc_text(command.description, where)
    if command.allow_oob:
        lines += mdoc_text("It may be sent with `exec-oob`.", where)
    if command.arguments:
        lines += [".Pp", "Arguments:"] + mdoc_members(command.arguments.members, where)
        lines += mdoc_variants(command.arguments)
    if command.returns:
        lines += [".Pp", "Returns", f".Vt {mdoc_type(command.returns)}"]
        if command.returns_description:
            lines[-1] += " :"
            lines += mdoc_text(command.returns_description, where)
        else:
            lines[-1] += " ."
    if command.errors:
        lines += [".Pp", "Errors:", ".Bl -dash -compact"]
        for error in command.errors:
            lines += [".It"] + mdoc_text(error, where)
        lines.append(".El")
    return lines + (mdoc_example(command.example) if command.example else [])


def mdoc_body(type_):
    where = f"type '{type_.name}'"
    lines = mdoc_text(type_.description, where)
    if type_.values:
        lines += mdoc_list((f"Ql {mdoc_argument(value)}", mdoc_text(description, where))
                           for value, description in type_.values.items())
    if type_.choices:
        lines += ["One of"] + [f".Vt {mdoc_type(choice)}" for choice in type_.choices]
    if type_.members:
        lines += mdoc_members(type_.members, where)
    return lines + mdoc_variants(type_)


def mdoc_commands(schema):
    lines = []
    for title, commands in schema.groups:
        lines += [f".Ss {title}", ".Bl -tag -width Ds"]
        for command in commands:
            lines += [f".It Ic {mdoc_argument(command.name)}"] + mdoc_command(command)
        lines.append(".El")
    return lines


def mdoc_events(schema):
    lines = [".Bl -tag -width Ds"]
    for event in schema.events:
        where = f"event '{event.name}'"
        lines += [f".It Dv {event.name}"] + mdoc_text(event.description, where)
        if event.rate_limit_ms:
            lines.append(f"At most one is sent in {event.rate_limit_ms} milliseconds.")
        if event.data:
            lines += [".Pp", "Data:"] + mdoc_members(event.data.members, where)
    return lines + [".El"]


def mdoc_types(schema):
    lines = [".Bl -tag -width Ds"]
    for type_ in sorted(schema.used, key=lambda t: t.name):
        if type_.kind in ("enum", "alternate") or type_.name in schema.types and type_.members:
            lines += [f".It Vt {mdoc_argument(type_.name)}"] + mdoc_body(type_)
    return lines + [".El"]


def man_page(schema, notice):
    generated = {"COMMANDS": mdoc_commands, "EVENTS": mdoc_events, "TYPES": mdoc_types}
    lines = ['.\\" SPDX-License-Identifier: MIT', f'.\\" {notice}',
             f".Dd {schema.manual['date']}", ".Dt VMOND-QMP 7", ".Os",
             ".Sh NAME", ".Nm vmond-qmp", ".Nd the monitor protocol of vmond"]
    sections = schema.manual["sections"]
    for title in generated.keys() - sections.keys():
        raise SchemaError(f"the manual lacks the section '{title}'")
    for title, items in sections.items():
        where = f"section '{title}' of the manual"
        lines.append(f".Sh {title}")
        for is_list, run in itertools.groupby(items, lambda item: isinstance(item, dict)):
            if is_list:
                terms = (term for item in run for term in item.items())
                lines += mdoc_list((f"Ql {mdoc_argument(term)}",
                                    mdoc_text(text(body, where), where)) for term, body in terms)
            else:
                lines += [".Pp"] if lines[-1] == ".El" else []
                lines += mdoc_text(text(list(run), where), where)
        if title in generated:
            lines += generated[title](schema)
    return "\n".join(lines + [".Sh SEE ALSO", ".Xr vmond 8", ""])
