"""Install a dependency group of pyproject.toml (PEP 735) into the environment that runs this script.

It must not name a package or a version: pyproject.toml does. pip itself learnt groups in 25.1.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path


def requirements(groups: dict[str, list[str | dict[str, str]]], name: str) -> list[str]:
    """Return the requirements of a group, included groups first."""
    found = []
    for item in groups[name]:
        if isinstance(item, dict):
            found += requirements(groups, item["include-group"])
        else:
            found.append(item)
    return found


def main(names: list[str]) -> None:
    """Install the named groups."""
    project = tomllib.loads(Path("pyproject.toml").read_text())
    wanted = [item for name in names for item in requirements(project["dependency-groups"], name)]
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", *wanted], check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
