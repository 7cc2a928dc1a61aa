"""Decides the classes for the whole of config.json, and what a bundle is on disk.

It must not check what they hold: `Spec.problems` asks the schema and the rules.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from attrs import define

from pyrunc.spec import template
from pyrunc.spec.model.linux import IdMapping, Linux
from pyrunc.spec.model.platforms import Freebsd, Solaris, Vm, Windows, Zos
from pyrunc.spec.model.process import Process
from pyrunc.spec.model.section import Section, many, one
from pyrunc.spec.model.values import Seconds

if TYPE_CHECKING:
    from pyrunc.spec.explain import Problem

CONFIG = "config.json"


@define
class Root(Section):
    """The root filesystem; a relative path is the bundle's."""

    path: str | None = None
    readonly: bool | None = None


@define
class Mount(Section):
    """A mount, in the order of the list (config.md, Mounts)."""

    destination: str | None = None
    type: str | None = None
    source: str | None = None
    options: list[str] | None = None
    uid_mappings: list[IdMapping] | None = many(IdMapping)
    gid_mappings: list[IdMapping] | None = many(IdMapping)


@define
class Hook(Section):
    """A program to run: `args` begins with its name, `env` is all it gets, `timeout` in seconds."""

    path: str | None = None
    args: list[str] | None = None
    env: list[str] | None = None
    timeout: Seconds | None = None


@define(kw_only=True)
class Hooks(Section):
    """Programs for the steps of a container's life (config.md, POSIX-platform Hooks)."""

    prestart: list[Hook] | None = many(Hook)
    create_runtime: list[Hook] | None = many(Hook)
    create_container: list[Hook] | None = many(Hook)
    start_container: list[Hook] | None = many(Hook)
    poststart: list[Hook] | None = many(Hook)
    poststop: list[Hook] | None = many(Hook)


@define(kw_only=True)
class Spec(Section):
    """The whole of config.json."""

    oci_version: str | None = None
    process: Process | None = one(Process)
    root: Root | None = one(Root)
    hostname: str | None = None
    domainname: str | None = None
    mounts: list[Mount] | None = many(Mount)
    hooks: Hooks | None = one(Hooks)
    annotations: dict[str, str] | None = None
    linux: Linux | None = one(Linux)
    solaris: Solaris | None = one(Solaris)
    windows: Windows | None = one(Windows)
    vm: Vm | None = one(Vm)
    zos: Zos | None = one(Zos)
    freebsd: Freebsd | None = one(Freebsd)

    @classmethod
    def template(
        cls, *, cgroup2: bool = False, rootless_ids: tuple[int, int] | None = None
    ) -> Spec:
        """The config that `pyrunc spec` writes, and with `rootless_ids` (the uid and gid that become
        root in the container) the one of `pyrunc spec --rootless`.

        `cgroup2` is for hosts with cgroup v2 only.
        """
        return cls.from_dict(template.build(cgroup2=cgroup2, rootless_ids=rootless_ids))

    def problems(self) -> list[Problem]:
        """All errors, then all warnings, as `pyrunc validate` tells them; empty for a good config."""
        from pyrunc.spec.explain import explain

        return explain(self.to_dict())


@define
class Bundle:
    """A directory with config.json and, mostly, the root filesystem."""

    path: Path
    spec: Spec

    @classmethod
    def create(cls, path: str | Path, spec: Spec | None = None) -> Bundle:
        """Make a bundle with this spec (default: the template) and an empty rootfs where a relative
        root.path names none yet; directories may be there already, config.json may not.

        Raises FileExistsError, or another OSError.
        """
        bundle = cls(Path(path).absolute(), Spec.template() if spec is None else spec)
        bundle.path.mkdir(parents=True, exist_ok=True)
        bundle.config.open("xb").close()
        bundle.save()
        root = bundle.spec.root
        if root and root.path and not Path(root.path).is_absolute():
            bundle.rootfs.mkdir(parents=True, exist_ok=True)
        return bundle

    @classmethod
    def open(cls, path: str | Path) -> Bundle:
        """The bundle that is at `path`; raises as `Spec.load` does."""
        directory = Path(path).absolute()
        return cls(directory, Spec.load(directory / CONFIG))

    @property
    def config(self) -> Path:
        return self.path / CONFIG

    @property
    def rootfs(self) -> Path:
        """Where root.path leads; the bundle itself where there is none."""
        root = self.spec.root
        return self.path / ((root.path if root else None) or "")

    def save(self) -> None:
        """Write the spec to config.json, over what is there."""
        self.spec.save(self.config)
