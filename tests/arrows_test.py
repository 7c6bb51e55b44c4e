"""The rooms of the library: one uses only rooms below it, and no modules import one another in a circle."""

import ast
import functools
import graphlib
import re
import unittest
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = {"tf_frozen": ROOT / "tf_frozen", "tf_frozen.export": ROOT / "export"}
# From top to bottom: what stands on one floor does not use each other.
FLOORS = (
    ("__main__",),
    ("cli",),
    ("commands",),
    ("recipes",),
    ("training",),
    ("feature_cache",),
    ("freezing", "export", "evaluation"),
    ("detectors",),
    ("heads", "necks", "backbones"),
    ("data", "layers"),
    ("geometry", "losses"),
    ("config",),
    ("files", "graph_function", "keras_flavor", "log"),
    ("errors", "progress", "signals"),
)
# Rooms below that a room leaves alone: freezing needs only a Keras model.
NEVER = {
    "detectors": {"data"},
    "freezing": {"data", "detectors", "heads", "necks", "backbones"},
}


@functools.cache
def modules():
    """Paths of all modules of the library by their names."""
    found = {}
    for package, folder in SOURCES.items():
        for path in folder.rglob("*.py"):
            parts = path.relative_to(folder).with_suffix("").parts
            found[".".join([package, *parts]).removesuffix(".__init__")] = path
    return found


@functools.cache
def imports():
    """Modules of the library that each of them imports, at its top or in a function."""
    return {name: set(imported(ast.parse(path.read_text(encoding="utf-8")))) for name, path in modules().items()}


def imported(tree):
    # What is for type checkers alone is not imported.
    tree.body = [node for node in tree.body if not ast.unparse(node).startswith("if TYPE_CHECKING:")]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"Relative imports are not understood: {ast.unparse(node)}")
            members = {f"{node.module}.{alias.name}" for alias in node.names}
            names = members & modules().keys() or {node.module}
        else:
            continue
        yield from (name for name in names if name in modules())


def room(module):
    return module.split(".")[1] if "." in module else ""


def below(name):
    """Rooms that a room may use."""
    floor = next(number for number, rooms in enumerate(FLOORS) if name in rooms)
    return {lower for rooms in FLOORS[floor + 1 :] for lower in rooms} - NEVER.get(name, set())


def violations():
    """Modules that use a room which is not below theirs, each with that room."""
    return {
        (module.removeprefix("tf_frozen."), room(other))
        for module, others in imports().items()
        for other in others
        if room(module) and room(other) not in ("", room(module), *below(room(module)))
    }


class ArrowsTest(unittest.TestCase):
    """Reads the sources alone, without TensorFlow."""

    def test_every_room_has_a_floor(self):
        floors = {name for rooms in FLOORS for name in rooms}
        self.assertEqual({room(module) for module in modules()} - {""} - floors, set())

    def test_a_room_uses_only_rooms_below_it(self):
        self.assertEqual(violations(), set())

    def test_the_library_speaks_of_arguments_and_commands_of_flags(self):
        """A message has the name of an argument in backticks; the command line makes it a flag."""
        library = {name: path for name, path in modules().items() if room(name) not in ("cli", "commands")}
        for name, path in library.items():
            tree = ast.parse(path.read_text(encoding="utf-8"))
            texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
            flags = [text for text in texts if isinstance(text, str) and re.search(r"(?<!-)--[a-z]", text)]
            self.assertEqual(flags, [], name)

    def test_gin_s_private_names_are_used_in_one_module(self):
        private = re.compile(r"\bgin\w*(\.config)?\._[A-Za-z]")
        used = {name for name, path in modules().items() if private.search(path.read_text(encoding="utf-8"))}
        self.assertEqual(used, {"tf_frozen.config.gin_internals"})

    def test_no_modules_import_one_another_in_a_circle(self):
        try:
            graphlib.TopologicalSorter(imports()).prepare()
        except graphlib.CycleError as error:
            self.fail(f"A circle of imports: {' -> '.join(error.args[1])}")


if __name__ == "__main__":
    unittest.main()
