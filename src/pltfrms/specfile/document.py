"""YAML text -> plain values, and the line on which each of them stands."""

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, ReusedAnchorWarning, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError
from ruamel.yaml.scanner import Scanner, ScannerError

from pltfrms.errors import Problem
from pltfrms.specfile.findings import Finding, Where

_TAG = "tag:yaml.org,2002:"
_HALF = re.compile("[\ud800-\udfff]")
"""What can be said with escapes, and is no text that could be written anywhere."""
_INTEGER = re.compile(r"[-+]?[0-9]{1,30}\Z")
_MAX_DEPTH = 20
"""Deeper than any spec; keeps hostile files from exhausting the stack."""
MOST_CHARACTERS = 1_000_000
"""Of a spec file. Twice as much as the largest service, and about what the store takes."""


@dataclass(frozen=True, slots=True)
class Document:
    """The values of one file and where they stand."""

    file: str
    data: Any
    """Mappings, lists, texts, numbers, booleans, None; keys are always text."""
    lines: Mapping[Where, int] = field(default_factory=dict)
    """1-based. Texts in a list are found by their text too: (`edges`, `fra-e1`)."""
    text_lines: Mapping[Where, int] = field(default_factory=dict)
    """Line of the first row of each text written as a block (`|`)."""
    problems: tuple[Problem, ...] = ()
    """Why not everything could be read."""

    def line(self, where: Where) -> int:
        """Return the line of the value, or of the nearest thing around it."""
        for end in range(len(where), -1, -1):
            if where[:end] in self.lines:
                return self.lines[where[:end]]
        return 1

    def problem(self, finding: Finding) -> Problem:
        """Return the finding with file and line."""
        if finding.source is not None:
            return finding.problem(*finding.source)
        line = self.line(finding.where)
        if finding.row is not None and finding.where in self.text_lines:
            line = self.text_lines[finding.where] + finding.row
        return finding.problem(self.file, line)


def read(path: Path) -> Document:
    """Read a YAML file; what cannot be read is in the document's problems."""
    try:
        text = read_bounded(path, MOST_CHARACTERS)
    except UnicodeDecodeError:
        problem = Problem(str(path), 0, "", "is not text in UTF-8", "is it the right file?")
        return Document(str(path), None, problems=(problem,))
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
        problem = Problem(str(path), 0, "", what, "is the path right?")
        return Document(str(path), None, problems=(problem,))
    if text is None:
        what = f"has more than {MOST_CHARACTERS} characters, the most that a spec may have"
        problem = Problem(str(path), 0, "", what, "is it the right file?")
        return Document(str(path), None, problems=(problem,))
    return parse(text, str(path))


def read_bounded(path: Path, most: int) -> str | None:
    """Return the text of a file; None if it has more than `most` characters.

    OSError or UnicodeDecodeError if it cannot be read.
    """
    with path.open(encoding="utf-8") as file:
        text = file.read(most + 1)
    return text if len(text) <= most else None


