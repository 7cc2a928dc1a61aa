"""Decide which modules outside pyrunc the executable carries in its zip, and pack them.

It must not carry what neither the cold packages nor our own modules import.
"""

from __future__ import annotations

import argparse
import json
import marshal
import subprocess
import sys
import sysconfig
import zipfile
from importlib.util import MAGIC_NUMBER
from pathlib import Path

# Imported at the top of a cold module, or inside a function that the listed ones call.
ROOTS = """
    argparse ast attr attrs base64 bisect calendar collections collections.abc configparser contextlib
    copy dataclasses datetime difflib enum functools gettext glob hashlib heapq importlib.metadata
    importlib.resources inspect io ipaddress itertools json json.encoder jsonschema
    jsonschema.exceptions jsonschema.validators linecache locale logging numbers operator os pathlib
    pkgutil platform pprint queue random re reprlib select selectors shlex shutil signal socket stat
    string struct subprocess tempfile textwrap threading time tokenize traceback types typing
    unittest.mock urllib.parse uuid warnings weakref zipfile zipimport __future__
    _strptime _weakrefset _sitebuiltins importlib.readers importlib.simple importlib.resources.readers
    importlib.resources._adapters
""".split()
EXCLUDED = ("encodings", "unittest", "asyncio")
# In the static executable there is no lib-dynload: what travels are the pure-Python fallbacks of its
# modules. What main.c and csrc/build/frozen add to the stdlib is there.
PROBE = """
import importlib, json, sys
import _contextvars, urllib
sys.modules["urllib.request"] = type(sys)("urllib.request")
sys.modules["urllib.request"].urlopen = None
sys.path.insert(0, sys.argv[1])
if sys.argv[2] == "static":
    sys.path = [path for path in sys.path if not path.endswith("lib-dynload")]
for name in sys.argv[3:]:
    importlib.import_module(name)
print(json.dumps({name: [module.__spec__.origin, bool(module.__spec__.submodule_search_locations)]
    for name, module in sys.modules.items() if getattr(module, '__spec__', None)}))
"""
# One date for every member: the zip depends on its contents alone.
DATE = (1980, 1, 1, 0, 0, 0)


def imported(cold: Path, linking: str) -> dict[str, tuple[Path, bool]]:
    """Return what importing ROOTS loads: name to (source file, whether it is a package)."""
    roots = [root for root in ROOTS if root.split(".")[0] not in EXCLUDED]
    command = [sys.executable, "-I", "-S", "-X", "frozen_modules=off", "-c"]
    command += [PROBE, str(cold), linking, *roots]
    origins = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    stdlib = Path(sysconfig.get_path("stdlib"))
    found = {}
    for name, (origin, is_package) in origins.items():
        if name.split(".")[0] in EXCLUDED or not origin or not origin.endswith(".py"):
            continue
        path = Path(origin)
        if path.is_relative_to(stdlib) or path.is_relative_to(cold):
            found[name] = (path, is_package)
    return found


def add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    """Add one member."""
    member = zipfile.ZipInfo(name, DATE)
    member.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(member, data)


def add_module(archive: zipfile.ZipFile, name: str, path: Path, is_package: bool) -> None:
    """Add a module as code that zipimport takes without looking for its source."""
    member = name.replace(".", "/") + ("/__init__.pyc" if is_package else ".pyc")
    code = compile(
        path.read_bytes(), f"<cold>/{member[:-1]}", "exec", optimize=1, dont_inherit=True
    )
    # Flags 0b01: the code is not checked against a source file (PEP 552).
    header = MAGIC_NUMBER + (1).to_bytes(4, "little") + bytes(8)
    add(archive, member, header + marshal.dumps(code))


def main() -> None:
    """Write the zip."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cold", type=Path, required=True, help="directory of cold packages")
    parser.add_argument("--linking", choices=("static", "shared"), required=True)
    parser.add_argument("--data", action="append", default=[], help="FILE=NAME in the zip")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    cold = options.cold.resolve()
    with zipfile.ZipFile(options.output, "w") as archive:
        for name, (path, is_package) in sorted(imported(cold, options.linking).items()):
            add_module(archive, name, path, is_package)
        for path in sorted(cold.glob("jsonschema/schemas/**/*")):
            if path.is_file():
                add(archive, str(path.relative_to(cold)), path.read_bytes())
        for item in options.data:
            source, _, member = item.partition("=")
            add(archive, member, Path(source).read_bytes())


if __name__ == "__main__":
    main()
