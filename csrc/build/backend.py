"""The PEP 517 build backend: puts what make builds into a wheel.

It must not compile anything by itself: make knows how, and `pip install .` gives what `make` gives.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

from freeze import with_commit

ROOT = Path(__file__).resolve().parents[2]
BUILD = "build/wheel"
Settings = dict[str, Any] | None


def _project() -> dict[str, Any]:
    return dict(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"])


def _stem(project: dict[str, Any]) -> str:
    return f"{project['name']}-{project['version']}"


def _metadata(project: dict[str, Any]) -> str:
    """Return the core metadata (version 2.4) of the project table."""
    lines = [
        "Metadata-Version: 2.4",
        f"Name: {project['name']}",
        f"Version: {project['version']}",
        f"Summary: {project['description']}",
        f"Requires-Python: {project['requires-python']}",
        f"License-Expression: {project['license']}",
    ]
    lines += [f"License-File: {name}" for name in project["license-files"]]
    lines += [f"Classifier: {name}" for name in project["classifiers"]]
    lines += [f"Requires-Dist: {name}" for name in project["dependencies"]]
    lines += ["Description-Content-Type: text/markdown", "", (ROOT / project["readme"]).read_text()]
    return "\n".join(lines)


def _tag() -> str:
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    return f"{python}-{python}-{platform}"


def _make(*targets: str) -> None:
    jobs = f"-j{os.cpu_count() or 1}"
    command = ["make", jobs, f"BUILD={BUILD}", f"BUILD_PYTHON={sys.executable}", *targets]
    subprocess.run(command, cwd=ROOT, check=True)


class _Wheel:
    """A wheel being written; its RECORD comes last."""

    def __init__(self, directory: str, project: dict[str, Any]) -> None:
        self.stem = _stem(project)
        self.name = f"{self.stem}-{_tag()}.whl"
        self.archive = zipfile.ZipFile(Path(directory) / self.name, "w", zipfile.ZIP_DEFLATED)
        self.records: list[str] = []

    def add(self, name: str, data: bytes, mode: int = 0o644) -> None:
        """Add a file."""
        member = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
        member.external_attr = (0o100000 | mode) << 16
        member.compress_type = zipfile.ZIP_DEFLATED
        self.archive.writestr(member, data)
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        self.records.append(f"{name},sha256={digest},{len(data)}")

    def finish(self, project: dict[str, Any]) -> str:
        """Add the script and the metadata, close the archive and return its name."""
        info = f"{self.stem}.dist-info"
        executable = (ROOT / BUILD / "pyrunc").read_bytes()
        self.add(f"{self.stem}.data/scripts/pyrunc", executable, 0o755)
        self.add(f"{info}/METADATA", _metadata(project).encode())
        lines = [
            "Wheel-Version: 1.0",
            "Generator: pyrunc",
            "Root-Is-Purelib: false",
            f"Tag: {_tag()}",
        ]
        self.add(f"{info}/WHEEL", "\n".join([*lines, ""]).encode())
        for name in project["license-files"]:
            self.add(f"{info}/licenses/{name}", (ROOT / name).read_bytes())
        self.records.append(f"{info}/RECORD,,")
        self.archive.writestr(f"{info}/RECORD", "\n".join([*self.records, ""]))
        self.archive.close()
        return self.name


def _extension() -> Path:
    (found,) = (ROOT / BUILD / "ext").glob("_pyrunc_shim*.so")
    return found


def build_wheel(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    """Build the wheel: the package, the shim as an extension module, the executable as the script."""
    del config_settings, metadata_directory
    _make("all", "extension")
    project = _project()
    wheel = _Wheel(wheel_directory, project)
    commit = (ROOT / BUILD / "gen/commit").read_text().strip()
    package = ROOT / "runtime"
    for path in sorted(package.rglob("*.py*")):
        if path.suffix not in (".py", ".pyi") or path.is_symlink():
            continue
        data = path.read_bytes()
        name = str(path.relative_to(package))
        if name == "pyrunc/version.py":
            data = with_commit(data.decode(), commit).encode()
        wheel.add(name, data)
    wheel.add(_extension().name, _extension().read_bytes(), 0o755)
    return wheel.finish(project)


def build_editable(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    """Build a wheel that points at this tree; the executable in it is a copy."""
    del config_settings, metadata_directory
    _make("all", "extension")
    project = _project()
    wheel = _Wheel(wheel_directory, project)
    wheel.add("pyrunc.pth", f"{ROOT / 'runtime'}\n{_extension().parent}\n".encode())
    return wheel.finish(project)


def build_sdist(sdist_directory: str, config_settings: Settings = None) -> str:
    """Pack the files that git knows."""
    del config_settings
    project = _project()
    name = f"{_stem(project)}.tar.gz"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True)
    with tarfile.open(Path(sdist_directory) / name, "w:gz", format=tarfile.PAX_FORMAT) as archive:
        for file in sorted(filter(None, listed.stdout.decode().split("\0"))):
            archive.add(ROOT / file, f"{_stem(project)}/{file}", recursive=False)
        data = _metadata(project).encode()
        member = tarfile.TarInfo(f"{_stem(project)}/PKG-INFO")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return name
