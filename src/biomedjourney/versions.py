"""The version of the code behind a command, from the definitions that the command can reach.

A rule passes this version as a param, so that an edit runs exactly those rules again whose commands reach the edited
definition. A definition is a function, a class or an assignment at the top of a module. It counts as its syntax tree:
comments, docstrings, formatting, type annotations and help texts of options do not matter. The source is read and
never imported, so an installed wheel has the same version as the checkout that it was built from.

Names are followed through imports inside the package. What is looked up by a string at run time cannot be followed,
with two exceptions: the name of a table stands for its declared columns, and the name of a data file (a prompt, a
template, a mean picture) below the folder of the module stands for the contents of that file.
"""

import ast
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from biomedjourney import tables

PACKAGE = Path(__file__).resolve().parent
ROOT = PACKAGE.name
DESCRIPTIONS = {"help", "epilog", "short_help", "description"}  # keyword arguments that only describe
# What a command reads of the configuration is a param of its own, in one canonical form.
NOT_FOLLOWED = f"{ROOT}.config"
Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


@dataclass(frozen=True)
class Reference:
    """A definition of a module of the package, or the whole module where ``name`` is None."""

    module: str
    name: str | None = None


# Of all declared tables a command depends on those that it names, and on the classes that they are made of.
DECLARED_TABLES = Reference(f"{ROOT}.tables", "_DECLARED")
TABLE_CLASSES = frozenset({Reference(f"{ROOT}.tables", "Table"), Reference(f"{ROOT}.tables", "Column")})


@dataclass(frozen=True)
class Module:
    """The parsed source of a module: its definitions, what it imports from the package, its other statements."""

    folder: Path
    definitions: dict[str, tuple[ast.stmt, ...]]
    imports: dict[str, Reference]
    statements: tuple[ast.stmt, ...]


def code_version(command: str, table_names: Iterable[str] = (), without: Iterable[str] = ()) -> str:
    """A hash of the code that a command can reach, 16 hexadecimal digits.

    ``command``: a verb or a verb with its sub-command, such as "encode pictures". ``table_names``: tables that the
    command is told to read or write on the command line, besides those that its code names; a table whose name is that
    of a column too, such as `findings`, has to be given here. ``without``: modules and definitions, such as
    "rewrite.prompt" and "pretrain.run.train_judges", that the command does not use with the options that it is given.
    """
    reached = _reachable(_entry(command), frozenset(f"{ROOT}.{name}" for name in without))
    digest = hashlib.sha256()
    named_tables, data_files = set(table_names), set()
    for reference in sorted(reached, key=lambda reference: (reference.module, str(reference.name))):
        digest.update(f"{reference.module}\0{reference.name}\0{_dump(reference)}\0".encode())
        strings = _strings(reference)
        named_tables |= strings & (tables.TABLES.keys() - _column_names())
        folder = _module(reference.module).folder
        data_files |= {path for path in _data_files(folder) if path.name in strings}
    for name in sorted(named_tables):
        digest.update(f"{name}\0{_columns(tables.TABLES[name])}\0".encode())
    for path in sorted(data_files):
        digest.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def imported_modules(module: str) -> set[str]:
    """The modules of the package that a module imports, wherever in it the import stands."""
    references = [*_module(module).imports.values()]
    for name in _module(module).definitions:
        for statement in _module(module).definitions[name]:
            references += _imports_in(statement).values()
    return {reference.module for reference in references}


def _column_names() -> set[str]:
    return {column.name for table in tables.TABLES.values() for column in table.columns}


def _columns(table: tables.Table) -> list[tuple[str, str, bool]]:
    return [(",".join(table.key), "", table.bulky), *((c.name, str(c.type), c.nullable) for c in table.columns)]


