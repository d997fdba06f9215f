"""What the code has promised about itself: who imports whom, and what no module ever does."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath

import pytest
from django.core.management import call_command

ROOT = Path(__file__).parent.parent
PROGRAMS = Path(sys.executable).parent
RUNNER = ROOT / "admin_management" / "runner"

SHELLS = {
    *("sh", "bash", "rbash", "dash", "ash", "ksh", "mksh", "zsh", "fish", "csh", "tcsh"),
    # What runs whatever it is given.
    *("env", "busybox"),
}

OF_SUBPROCESS = {
    *("run", "Popen", "DEVNULL", "PIPE", "STDOUT", "CompletedProcess"),
    *("CalledProcessError", "SubprocessError", "TimeoutExpired"),
}
ANOTHER_WAY = re.compile(
    r"exec[lv]p?e?|spawn[lv]?p?e?|posix_spawnp?|fork|forkpty|fork_exec|system|popen[234]?"
    r"|create_subprocess_\w+|subprocess_(exec|shell)|ProcessPoolExecutor|startfile"
    r"|getoutput|getstatusoutput|check_call|check_output"
)
THAT_START_PROGRAMS = {"pty", "posix", "multiprocessing", "_posixsubprocess"}
"""Modules that nothing is imported from."""

OTHER_WAYS_IN_USE = {
    # A runner has no parent that PM2 could find.
    "admin_management/runner/__main__.py": {"fork"},
    # It becomes the program of the environment that it has made.
    "dev.py": {"execve"},
}

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
        "functools",
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


def shells_started_by(tree: Iterable[ast.AST], *, argv_too: bool) -> Iterator[str]:
    """What hands a command to a shell. ``argv_too``: also what names one as a program to start."""
    for node in tree:
        match node:
            case ast.keyword(arg="shell", value=ast.Constant(value=False)):
                pass
            case ast.keyword(arg="shell"):
                yield "shell="
            case (
                ast.List(elts=[ast.Constant(value=str(word)), *_])
                | ast.Tuple(elts=[ast.Constant(value=str(word)), *_])
                | ast.Call(args=[ast.Constant(value=str(word)), *_])
                | ast.keyword(arg="executable", value=ast.Constant(value=str(word)))
            ) if argv_too and PurePath(word).name in SHELLS:
                yield word
            case ast.Constant(value=str(word)) if argv_too and word.startswith("/"):
                if PurePath(word).name in SHELLS:
                    yield word


def other_ways_to_start_in(tree: Iterable[ast.AST]) -> Iterator[str]:
    """What starts a program, and is neither subprocess.run nor subprocess.Popen."""
    for node in tree:
        match node:
            case ast.Attribute(value=ast.Name(id="subprocess"), attr=name) if (
                name not in OF_SUBPROCESS
            ):
                yield f"subprocess.{name}"
            case ast.Attribute(attr=name) if ANOTHER_WAY.fullmatch(name):
                yield name
            case ast.ImportFrom(module=str(module), names=aliases):
                names = {alias.name for alias in aliases}
                known = OF_SUBPROCESS if module == "subprocess" else names
                yield from {name for name in names if ANOTHER_WAY.fullmatch(name)} | names - known
                if module.partition(".")[0] in THAT_START_PROGRAMS:
                    yield module
            case ast.Import(names=aliases):
                for alias in aliases:
                    is_renamed = alias.name == "subprocess" and alias.asname
                    if is_renamed or alias.name.partition(".")[0] in THAT_START_PROGRAMS:
                        yield alias.name


def left_to_the_parent(tree: Iterable[ast.AST]) -> Iterator[set[str]]:
    """For each program that is started what it has of whoever starts it."""
    for node in tree:
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="subprocess"), attr="run" | "Popen"),
                keywords=keywords,
            ):
                given = {each.arg for each in keywords if ast.unparse(each.value) != "None"}
                yield {"stdin", "umask", "env"} - given


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
        f"{path.relative_to(ROOT)}: {word}"
        for path in python_files(".")
        for word in shells_started_by(nodes(path), argv_too=path in packages)
    ]
    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        'os.execvp("/usr/bin/bash", ["/usr/bin/bash", "-c", text])',
        'subprocess.run(["/usr/bin/bash", "-c", text])',
        'subprocess.run(("env", "git", text))',
        'subprocess.run(("/usr/bin/env", "git", text))',
        'subprocess.run("dash", input=text)',
        'subprocess.run(("git", "-c", text), executable="zsh")',
        'SHELL = "/usr/local/bin/fish"',
        "subprocess.run(text, shell=True)",
        "subprocess.run(text, shell=is_simple)",
    ],
)
def test_a_shell_that_somebody_starts_is_found(text: str) -> None:
    assert [*shells_started_by(ast.walk(ast.parse(text)), argv_too=True)]


def test_programs_are_started_with_subprocess_and_in_no_other_way() -> None:
    found = {
        str(path.relative_to(ROOT)): set(names)
        for path in python_files(".")
        if (names := [*other_ways_to_start_in(nodes(path))])
    }
    assert found == OTHER_WAYS_IN_USE


@pytest.mark.parametrize(
    "text",
    [
        'os.execvp("/usr/bin/bash", ["/usr/bin/bash", "-c", text])',
        *("os.execl(git, git)", "os.execve(git, argv, {})", "from os import execv"),
        *("os.spawnlp(os.P_WAIT, git, git)", "os.spawnve(os.P_WAIT, git, argv, {})"),
        *("os.posix_spawn(git, argv, {})", "os.posix_spawnp(git, argv, {})", "os.forkpty()"),
        *("os.system(text)", "os.popen(text)", "from os import popen as asked"),
        *("pty.spawn(argv)", "import pty", "from pty import spawn", "import posix as os"),
        *("asyncio.create_subprocess_exec(git)", "asyncio.create_subprocess_shell(text)"),
        *("from asyncio.subprocess import create_subprocess_exec", "loop.subprocess_exec(git)"),
        *("from multiprocessing.context import Process", "futures.ProcessPoolExecutor()"),
        *("subprocess.call(argv)", "subprocess.check_output(argv)", "subprocess.getoutput(text)"),
        *("from subprocess import call", "from subprocess import *", "import subprocess as os"),
    ],
)
def test_another_way_to_start_a_program_is_found(text: str) -> None:
    assert [*other_ways_to_start_in(ast.walk(ast.parse(text)))]


START_THE_SITE = {
    # What starts the site's own code, or what does so in turn: with the site's own umask and
    # environment, in which its settings are.
    "admin_management/launcher.py",
    "admin_management/serve/__main__.py",
    "admin_management/serve/generation.py",
}


def test_whatever_is_started_has_an_umask_an_environment_and_no_input() -> None:
    for path in python_files("admin_management", "webhooks"):
        name = str(path.relative_to(ROOT))
        assert "from subprocess import" not in path.read_text(encoding="utf-8"), name
        allowed = {"umask", "env"} if name in START_THE_SITE else set()
        for left in left_to_the_parent(nodes(path)):
            assert left <= allowed, f"{name}: {left}"


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ("stdin=subprocess.DEVNULL, umask=PRIVATE, env=environ", set()),
        ("stdin=subprocess.DEVNULL, umask=PRIVATE", {"env"}),
        ("stdin=subprocess.DEVNULL, umask=PRIVATE, env=None", {"env"}),
        ("stdin=subprocess.DEVNULL, env=environ", {"umask"}),
        ("umask=PRIVATE, env=environ", {"stdin"}),
    ],
)
@pytest.mark.parametrize("way", ["run", "Popen"])
def test_a_program_that_is_left_what_its_parent_has_is_found(
    way: str, options: str, left: set[str]
) -> None:
    tree = ast.parse(f"subprocess.{way}(argv, {options})")
    assert [*left_to_the_parent(ast.walk(tree))] == [left]


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
