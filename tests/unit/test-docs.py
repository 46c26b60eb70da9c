#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The manual pages, against what they describe; both ways, so that nothing is missing and nothing made up."""

import collections
import pathlib
import re
import sys
import xml.etree.ElementTree as ElementTree

ROOT = pathlib.Path(sys.argv[1])
CONF_PAGE = (ROOT / "docs/daxbroker.conf.5.scd").read_text(encoding="utf-8")
BUS_PAGE = (ROOT / "docs/org.daxbroker1.5.scd").read_text(encoding="utf-8")
# The sections of ARCHITECTURE.md that list files, and whose these are.
TABLES = {"The broker, file by file": "broker", "The witness": "witness", "The library": "client-lib",
          "The command": "ctl"}


def read(path):
    return (ROOT / path).read_text(encoding="utf-8")


def sections(page, heading):
    """The text below each heading of a page, by heading."""
    parts = re.split(heading, page, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2]))


def page_keys():
    """(section, key): default, as daxbroker.conf(5) has them."""
    keys = {}
    for section, text in sections(CONF_PAGE, r"^# \[(\w+).*\]$").items():
        for key, description in sections(re.split(r"^# ", text, flags=re.MULTILINE)[0], r"^\*(\w+)=\*").items():
            default = re.search(r"^\tDefault: (?:_(.+)_|none)\.$", description, re.MULTILINE)
            keys[section, key] = default and (default[1] or "")
    return keys


def code_keys():
    """(section, key), as config.c knows them."""
    functions = sections(read("broker/config.c"), r"^static const char \*apply_(broker|quota|region)\(")
    return {(name.capitalize(), key) for name, text in functions.items()
            for key in re.findall(r'strcmp\(key, "(\w+)"\)', text.split("\n}\n")[0])}


def shipped_keys():
    """(section, key): default, as the commented lines of the shipped file have them."""
    return {(section, key): value
            for section, text in sections(read("policy/daxbroker.conf"), r"^\[(\w+).*\]$").items()
            for key, value in re.findall(r"^#(\w+)=(.*)$", text, re.MULTILINE)}


def interfaces():
    for name in ("Manager", "Region", "Allocation", "Grant"):
        yield name, ElementTree.fromstring(read(f"protocol/org.daxbroker1.{name}.xml")).find("interface")


def code_methods():
    def arguments(method, direction):
        return ", ".join(f"{a.get('type')} {a.get('name')}" for a in method.iter("arg")
                         if a.get("direction") == direction)

    return {f"{m.get('name')}({arguments(m, 'in')}) -> ({arguments(m, 'out')})" for _, i in interfaces()
            for m in i.iter("method")}


def page_methods():
    return {name + rest for name, rest in re.findall(r"^\*(\w+)\*(\(.*\) -> \(.*\))$", BUS_PAGE, re.MULTILINE)}


def code_properties():
    return {(name, p.get("name"), p.get("type")) for name, i in interfaces() for p in i.iter("property")}


def page_properties():
    headings = {"PROPERTIES OF THE MANAGER": "Manager", "REGION": "Region", "ALLOCATION": "Allocation",
                "GRANT": "Grant"}
    return {(headings[heading], *found) for heading, text in sections(BUS_PAGE, r"^# (.+)$").items()
            if heading in headings
            for line in re.findall(r"^\*.*\)$", text, re.MULTILINE) if "->" not in line
            for found in re.findall(r"\*(\w+)\* \(([a-z()]+)\)(?:,|$)", line)}


def code_options():
    return set(re.findall(r"\{ \"([a-z-]+)\", '(.)',", read("broker/options-bus.c")))


def xml_options():
    text = read("protocol/org.daxbroker1.Manager.xml") + read("protocol/org.daxbroker1.Allocation.xml")
    return set(re.findall(r"^ {8}([a-z-]+) \((.)\): ", text, re.MULTILINE)) | \
        set(re.findall(r"@options: ([a-z-]+) \((.)\): ", text))


def page_options():
    text = sections(BUS_PAGE, r"^# (.+)$")["OPTIONS"]
    return set(re.findall(r"^\*([a-z-]+)\* \((.)\)$", text, re.MULTILINE))


def code_errors():
    text = re.sub(r"\\\n", "\n", read("protocol/error-table.h"))
    return set(re.findall(r'X\((\w+), (E\w+), "(.*?)"\)', text))


def page_errors():
    text = sections(BUS_PAGE, r"^# (.+)$")["ERRORS"]
    return {(name, number, " ".join(meaning.split()))
            for name, number, meaning in re.findall(r"^\*(\w+)\* \((E\w+)\)\n((?:\t.*\n)+)", text, re.MULTILINE)}


def code_files():
    """folder/file of each source, and of each header that has none."""
    files = {path.relative_to(ROOT).as_posix() for folder in TABLES.values() for path in (ROOT / folder).glob("*.[ch]")}
    return sorted(path for path in files if path.endswith(".c") or path[:-1] + "c" not in files)


def page_files():
    """Those in the first columns of ARCHITECTURE.md's tables of files: as often as they are there."""
    found = []
    for heading, text in sections(read("docs/ARCHITECTURE.md"), r"^## (.+)$").items():
        rows = re.findall(r"^\| (`.*?) \|", text, re.MULTILINE) if heading in TABLES else []
        found += [f"{TABLES[heading]}/{name}" for row in rows for name in re.findall(r"`([a-z-]+\.[ch])`", row)]
    return sorted(found)


CHECKS = [
    ("each key of the configuration is in daxbroker.conf(5)", code_keys, lambda: set(page_keys())),
    ("its defaults are those of the shipped file", shipped_keys, page_keys),
    ("each method is in org.daxbroker1(5)", code_methods, page_methods),
    ("each property is there", code_properties, page_properties),
    ("each option is there", code_options, page_options),
    ("each option is in the interface's documentation", code_options, xml_options),
    ("each error is there", code_errors, page_errors),
    ("each file has its place in a table of ARCHITECTURE.md, and one", code_files, page_files),
]

print(f"1..{len(CHECKS)}")
failed = 0
for number, (what, expected, found) in enumerate(CHECKS, 1):
    a, b = expected(), found()
    good = bool(a) and a == b
    failed += not good
    print(f"{'ok' if good else 'not ok'} {number} {what}")
    if not good:
        a, b = (collections.Counter(x.items() if isinstance(x, dict) else x) for x in (a, b))
        print(f"# only in the one: {sorted(map(str, a - b))}\n# only in the other: {sorted(map(str, b - a))}")
sys.exit(failed > 0)