def _entry(command: str) -> Reference:
    """The function that a command runs: `command` of the verb's module, or the sub-command of that name."""
    verb, _, sub_command = command.partition(" ")
    module = f"{ROOT}.{verb}.command"
    if not sub_command:
        return Reference(module, "command")
    for name, statements in _module(module).definitions.items():
        if sub_command in _command_names(name, statements[0]):
            return Reference(module, name)
    raise ValueError(f"{module} has no sub-command {sub_command!r}")


def _command_names(name: str, definition: ast.stmt) -> Iterator[str]:
    for decorator in getattr(definition, "decorator_list", []):
        called = getattr(decorator, "func", None)
        if isinstance(called, ast.Attribute) and ast.unparse(called) == "command.command":
            yield decorator.args[0].value if decorator.args else name.replace("_", "-")


@cache
def _reachable(start: Reference, without: frozenset[str] = frozenset()) -> frozenset[Reference]:
    reached: set[Reference] = set()
    waiting = [start]
    while waiting:
        reference = waiting.pop()
        if reference in reached or {reference.module, f"{reference.module}.{reference.name}"} & without:
            continue
        reached.add(reference)
        waiting += _references(reference)
    return frozenset(reached)


@cache
def _references(reference: Reference) -> frozenset[Reference]:
    """What a definition refers to. The name "" stands for the statements that run when a module is imported."""
    if reference == DECLARED_TABLES:
        return TABLE_CLASSES
    if reference.name is None:
        return frozenset(Reference(reference.module, name) for name in (*_module(reference.module).definitions, ""))
    finder = _Finder(reference.module)
    for statement in _statements(reference):
        finder.visit(statement)
    references = {Reference(reference.module, ""), *finder.references}
    return frozenset(references - {reference})


def _statements(reference: Reference) -> tuple[ast.stmt, ...]:
    if reference.name is None or reference == DECLARED_TABLES:
        return ()
    module = _module(reference.module)
    return module.definitions[reference.name] if reference.name else module.statements


@cache
def _dump(reference: Reference) -> str:
    return "".join(ast.dump(statement) for statement in _statements(reference))


@cache
def _strings(reference: Reference) -> frozenset[str]:
    """The strings in a definition, without keys in square brackets, as in ``settings["systems"]``."""
    nodes = [node for statement in _statements(reference) for node in ast.walk(statement)]
    keys = {id(node.slice) for node in nodes if isinstance(node, ast.Subscript)}
    constants = [node.value for node in nodes if isinstance(node, ast.Constant) and id(node) not in keys]
    return frozenset(value for value in constants if isinstance(value, str))


@cache
def _data_files(folder: Path) -> tuple[Path, ...]:
    return tuple(p for p in sorted(folder.rglob("*")) if p.is_file() and p.suffix not in (".py", ".pyc"))


def _path(module: str) -> Path | None:
    place = PACKAGE.joinpath(*module.split(".")[1:])
    for path in (place.with_suffix(".py"), place / "__init__.py"):
        if path.is_file():
            return path
    return None


@cache
def _module(module: str) -> Module:
    path = _path(module)
    assert path is not None, f"no module {module}"
    definitions: dict[str, tuple[ast.stmt, ...]] = {}
    imports: dict[str, Reference] = {}
    statements = []
    for statement in _stripped(ast.parse(path.read_text(encoding="utf-8"))).body:
        names = _defined_names(statement)
        imported = {} if names else _imports_in(statement)
        imports |= imported
        for name in names:
            definitions[name] = (*definitions.get(name, ()), statement)
        if not names and not imported and not isinstance(statement, ast.Import | ast.ImportFrom):
            statements.append(statement)
    return Module(path.parent, definitions, imports, tuple(statements))