def parse(text: str, file: str) -> Document:
    """Read YAML text; `file` is only for messages."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ReusedAnchorWarning)  # legal: the last one counts
            yaml = YAML(typ="safe", pure=True)
            yaml.Scanner = _ShallowScanner
            root = yaml.compose(text)
    except (YAMLError, RecursionError, ValueError) as error:
        problem = Problem(file, _error_line(text, error), "", _error_words(error))
        return Document(file, None, problems=(problem,))
    if root is None:
        empty = Problem(file, 1, "", "the file is empty", "start with platform: or service:")
        return Document(file, None, problems=(empty,))
    walk = _Walk(file)
    walk.lines[()] = root.start_mark.line + 1
    data = walk.value(root, ())
    return Document(file, data, walk.lines, walk.text_lines, tuple(walk.problems))


class _ShallowScanner(Scanner):
    """Stops where a document is deeper than any spec; else it takes time for every level."""

    def fetch_flow_collection_start(self, TokenClass: Any, to_push: str) -> None:  # noqa: N803 (ruamel's name)
        super().fetch_flow_collection_start(TokenClass, to_push)
        self._refuse_depth()

    def add_indent(self, column: int) -> bool:
        added = super().add_indent(column)
        self._refuse_depth()
        return bool(added)

    def _refuse_depth(self) -> None:
        if len(self.flow_context) + len(self.indents) > _MAX_DEPTH + 2:
            what = f"nested too deeply, more than {_MAX_DEPTH} levels"
            raise ScannerError(None, None, what, self.reader.get_mark())


def _error_line(text: str, error: Exception) -> int:
    count = max(1, len(text.splitlines()))
    if isinstance(error, ReaderError):
        return min(count, text.count("\n", 0, error.position) + 1)
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    return min(count, mark.line + 1) if mark is not None else 1


def _error_words(error: Exception) -> str:
    if isinstance(error, MarkedYAMLError):
        words = " ".join(word for word in (error.context, error.problem) if word)
        return f"not YAML: {' '.join(words.split())}"
    if isinstance(error, ReaderError):
        return f"not YAML: a character that is not allowed ({error.character!a})"
    return f"not YAML: {error}"


class _Walk:
    """Turns nodes into values and notes lines and problems on the way."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.lines: dict[Where, int] = {}
        self.text_lines: dict[Where, int] = {}
        self.problems: list[Problem] = []

    def value(self, node: Node, where: Where) -> Any:
        if node.anchor is not None:
            # Without them no text can refer to itself or grow without bound.
            self._refuse(node, where, "anchors (&) and aliases (*) are not supported")
            return None
        if len(where) > _MAX_DEPTH:
            self._refuse(node, where, "nested too deeply")
            return None
        if isinstance(node, MappingNode):
            return self._mapping(node, where)
        if isinstance(node, SequenceNode):
            return [self._item(item, where, index) for index, item in enumerate(node.value)]
        if isinstance(node, ScalarNode):
            return self._scalar(node, where)
        self._refuse(node, where, "not a value")
        return None

    def _mapping(self, node: MappingNode, where: Where) -> dict[str, Any]:
        found: dict[str, Any] = {}
        key_lines: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                self._refuse(key, where, "a key must be text")
                continue
            line = key.start_mark.line + 1
            here = (*where, key.value)
            if _HALF.search(key.value):
                self._refuse(key, where, "a key has halves of characters (\\ud800 to \\udfff)")
                continue
            if key.value in found:
                what = f"said twice, first in line {key_lines[key.value]}"
                finding = Finding(here, what, "keep one of them")
                self.problems.append(finding.problem(self.file, line))
                continue
            key_lines[key.value] = line
            plain = isinstance(value, ScalarNode)
            self.lines[here] = value.start_mark.line + 1 if plain and value.value else line
            found[key.value] = self.value(value, here)
        return found

    def _item(self, node: Node, where: Where, index: int) -> Any:
        line = node.start_mark.line + 1
        self.lines[*where, index] = line
        if isinstance(node, ScalarNode):
            self.lines.setdefault((*where, node.value), line)
        return self.value(node, (*where, index))

    def _scalar(self, node: ScalarNode, where: Where) -> Any:
        text: str = node.value
        kind = str(node.tag).removeprefix(_TAG)
        if node.style == "|":  # the text starts below the bar
            self.text_lines[where] = node.start_mark.line + 2
        if _HALF.search(text):
            self._refuse(node, where, "it has halves of characters (\\ud800 to \\udfff)")
            return None
        if kind in {"str", "timestamp", "value", "merge"}:
            return text
        if kind == "null":
            return None
        if kind == "bool":
            return text.lower() == "true"
        if kind in {"int", "float"}:
            return _number(text)
        self._refuse(node, where, f"the tag {str(node.tag)!a} is not supported")
        return None

    def _refuse(self, node: Node, where: Where, what: str) -> None:
        line = node.start_mark.line + 1
        finding = Finding(where, what, "write the plain value")
        self.problems.append(finding.problem(self.file, line))


def _number(text: str) -> int | float | str:
    """Return the decimal number, or the text itself if it is written in another way."""
    if _INTEGER.match(text):
        return int(text)
    try:
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    except ValueError:
        return text
