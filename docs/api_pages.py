"""Makes the API pages: a header's declarations in the order of the file, under its sections, as Breathe's directives.

Reads the XML that Doxygen made of the header as docs/header.py prints it, and the section lines from the same text.
What a declaration looks like is Breathe's business.
"""

import pathlib
import xml.etree.ElementTree as ElementTree

import header

DIRECTIVES = {
    "class": "doxygenclass",
    "struct": "doxygenstruct",
    "union": "doxygenunion",
    "function": "doxygenfunction",
    "enum": "doxygenenum",
    "typedef": "doxygentypedef",
    "variable": "doxygenvariable",
    "define": "doxygendefine",
}
CLASSES = ("class", "struct", "union")


def is_described(node):
    return any("".join(node.find(part).itertext()).strip() for part in ("briefdescription", "detaileddescription"))


def declarations(xml, name):
    """(line, kind, qualified name) of what the header `name` declares outside classes."""
    for file in xml.glob("*.xml"):
        for compound in ElementTree.parse(file).getroot().iter("compounddef"):
            if compound.get("kind") in CLASSES:
                nodes = [(compound, compound.findtext("compoundname"))]
            elif compound.get("kind") in ("namespace", "file"):
                scope = compound.findtext("compoundname") + "::" if compound.get("kind") == "namespace" else ""
                nodes = [(node, scope + node.findtext("name")) for node in compound.iter("memberdef")]
            else:
                continue
            for node, qualified in nodes:
                location = node.find("location")
                # A macro without a comment is an include guard or an attribute.
                if pathlib.Path(location.get("file")).name == name and (
                    node.get("kind") != "define" or is_described(node)
                ):
                    yield int(location.get("line")), node.get("kind"), qualified


def top_level(xml, name):
    found = sorted(set(declarations(xml, name)))
    classes = {qualified for _, kind, qualified in found if kind in CLASSES}
    # In C, a struct and its typedef have one name.
    return [
        (line, kind, qualified)
        for line, kind, qualified in found
        if qualified.rpartition("::")[0] not in classes and (kind in CLASSES or qualified not in classes)
    ]


def markdown(xml, path):
    """The page's text on the header at `path`."""
    entries = [
        (line, f"```{{{DIRECTIVES[kind]}}} {qualified}\n```\n") for line, kind, qualified in top_level(xml, path.name)
    ]
    titles = [
        (number, f"## {match[1]}\n")
        for number, match in enumerate(map(header.SECTION.match, header.convert(path)), 1)
        if match
    ]
    opening = f"```{{doxygenfile}} {path.name}\n:sections: briefdescription detaileddescription\n```\n"
    return "\n".join([opening, *(text for _, text in sorted(entries + titles))])
