"""A user's own network, known without importing it: where its source is, what its function takes, and the checksum of its files."""

from __future__ import annotations

import ast
import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path

from .errors import nearest

__all__ = ["UserFunction", "UserModuleError", "find_function"]

# Passed where the function names them and the sweep file does not.
OFFERED = ("inputs", "classes", "seed")


class UserModuleError(ValueError):
    """The module, or the function in it, cannot be used as the sweep file says."""


@dataclass(frozen=True)
class UserFunction:
    """A function found: its parameters, those without default, whether it takes any keyword, and the checksum of its module's sources."""

    module: str
    function: str
    file: Path
    parameters: tuple[str, ...]
    required: tuple[str, ...]
    any_keyword: bool
    sources: str

    def check(self, arguments: set[str]) -> tuple[str, ...]:
        """Which of `inputs`, `classes`, `seed` to pass beside `arguments`.

        Raises:
            UserModuleError: an argument that the function does not take, or one that it needs.
        """
        unknown = sorted(arguments - set(self.parameters))
        if unknown and not self.any_keyword:
            near = nearest(unknown[0], self.parameters)
            hint = f"; did you mean {near!r}?" if near else f"; it takes {', '.join(self.parameters) or 'none'}"
            raise UserModuleError(f"{self.module}:{self.function} takes no argument {unknown[0]!r}{hint}")
        passes = tuple(name for name in OFFERED if name in self.parameters and name not in arguments)
        missing = [name for name in self.required if name not in arguments and name not in passes]
        if missing:
            raise UserModuleError(f"{self.module}:{self.function} needs {', '.join(missing)}: give it as a key of network")
        return passes


def _source_file(module: str, folder: Path) -> tuple[Path, Path]:
    """The module's file, and the file or package folder that holds all of its sources."""
    parts = module.split(".")
    tried = []
    for place in [folder, *(Path(p or ".") for p in sys.path)]:
        stem = place.joinpath(*parts)
        for file in (stem.with_suffix(".py"), stem / "__init__.py"):
            tried.append(file)
            if file.is_file():
                top = place / parts[0]
                return file, top if top.is_dir() else file
    raise UserModuleError(f"no module {module!r}: looked for {tried[0]} and on the Python path")


def find_function(target: str, folder: Path) -> UserFunction:
    """Find ``package.module:function`` beside the sweep file (`folder`) or on the Python path, by reading its source.

    The checksum covers the module's file or, in a package, every .py file of the top-level package.

    Raises:
        UserModuleError: no such module or function, or a file with a syntax error.
    """
    module, _, name = target.partition(":")
    file, root = _source_file(module, folder)
    try:
        tree = ast.parse(file.read_bytes(), filename=str(file))
    except SyntaxError as error:
        raise UserModuleError(f"{file}:{error.lineno}: {error.msg}") from None
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    if name not in functions:
        near = nearest(name, functions)
        raise UserModuleError(f"{file} defines no function {name!r}" + (f"; did you mean {near!r}?" if near else ""))
    signature = functions[name].args
    if signature.posonlyargs:
        raise UserModuleError(f"{target} has positional-only arguments; its arguments are passed by name")
    plain = [a.arg for a in signature.args]
    keyword = [a.arg for a in signature.kwonlyargs]
    required = plain[: len(plain) - len(signature.defaults)]
    required += [a for a, default in zip(keyword, signature.kw_defaults, strict=True) if default is None]
    files = sorted(root.rglob("*.py")) if root.is_dir() else [root]
    total = hashlib.sha256()
    for source in files:
        total.update(source.relative_to(root.parent).as_posix().encode() + b"\0")
        total.update(hashlib.sha256(source.read_bytes()).digest())
    return UserFunction(module, name, file, (*plain, *keyword), tuple(required), signature.kwarg is not None, total.hexdigest())
