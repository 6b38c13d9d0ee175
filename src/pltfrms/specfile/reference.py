"""All that may stand in a kind of spec file, as a page for people: made from what reads it."""

from collections.abc import Iterator, Mapping
from typing import Any

from pltfrms.specfile.load import Kind, json_schema

_TYPES = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
}
_NAMED = "NAME"
_SUCH = "such as"
_Schema = Mapping[str, Any]


def reference(kind: Kind) -> str:
    """Return every key of a kind of file in Markdown, a table for each mapping."""
    schema = json_schema(kind)
    lines = [
        f"# All of `{kind}.yaml`",
        "",
        f"{_sentence(schema)} This page is made from what reads the file: it is what",
        f"`pltfrms schema {kind} --markdown` prints. Without --markdown: JSON Schema.",
    ]
    for path, mapping in _mappings(schema, schema, "", set()):
        lines += ["", f"## `{path}`" if path else "## At the top", ""]
        if path:
            lines += [_sentence(mapping), ""]
        lines += [
            "| key | is | default | meaning |",
            "|---|---|---|---|",
            *_rows(schema, mapping),
        ]
    return "\n".join(lines) + "\n"


def _mappings(
    root: _Schema, mapping: _Schema, path: str, seen: set[str]
) -> Iterator[tuple[str, _Schema]]:
    """Yield every mapping with its path, each kind of it where it is met first."""
    yield path, mapping
    for key, value in mapping.get("properties", {}).items():
        for step, name in _below(value):
            if name not in seen:
                seen.add(name)
                here = f"{path}.{key}{step}" if path else f"{key}{step}"
                yield from _mappings(root, root["$defs"][name], here, seen)


def _below(value: _Schema, step: str = "") -> Iterator[tuple[str, str]]:
    """Yield the mappings that a value may hold: path to them, and their name in `$defs`."""
    if "$ref" in value:
        yield step, value["$ref"].rsplit("/", 1)[-1]
    for choice in value.get("anyOf", ()):
        yield from _below(choice, step)
    if isinstance(value.get("items"), dict):
        yield from _below(value["items"], f"{step}[]")
    if isinstance(value.get("additionalProperties"), dict):
        yield from _below(value["additionalProperties"], f"{step}.{_NAMED}")


def _rows(root: _Schema, mapping: _Schema) -> Iterator[str]:
    needed = mapping.get("required", ())
    for key, value in mapping.get("properties", {}).items():
        default = "needed" if key in needed else _default(value)
        cells = (f"`{key}`", _type(root, value), default, _sentence(value))
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
    others = mapping.get("additionalProperties")
    if isinstance(others, dict):
        yield f"| {_NAMED} | {_type(root, others)} |  | {_sentence(others)} |"


def _sentence(value: _Schema) -> str:
    return " ".join(value.get("description", "").split())


def _default(value: _Schema) -> str:
    said = value.get("default")
    if said is None or said == "":
        return ""
    return f"`{str(said).lower() if isinstance(said, bool) else said}`"


def _type(root: _Schema, value: _Schema) -> str:
    """Return what a value is, in a few words."""
    if "anyOf" in value:
        words = [_type(root, each) for each in value["anyOf"] if each.get("type") != "null"]
        return " or ".join(dict.fromkeys(words))
    if "enum" in value or "const" in value:
        return ", ".join(f"`{word}`" for word in value.get("enum", [value.get("const")]))
    if value.get("type") == "array":
        inner = _type(root, value.get("items", {}))
        return f"list, {inner}" if inner.startswith(_SUCH) else f"list of {inner}"
    if isinstance(value.get("additionalProperties"), dict):
        return f"{_NAMED}: {_type(root, value['additionalProperties'])}"
    return _plain(value)


def _plain(value: _Schema) -> str:
    if "$ref" in value or value.get("type") == "object":
        return "mapping"
    if value.get("examples"):
        return f"{_SUCH} `{value['examples'][0]}`"
    return _TYPES.get(value.get("type", ""), "value")
