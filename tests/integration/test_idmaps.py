"""Id-mapped mounts: whose files those of a volume seem to be, and which rights make them so."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import kernel, mappings
from harness.bundle import mount
from harness.container import Container
from harness.lanes import Lane
from harness.requirements import missing
from harness.runtime import Runtime
from harness.signatures import Make

pytestmark = pytest.mark.needs("kernel:5.12", "userns")

FIRST = mappings.BASE


def mapping(inside: int, outside: int, size: int = 65536) -> list[dict[str, int]]:
    return [{"containerID": inside, "hostID": outside, "size": size}]


def in_user_namespace(c: Container, first: int = FIRST) -> Container:
    c.bundle.namespace("network")
    return mappings.mapped(c, first)


def mount_mappable(source: Path, directory: Path) -> None:
    """Mounts on `directory` what can be id-mapped, as a tmpfs can since Linux 6.3; before, `source`."""
    if missing("kernel:6.3", Runtime(), Lane()):
        source.mkdir()
        kernel.mount(str(source), str(directory), flags=kernel.MS_BIND)
    else:
        kernel.mount("tmpfs", str(directory), "tmpfs")


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """Files of 0, 1 and 1000, with a file system below that has the same."""
    top = tmp_path / "volume"
    top.mkdir()
    mount_mappable(tmp_path / "volume-source", top)
    (top / "below").mkdir()
    mount_mappable(tmp_path / "below-source", top / "below")
    for directory in (top, top / "below"):
        directory.chmod(0o755)
        for owner in (0, 1, 1000):
            (directory / f"of-{owner}").write_text(f"{owner}\n")
            os.chown(directory / f"of-{owner}", owner, owner)
    yield top
    kernel.unmount(str(top / "below"))
    kernel.unmount(str(top))


def mapped(source: Path, *options: str, **properties: Any) -> dict[str, Any]:
    return {**mount("/mnt", "bind", str(source), *options), **properties}


def owners(c: Container, *files: str) -> list[str]:
    return c.shell("stat -c %u:%g " + " ".join(f"/mnt/{file}" for file in files)).split()


def test_mappings_of_the_mount(container: Make, volume: Path) -> None:
    c = container()
    c.bundle.writable()
    ids = {"uidMappings": mapping(0, 5000), "gidMappings": mapping(0, 6000)}
    c.bundle.mounts.append(mapped(volume, "bind", "idmap", **ids))
    assert owners(c, "of-0", "of-1", "of-1000") == ["5000:6000", "5001:6001", "6000:7000"]


def test_several_mappings(container: Make, volume: Path) -> None:
    c = container()
    c.bundle.writable()
    ids = [*mapping(0, 70, 1), *mapping(1, 80, 1)]
    c.bundle.mounts.append(mapped(volume, "bind", "idmap", uidMappings=ids, gidMappings=ids))
    # What is not mapped is the overflow id's.
    assert owners(c, "of-0", "of-1", "of-1000") == ["70:70", "80:80", "65534:65534"]


def test_mappings_alone_are_enough(container: Make, volume: Path) -> None:
    c = container()
    c.bundle.writable()
    ids = {"uidMappings": mapping(0, 5000), "gidMappings": mapping(0, 5000)}
    c.bundle.mounts.append(mapped(volume, "rbind", **ids))
    assert owners(c, "of-1", "below/of-1") == ["5001:5001", "1:1"]


@pytest.mark.parametrize(("option", "below"), [("idmap", "1:1"), ("ridmap", "5001:5001")])
def test_mounts_below(container: Make, volume: Path, option: str, below: str) -> None:
    c = container()
    c.bundle.writable()
    ids = {"uidMappings": mapping(0, 5000), "gidMappings": mapping(0, 5000)}
    c.bundle.mounts.append(mapped(volume, "rbind", option, **ids))
    assert owners(c, "of-1", "below/of-1") == ["5001:5001", below]


@pytest.mark.parametrize("option", ["idmap", "ridmap"])
def test_mapping_of_the_container(container: Make, volume: Path, option: str) -> None:
    c = in_user_namespace(container())
    (c.bundle.rootfs / "mnt").mkdir()
    c.bundle.mounts.append(mapped(volume, "rbind", option))
    below = "1:1" if option == "ridmap" else "65534:65534"
    assert owners(c, "of-0", "of-1000", "below/of-1") == ["0:0", "1000:1000", below]


def test_without_an_option_nothing_is_mapped(container: Make, volume: Path) -> None:
    c = in_user_namespace(container())
    (c.bundle.rootfs / "mnt").mkdir()
    c.bundle.mounts.append(mapped(volume, "rbind"))
    assert owners(c, "of-0", "below/of-0") == ["65534:65534", "65534:65534"]


def test_other_mapping_than_the_containers(container: Make, volume: Path) -> None:
    c = in_user_namespace(container())
    (c.bundle.rootfs / "mnt").mkdir()
    ids = {"uidMappings": mapping(0, FIRST + 10), "gidMappings": mapping(0, FIRST + 20)}
    c.bundle.mounts.append(mapped(volume, "bind", "idmap", **ids))
    assert owners(c, "of-0", "of-1") == ["10:20", "11:21"]


def test_same_mapping_as_the_containers(container: Make, volume: Path) -> None:
    c = in_user_namespace(container())
    (c.bundle.rootfs / "mnt").mkdir()
    ids = {"uidMappings": mapping(0, FIRST), "gidMappings": mapping(0, FIRST)}
    c.bundle.mounts.append(mapped(volume, "bind", "ridmap", **ids))
    assert owners(c, "of-1") == ["1:1"]


def test_mapping_of_a_joined_user_namespace(container: Make, volume: Path) -> None:
    holder = in_user_namespace(container()).created()
    c = in_user_namespace(container())
    c.bundle.namespace("user", f"/proc/{holder.pid}/ns/user")
    del c.bundle.linux["uidMappings"], c.bundle.linux["gidMappings"]
    c.bundle.namespace("network", f"/proc/{holder.pid}/ns/net")
    c.bundle.namespace("ipc", f"/proc/{holder.pid}/ns/ipc")
    c.bundle.namespace("pid", f"/proc/{holder.pid}/ns/pid")
    (c.bundle.rootfs / "mnt").mkdir()
    c.bundle.mounts.append(mapped(volume, "bind", "idmap"))
    assert owners(c, "of-0", "of-1000") == ["0:0", "1000:1000"]


def test_what_is_written_belongs_to_the_other_side(container: Make, volume: Path) -> None:
    c = in_user_namespace(container())
    (c.bundle.rootfs / "mnt").mkdir()
    c.bundle.capabilities("CAP_CHOWN")
    c.bundle.mounts.append(mapped(volume, "bind", "idmap"))
    c.shell("echo x >/mnt/new; chown 7:8 /mnt/new")
    found = (volume / "new").stat()
    assert (found.st_uid, found.st_gid) == (7, 8)


def test_source_stays_as_it_is(container: Make, volume: Path) -> None:
    c = container()
    c.bundle.writable()
    ids = {"uidMappings": mapping(0, 5000), "gidMappings": mapping(0, 5000)}
    c.bundle.mounts.append(mapped(volume, "rbind", "ridmap", **ids))
    c.run().ok()
    assert (volume / "of-1").stat().st_uid == 1
    assert (volume / "below/of-1").stat().st_uid == 1


def test_file_as_source(container: Make, volume: Path) -> None:
    c = in_user_namespace(container())
    c.bundle.mounts.append({**mapped(volume / "of-1", "bind", "idmap"), "destination": "/one"})
    assert c.shell("stat -c %u /one; cat /one").split() == ["1", "1"]


def test_attributes_and_propagation_go_along(container: Make, volume: Path) -> None:
    c = in_user_namespace(container())
    (c.bundle.rootfs / "mnt").mkdir()
    c.bundle.mounts.append(mapped(volume, "rbind", "ridmap", "rro", "nodev", "noexec", "rshared"))
    shown = c.facts().mounts()["/mnt"]
    assert {"ro", "nodev", "noexec", "idmapped"} <= shown["options"]
    assert shown["propagation"][0].startswith("shared:")


def test_source_from_an_earlier_mount(container: Make, volume: Path) -> None:
    """The source is what the container's mount namespace has there when its turn comes."""
    c = container()
    c.bundle.writable()
    (c.bundle.rootfs / "first").mkdir()
    ids = {"uidMappings": mapping(0, 5000), "gidMappings": mapping(0, 5000)}
    c.bundle.mounts.append(mount("/first", "bind", str(volume), "rbind"))
    c.bundle.mounts.append(mapped(c.bundle.rootfs / "first/below", "bind", "idmap", **ids))
    assert owners(c, "of-1") == ["5001:5001"]