def _defined_names(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        stored = [node for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]
        return [node.id for node in stored if isinstance(node.ctx, ast.Store)]
    return []


def _imports_in(statement: ast.AST) -> dict[str, Reference]:
    """The local names that a statement, or anything inside it, imports from the package."""
    imports = {}
    for node in ast.walk(statement):
        if isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"line {node.lineno}: relative imports are not followed: name the whole module")
            if (node.module or "").partition(".")[0] == ROOT:
                for alias in node.names:
                    imports[alias.asname or alias.name] = _member(str(node.module), alias.name)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] == ROOT:
                    imports[alias.asname or ROOT] = Reference(alias.name if alias.asname else ROOT)
    return imports


def _member(module: str, name: str) -> Reference:
    """What ``name`` is in a module: a sub-module or a definition."""
    return Reference(f"{module}.{name}") if _path(f"{module}.{name}") else Reference(module, name)


def _resolve(reference: Reference, attributes: list[str]) -> Reference | None:
    """The definition behind a reference and the attributes that follow it; None where it is not followed."""
    if reference.name is None and attributes:
        return _resolve(_member(reference.module, attributes[0]), attributes[1:])
    if reference.module == NOT_FOLLOWED:
        return None
    if reference.name is None:
        return reference
    module = _module(reference.module)
    if reference.name in module.definitions:
        return reference
    if reference.name in module.imports:
        return _resolve(module.imports[reference.name], attributes)
    return None  # a dunder such as __file__


class _Finder(ast.NodeVisitor):
    """Collects the references of a definition to others, mindful of names that are local to a function."""

    def __init__(self, module: str) -> None:
        self.module = module
        self.references: set[Reference] = set()
        self.scopes: list[dict[str, Reference | None]] = []  # innermost last; None: a local variable

    def visit_Name(self, node: ast.Name) -> None:
        self._refer(node.id, [])

    def visit_Attribute(self, node: ast.Attribute) -> None:
        attributes: list[str] = []
        value: ast.expr = node
        while isinstance(value, ast.Attribute):
            attributes.insert(0, value.attr)
            value = value.value
        if isinstance(value, ast.Name):
            self._refer(value.id, attributes)
        else:
            self.visit(value)

    def _refer(self, name: str, attributes: list[str]) -> None:
        target: Reference | None = Reference(self.module, name)
        for scope in reversed(self.scopes):
            if name in scope:
                target = scope[name]
                break
        reference = None if target is None else _resolve(target, attributes)
        if reference is not None:
            self.references.add(reference)

    def _visit_scope(self, node: Function | Comprehension) -> None:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for outside in (*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults)):
                self.visit(outside)
        self.scopes.append(_local_names(node))
        self.generic_visit(node)
        self.scopes.pop()

    visit_FunctionDef = visit_AsyncFunctionDef = visit_Lambda = _visit_scope
    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _visit_scope


def _local_names(scope: Function | Comprehension) -> dict[str, Reference | None]:
    """The names that a function or comprehension binds itself, with what it imports from the package."""
    names: dict[str, Reference | None] = {}
    imports: dict[str, Reference] = {}
    if isinstance(scope, Function):
        arguments = (*scope.args.posonlyargs, *scope.args.args, *scope.args.kwonlyargs)
        names |= dict.fromkeys(argument.arg for argument in arguments)
        names |= dict.fromkeys(extra.arg for extra in (scope.args.vararg, scope.args.kwarg) if extra)
    body = scope.body if isinstance(scope, Function) else scope.generators
    waiting: list[ast.AST] = list(body) if isinstance(body, list) else [body]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names[node.id] = None
        elif isinstance(node, ast.Import | ast.ImportFrom):
            imports |= _imports_in(node)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names[node.name] = None
        if not isinstance(node, Function | Comprehension | ast.ClassDef):
            waiting += ast.iter_child_nodes(node)
    return names | imports


def _stripped(tree: ast.Module) -> ast.Module:
    """The tree without docstrings, annotations of types, and keyword arguments that only describe."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:]
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
        elif isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(None)
        elif isinstance(node, ast.Call):
            node.keywords = [keyword for keyword in node.keywords if keyword.arg not in DESCRIPTIONS]
    return tree
