"""Which tests a file has, without executing it."""

import ast
from pathlib import Path


def named_tests_of(path: Path) -> set[str]:
    """Their names as pytest takes them, those of a class behind its name."""
    module = ast.parse(path.read_text(encoding="utf-8"))
    classes = [each for each in module.body if isinstance(each, ast.ClassDef)]
    methods = {f"{each.name}::{name}" for each in classes for name in functions_of(each)}
    return {*functions_of(module), *methods}


def functions_of(body: ast.Module | ast.ClassDef) -> list[str]:
    return [each.name for each in body.body if isinstance(each, ast.FunctionDef)]