def test_many(container: Make, volume: Path) -> None:
    c = in_user_namespace(container())
    for number in range(30):
        first = FIRST + number
        ids = {"uidMappings": mapping(0, first), "gidMappings": mapping(0, first)}
        entry = mapped(volume, "bind", "idmap", **ids)
        c.bundle.mounts.append({**entry, "destination": f"/many/{number}"})
    out = c.shell("for n in 0 1 7 29; do stat -c %u /many/$n/of-0; done; ls -d /many/* | wc -l")
    assert out.split() == ["0", "1", "7", "29", "30"]


@pytest.mark.parametrize("user_namespace", [False, True])
def test_file_system_that_cannot(container: Make, user_namespace: bool) -> None:
    c = in_user_namespace(container()) if user_namespace else container()
    ids = {"uidMappings": mapping(0, 5000), "gidMappings": mapping(0, 5000)}
    c.bundle.writable()
    c.bundle.mounts.append(mapped(Path("/proc/sys"), "bind", "idmap", **ids))
    c.create().failed("/mounts/7", "/proc/sys", "does not support id-mapped mounts")
    c.nothing_left()


@pytest.mark.parametrize(
    ("entry", "place"),
    [
        ({"options": ["bind", "idmap"]}, "/mounts/7"),
        ({"options": ["bind"], "uidMappings": mapping(0, 1)}, "/mounts/7/gidMappings"),
        ({"options": ["bind"], "gidMappings": mapping(0, 1)}, "/mounts/7/uidMappings"),
        (
            {"options": ["bind"], "uidMappings": mapping(0, 1, 0), "gidMappings": mapping(0, 1)},
            "/mounts/7/uidMappings",
        ),
        (
            {
                "options": ["bind"],
                "uidMappings": mapping(0, 1),
                "gidMappings": mapping(0, 2**32 - 2),
            },
            "/mounts/7/gidMappings",
        ),
        ({"type": "tmpfs", "options": ["idmap"]}, "/mounts/7"),
        ({"options": ["bind", "idmap=uids=0-1-1"]}, "/mounts/7/options"),
        ({"options": ["bind", "idmap=uids=0-1;gids=0-1-1"]}, "/mounts/7/options"),
        ({"options": ["bind", "idmap=uids=0-1-1;gids=0-1-1;gids=0-1-1"]}, "/mounts/7/options"),
        ({"options": ["bind", "idmap=uids=@0-1-1;gids=@0-1-1"]}, "/mounts/7/options"),
    ],
)
def test_refused(container: Make, volume: Path, entry: dict[str, Any], place: str) -> None:
    c = container()
    c.bundle.mounts.append({**mapped(volume), **entry})
    c.create().failed(place)
    c.nothing_left()


