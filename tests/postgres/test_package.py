"""What runs on nodes beside a database needs nothing but Python, and nothing of ours."""

import ast
import sys
from pathlib import Path

import pltfrms_postgres

PLACE = Path(pltfrms_postgres.__file__).parent


def test_it_imports_pythons_own_library_and_itself() -> None:
    known = {*sys.stdlib_module_names, "pltfrms_postgres"}
    files = list(PLACE.rglob("*.py"))
    assert len(files) > 1
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert {name.partition(".")[0] for name in names} <= known, file
