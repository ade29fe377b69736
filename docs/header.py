"""Doxygen's input filter: prints a public header with its plain comments turned into what Doxygen reads.

`header.py FILE`. The headers themselves stay plain: the comment at the top describes the file, `// -------- TITLE`
starts a section (docs/api_pages.py makes headings of them), other comments describe the declaration below them, and one
behind a declaration describes that. Assumes comments by `//`, none of which is left between two declarations.
"""

import pathlib
import re
import sys

SECTION = re.compile(r"^// -{8,} (.+)$")
COMMENT = re.compile(r"^(\s*)//(?!/)(.*)$")
# A declaration, or the last line of one, with a comment behind it; not a directive or the end of a namespace.
BEHIND = re.compile(r"^(\s*)([^\s/#}].*?|\}.*;)\s+// (?:NOLINT: )?(.*)$")
SUBJECT = re.compile(r" (\w+): ")
HOLDER = re.compile(r"^TORCH_MODULE\((\w+)\);$")


def escape(text):
    # Within a word Doxygen takes @ as it is, and its escape too.
    return re.sub(r"([\\#<>&]|(?<!\w)@)", r"\\\1", text)


def described(lines):
    """The lines of one comment without their slashes: prose escaped, what is indented by three blanks as code."""
    in_code, previous = False, ""
    for text in lines:
        is_code = text.startswith("   ") if in_code else bool(re.match(r" {3}\S", text))
        if is_code != in_code:
            in_code = is_code
            yield " @code{.cpp}" if in_code else " @endcode"
        if re.match(r" {2}(1\.|-) ", text) and not previous.startswith("  "):
            yield ""  # a list starts a paragraph
        yield text if in_code else escape(text)
        previous = text
    if in_code:
        yield " @endcode"


def subject_of(comment):
    """`dtype` of "dtype: of elements.", the name that a page gives to an enum that has none."""
    match = SUBJECT.match(comment[0]) if comment else None
    return match[1] if match else ""


def convert_line(line):
    holder = HOLDER.match(line)
    if holder:
        name = holder[1]
        return [
            f"/// Holds a shared {name}Impl: constructed from the same arguments, called like a function.",
            f"class {name} : public torch::nn::ModuleHolder<{name}Impl> {{}};",
        ]
    behind = BEHIND.match(line)
    if not behind:
        return [line]
    indent, declaration, text = behind.groups()
    # Doxygen takes a comment behind an enum for its last value's.
    if declaration.startswith("enum "):
        return [f"{indent}/// {escape(text)}", indent + declaration]
    return [f"{indent}{declaration}  ///< {escape(text)}"]


def convert(path):
    """The header's lines as Doxygen reads them."""
    comment, is_first = [], True
    for line in path.read_text().splitlines():
        match = COMMENT.match(line)
        if match and not SECTION.match(line):
            comment.append(match[2])
            continue
        if line.startswith("enum {"):
            line = f"enum {subject_of(comment)} {{" + line.removeprefix("enum {")
        if comment:
            yield from ["/// @file"] if is_first else []
            yield from (f"///{text}" for text in described(comment))
            comment, is_first = [], False
        yield from convert_line(line if line.startswith("#") else line.replace("DROPKIT_API ", ""))


if __name__ == "__main__":
    sys.stdout.write("\n".join(convert(pathlib.Path(sys.argv[1]))) + "\n")