def test_overlapping_mappings(container: Make, volume: Path) -> None:
    """For the kernel to say."""
    c = container()
    ids = [*mapping(0, 70, 10), *mapping(5, 800, 10)]
    c.bundle.mounts.append(mapped(volume, "bind", "idmap", uidMappings=ids, gidMappings=ids))
    c.create().failed("/mounts/7", "gid_map")
    c.nothing_left()


@pytest.mark.needs("runtime:pyrunc")
def test_mappings_in_the_option(container: Make, volume: Path) -> None:
    """As podman asks crun for them."""
    c = container()
    c.bundle.writable()
    c.bundle.mounts.append(mapped(volume, "rbind", "ridmap=uids=0-70-1#1-80-1;gids=0-90-10"))
    assert owners(c, "of-0", "of-1", "below/of-1") == ["70:90", "80:91", "80:91"]


@pytest.mark.needs("runtime:pyrunc")
def test_mappings_in_the_option_relative_to_the_container(container: Make, volume: Path) -> None:
    c = in_user_namespace(container())
    (c.bundle.rootfs / "mnt").mkdir()
    c.bundle.mounts.append(mapped(volume, "bind", "idmap=uids=@0-3-10;gids=@0-4-10"))
    assert owners(c, "of-0", "of-1") == ["3:4", "4:5"]


def test_source_that_the_containers_root_may_not_enter(container: Make, tmp_path: Path) -> None:
    """An engine's volumes are the host root's; that the container cannot get there is no reason to fail."""
    c = in_user_namespace(container())
    inner = tmp_path / "closed/volume"
    inner.mkdir(parents=True)
    (inner / "file").write_text("got in\n")
    (tmp_path / "closed").chmod(0o700)
    (c.bundle.rootfs / "mnt").mkdir()
    c.bundle.mounts.append(mount("/mnt", "bind", str(inner), "rbind", "ro", "nosuid"))
    c.bundle.mounts.append(mount("/file", "bind", str(inner / "file"), "bind"))
    assert c.shell("cat /mnt/file /file") == "got in\ngot in"
    assert {"ro", "nosuid"} <= c.facts().mounts()["/mnt"]["options"]


def test_mount_alone_of_several(container: Make, volume: Path) -> None:
    """What is mounted below is locked to its place in the copy that a user namespace has."""
    c = in_user_namespace(container())
    (c.bundle.rootfs / "mnt").mkdir()
    c.bundle.mounts.append(mount("/mnt", "bind", str(volume), "bind"))
    assert c.shell("ls /mnt/below; cat /mnt/of-0") == "0"


def test_source_in_a_closed_directory_that_is_not_there(container: Make, tmp_path: Path) -> None:
    c = in_user_namespace(container())
    (tmp_path / "closed").mkdir(mode=0o700)
    c.bundle.mounts.append(mount("/mnt", "bind", str(tmp_path / "closed/none"), "rbind"))
    c.create().failed("/mounts/7", "closed/none")
    c.nothing_left()
