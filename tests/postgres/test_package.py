"""What runs on nodes beside a database needs nothing but Python, and nothing of ours."""

import ast
import subprocess
import sys
from pathlib import Path

import pltfrms_postgres
from pltfrms.specfile import load_service

PLACE = Path(pltfrms_postgres.__file__).parent
WRITTEN = Path("tests/specfile/golden/shop-db.yaml")
PROGRAM = Path("packaging/postgres/program")


def test_it_imports_pythons_own_library_and_itself() -> None:
    known = {*sys.stdlib_module_names, "pltfrms_postgres"}
    files = list(PLACE.rglob("*.py"))
    assert len(files) > 1
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert {name.partition(".")[0] for name in names} <= known, file


def test_every_program_of_a_database_is_in_the_package(tmp_path: Path) -> None:
    """One script is all of them: by its name it runs the module that is called so."""
    spec = load_service(WRITTEN)
    assert spec.run.process
    commands = [tuple(spec.run.process), *(each.command for each in spec.hooks)]
    assert len(commands) > 1
    made = Path("scripts/make-postgres").read_text()
    text = PROGRAM.read_text().replace("/usr/bin/python3", "echo")
    for (command,) in commands:
        path = Path(command)
        assert path.parent == Path("/usr/lib/pltfrms-postgres/bin")
        assert path.name in made
        program = tmp_path / path.name
        program.write_text(text)
        program.chmod(0o755)
        said = subprocess.run([program], check=True, capture_output=True, text=True).stdout
        module = said.split()[-1]
        assert (PLACE.parent / f"{module.replace('.', '/')}.py").exists(), said
