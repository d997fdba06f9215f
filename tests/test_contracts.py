"""What the code has promised about itself: who imports whom, and what no module ever does."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import call_command

ROOT = Path(__file__).parent.parent
PROGRAMS = Path(sys.executable).parent
RUNNER = ROOT / "admin_management" / "runner"

SHELLS = {"sh", "bash", "dash", "zsh", "/bin/sh", "/bin/bash"}
THROUGH_A_SHELL = {"system", "popen", "getoutput", "getstatusoutput", "create_subprocess_shell"}

HARMLESS = {
    *("collections.abc", "dataclasses", "datetime", "enum", "json", "re", "typing"),
    "urllib.parse",
}
PURE = {
    "admin_management/audit.py": set(),
    "admin_management/steps.py": {
        "admin_management.conf",
        "admin_management.runner.git",
        "admin_management.runner.plan",
    },
    "webhooks/github.py": {
        "cryptography.hazmat.primitives.constant_time",
        "cryptography.hazmat.primitives.hashes",
        "cryptography.hazmat.primitives.hmac",
        "webhooks.exceptions",
    },
    "webhooks/addresses.py": {"functools", "ipaddress"},
    "webhooks/exceptions.py": {"admin_management.exceptions"},
    "admin_management/exceptions.py": {"django.core.exceptions"},
}
"""Modules without input and output, and what they may import beside HARMLESS."""

NOT_PURE = {"open", "print", "input", "exec", "eval", "compile", "__import__"}


def python_files(*places: str) -> Iterator[Path]:
    """The files of the project below these places, committed or not yet."""
    listing = subprocess.run(
        ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *places),
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in listing.stdout.split("\0"):
        if name.endswith(".py") and (ROOT / name).exists():
            yield ROOT / name


def nodes(path: Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(path.read_text(encoding="utf-8"), filename=str(path)))


def imported_by(path: Path) -> set[str]:
    """The full names of the modules that a file imports, wherever in it."""
    package = path.relative_to(ROOT).parent.parts
    found: set[str] = set()
    for node in nodes(path):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else ()
            whole = ".".join((*start, *filter(None, [node.module])))
            found |= {whole} if node.module else {f"{whole}.{each.name}" for each in node.names}
    return found


def names_used_by(path: Path) -> set[str]:
    return {node.id for node in nodes(path) if isinstance(node, ast.Name)}


def shells_started_by(path: Path, *, argv_too: bool) -> Iterator[str]:
    """Where a file hands a command to a shell. ``argv_too``: also where an argv begins with one."""
    for node in nodes(path):
        match node:
            case ast.keyword(arg="shell", value=ast.Constant(value=False)):
                continue
            case ast.keyword(arg="shell"):
                what = "shell="
            case ast.Attribute(attr=name) | ast.alias(name=name) if name in THROUGH_A_SHELL:
                what = name
            case ast.List(elts=[ast.Constant(value=word), *_]) if argv_too and word in SHELLS:
                what = str(word)
            case ast.Tuple(elts=[ast.Constant(value=word), *_]) if argv_too and word in SHELLS:
                what = str(word)
            case _:
                continue
        yield f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', '')} {what}"


def test_modules_import_only_what_is_below_them() -> None:
    """The contracts are in pyproject.toml."""
    passes("lint-imports", "--no-cache", "--no-logo")


def test_the_runner_imports_the_standard_library_and_itself_only() -> None:
    for path in RUNNER.rglob("*.py"):
        for name in imported_by(path):
            top = name.partition(".")[0]
            is_own = f"{name}.".startswith("admin_management.runner.")
            assert is_own or top in sys.stdlib_module_names, f"{path.name} imports {name}"
            assert top not in ("importlib", "runpy", "pkgutil"), f"{path.name} imports {name}"
        assert "__import__" not in names_used_by(path), path.name


@pytest.mark.parametrize(
    "modules",
    [[f"admin_management.runner.{path.stem}" for path in RUNNER.glob("[!_]*.py")], ["dev"]],
    ids=["runner", "dev.py"],
)
def test_they_can_be_imported_where_nothing_is_installed(modules: list[str]) -> None:
    text = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import {', '.join(modules)}"
    subprocess.run((sys.executable, "-I", "-S", "-c", text), check=True)


@pytest.mark.parametrize("name", PURE)
def test_pure_modules_do_no_input_and_output(name: str) -> None:
    assert imported_by(ROOT / name) <= HARMLESS | PURE[name]
    assert not names_used_by(ROOT / name) & NOT_PURE


def test_nothing_is_executed_by_a_shell() -> None:
    packages = set(python_files("admin_management", "webhooks"))
    found = [
        place
        for path in python_files(".")
        for place in shells_started_by(path, argv_too=path in packages)
    ]
    assert found == []


ANOTHER_WAY = {"call", "check_call", "check_output", "execv", "execve", "spawnv", "posix_spawn"}

THEIR_OWN_UMASK = {
    # what starts the site's own code, or what does so in turn
    "admin_management/launcher.py",
    "admin_management/serve/__main__.py",
    "admin_management/serve/generation.py",
}


def test_whatever_is_started_has_an_umask_and_no_input() -> None:
    for path in python_files("admin_management", "webhooks"):
        for node in nodes(path):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id="subprocess"), attr="run" | "Popen")
                ):
                    given = {keyword.arg for keyword in node.keywords}
                    name = str(path.relative_to(ROOT))
                    assert "stdin" in given, name
                    assert "umask" in given or name in THEIR_OWN_UMASK, name
                case ast.Attribute(attr=word) | ast.alias(name=word):
                    assert word not in ANOTHER_WAY, path.name
                case ast.ImportFrom(module="subprocess"):
                    raise AssertionError(path.name)


@pytest.mark.django_db
def test_every_change_of_a_model_has_its_migration() -> None:
    # Exits with 1, which fails the test, if one is missing.
    call_command("makemigrations", "--check", "--dry-run")


def test_ruff_finds_nothing() -> None:
    passes("ruff", "check", "--no-cache", ".")


def test_all_code_is_formatted() -> None:
    passes("ruff", "format", "--check", "--no-cache", ".")


def test_all_types_are_right() -> None:
    passes("mypy")


def test_shellcheck_finds_nothing() -> None:
    passes("shellcheck", "restart_server.sh")


def passes(program: str, *arguments: str) -> None:
    """Run a checker of this environment on the whole project."""
    done = subprocess.run(
        (PROGRAMS / program, *arguments),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
