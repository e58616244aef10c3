"""A user's own network, known without importing it: its sources, their checksum, and what its function takes."""

from __future__ import annotations

import ast
import hashlib
import sys
import sysconfig
from collections.abc import Iterator
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
    """A function found in a user's module.

    Attributes:
        module, function, file: its names, and where it is defined.
        parameters: the names of its arguments; `required`: those without a default; `any_keyword`: it takes others too.
        sources: the checksum of `files`, the sources that decide what it does.
    """

    module: str
    function: str
    file: Path
    parameters: tuple[str, ...]
    required: tuple[str, ...]
    any_keyword: bool
    sources: str
    files: tuple[Path, ...]

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
            raise UserModuleError(
                f"{self.module}:{self.function} needs {', '.join(missing)}: give it as a key of network"
            )
        return passes


def _module_file(place: Path, module: str) -> Path | None:
    """The file of `module` in the folder `place`."""
    stem = place.joinpath(*module.split("."))
    return next((f for f in (stem.with_suffix(".py"), stem / "__init__.py") if f.is_file()), None)


def _find_module(module: str, folder: Path) -> tuple[Path, Path]:
    """The module's file, and the folder on the path that has it."""
    for place in [folder, *(Path(p or ".") for p in sys.path)]:
        file = _module_file(place, module)
        if file is not None:
            return file, place
    raise UserModuleError(
        f"no module {module!r}: looked for {folder.joinpath(*module.split('.'))}.py and on the Python path"
    )


def _parse(file: Path) -> ast.Module:
    try:
        return ast.parse(file.read_bytes(), filename=str(file))
    except SyntaxError as error:
        raise UserModuleError(f"{file}:{error.lineno}: {error.msg}") from None
    except (ValueError, OSError) as error:
        raise UserModuleError(f"cannot read {file}: {error}") from None


def _imported(tree: ast.Module) -> Iterator[str]:
    """Names of the modules that a source imports, relative ones aside: those are in its package."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _sources(file: Path, module: str, place: Path) -> tuple[Path, ...]:
    """The module's file, the whole of its package, and every module beside it that any of these imports."""
    installed = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    alone = place.resolve() in installed  # an installed module's imports are part of the environment
    found: dict[Path, None] = {}
    open_ = [(file, module)]
    while open_:
        source, name = open_.pop()
        top = place / name.split(".")[0]
        package = sorted(top.rglob("*.py")) if (top / "__init__.py").is_file() or "." in name else []
        for member in dict.fromkeys([source, *package]):
            if member in found:
                continue
            found[member] = None
            if not alone:
                imported = ((_module_file(place, other), other) for other in _imported(_parse(member)))
                open_ += [(f, other) for f, other in imported if f is not None and f not in found]
    return tuple(sorted(found))


def find_function(target: str, folder: Path) -> UserFunction:
    """Find ``package.module:function`` beside the sweep file (`folder`) or on the Python path, by reading its source.

    The checksum covers the module's file, in a package every .py file of the top-level package, and the modules in the
    same folder that these import.

    Raises:
        UserModuleError: no such module or function, or a file with a syntax error.
    """
    module, _, name = target.partition(":")
    file, place = _find_module(module, folder)
    tree = _parse(file)
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
    files = _sources(file, module, place)
    total = hashlib.sha256()
    for source in files:
        total.update(source.relative_to(place).as_posix().encode() + b"\0")
        total.update(hashlib.sha256(source.read_bytes()).digest())
    any_keyword = signature.kwarg is not None
    parameters = (*plain, *keyword)
    return UserFunction(module, name, file, parameters, tuple(required), any_keyword, total.hexdigest(), files)
