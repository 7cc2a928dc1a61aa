#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs one command as root in a virtual machine that is thrown away; must not know what the command tests.

usage: conformance/vm/machine.py [OPTION...] -- COMMAND [ARGUMENT...]

The machine is what conformance/vm/image.sh made: systemd as process 1, AppArmor, and all controllers of cgroup v2.
The command's standard output and error come out as they are written; its standard input is empty.
  --image DIRECTORY        what image.sh filled (default: $PYRUNC_VM, or build/vm)
  --share HOST:GUEST[:ro]  a directory of the host in the guest, live; the command begins in the first; may be repeated
  --env NAME=VALUE         may be repeated
  --cgroups v2|v1|hybrid   which hierarchies systemd mounts (default v2)
  --selinux                SELinux, permissive, instead of AppArmor
  --append WORDS           for the kernel's command line
  --memory MIB             (default 2048)
  --cpus NUMBER            (default 2)
  --accelerator kvm|tcg    (default: kvm where the processor has it)
  --timeout SECONDS        for everything (default 600)
  --console FILE           keeps what the guest says on its serial console

Exit status: the command's (128+N when signal N ended it); 124 after the timeout; 125 when the machine could not run it.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import io
import os
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import NamedTuple, NoReturn

TIMED_OUT, FAILED = 124, 125
# From the start of qemu to that of the command: 10 s with tcg, three minutes on a host that is busy with much else.
BOOT_SECONDS = 300
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET = 0x20000, 0x20000000, 0x40000000
MS_SLAVE, MS_REC = 0x80000, 0x4000
libc = ctypes.CDLL(None, use_errno=True)


class Failure(Exception):
    """The machine could not run the command."""


class Interrupted(BaseException):
    """A signal or the timeout ended the run; `args[0]` is the exit status."""


class Share(NamedTuple):
    tag: str
    host: str
    guest: str
    mode: str


def say(text: str) -> None:
    for line in text.splitlines():
        print(f"machine.py: {line}", file=sys.stderr, flush=True)


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Failure(message)


def read_arguments(words: list[str]) -> argparse.Namespace:
    default = os.environ.get("PYRUNC_VM") or Path(__file__).resolve().parents[2] / "build" / "vm"
    parser = Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("--help", action="store_true")
    parser.add_argument("--image", type=Path, default=Path(default))
    parser.add_argument("--share", action="append", default=[])
    parser.add_argument("--env", action="append", default=[])
    parser.add_argument("--cgroups", choices=("v2", "v1", "hybrid"), default="v2")
    parser.add_argument("--selinux", action="store_true")
    parser.add_argument("--append", default="")
    parser.add_argument("--memory", type=int, default=2048)
    parser.add_argument("--cpus", type=int, default=2)
    parser.add_argument("--accelerator", choices=("kvm", "tcg"))
    parser.add_argument("--timeout", type=float, default=600)
    parser.add_argument("--console")
    end = words.index("--") if "--" in words else len(words)
    arguments = parser.parse_args(words[:end])
    if arguments.help:
        print(__doc__)
        sys.exit(0)
    arguments.command = words[end + 1 :]
    if not arguments.command:
        raise Failure("no command")
    shares = []
    for number, text in enumerate(arguments.share):
        host, guest, mode = (*text.split(":"), "rw", "rw")[:3]
        if not os.path.isdir(host) or not guest.startswith("/") or mode not in ("ro", "rw"):
            raise Failure(f"--share {text}: not DIRECTORY:/GUEST[:ro]")
        shares.append(Share(f"share{number}", os.path.realpath(host), guest, mode))
    arguments.share = shares
    for name in ("root.ext4", "vmlinuz"):
        if not (arguments.image / name).is_file():
            raise Failure(f"{arguments.image} has no {name}: make it by conformance/vm/image.sh")
    return arguments


def program(*names: str) -> str:
    for name in names:
        if path := shutil.which(name):
            return path
    raise Failure(f"{names[0]} is not installed (Debian: qemu-system-x86)")


def accelerator() -> str:
    """kvm only where the processor virtualizes: /dev/kvm alone may be of a kind that boots no ordinary kernel."""
    with open("/proc/cpuinfo") as file:
        flags = next((line for line in file if line.startswith("flags")), "").split()
    if {"vmx", "svm"} & set(flags) and os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "kvm"
    return "tcg"


def can_unshare() -> bool:
    """Whether virtiofsd can have namespaces of its own, which it cannot in a chroot."""
    pid = os.fork()
    if pid == 0:
        done = (
            libc.unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID) == 0
            and libc.mount(None, b"/", None, ctypes.c_ulong(MS_REC | MS_SLAVE), None) == 0
        )
        os._exit(0 if done else 1)
    return os.waitpid(pid, 0)[1] == 0


def write_job(arguments: argparse.Namespace, path: Path) -> None:
    """The tar file that guest-job finds on the second disk."""
    lines = ["#!/bin/bash"]
    for text in arguments.env:
        name, _, value = text.partition("=")
        lines.append(f"export {name}={shlex.quote(value)}")
    place = arguments.share[0].guest if arguments.share else "/root"
    lines += [
        f"cd {shlex.quote(place)} || exit {FAILED}",
        "exec -- " + shlex.join(arguments.command),
    ]
    shares = "".join(f"{one.tag} {one.mode} {one.guest}\n" for one in arguments.share)
    with tarfile.open(path, "w") as tar:
        for name, text in (("job", "\n".join(lines) + "\n"), ("shares", shares)):
            data = os.fsencode(text)
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))


def kernel_words(arguments: argparse.Namespace, kind: str) -> str:
    words = "root=/dev/nvme0n1 rootfstype=ext4 rw console=ttyS0 quiet loglevel=3 panic=-1 oops=panic net.ifnames=0"
    # A guest that is thrown away needs no hardening that costs time.
    words += " nowatchdog random.trust_cpu=on no_timer_check mitigations=off systemd.show_status=0"
    if kind == "tcg":
        words += (
            " tsc=reliable"  # otherwise another, slower clock as soon as there are two processors
        )
    if arguments.cgroups == "v2":
        words += " systemd.unified_cgroup_hierarchy=1"
    else:
        legacy = int(arguments.cgroups == "v1")
        words += (
            f" systemd.unified_cgroup_hierarchy=0 systemd.legacy_systemd_cgroup_controller={legacy}"
        )
    words += (
        " security=selinux selinux=1 enforcing=0"
        if arguments.selinux
        else " security=apparmor apparmor=1"
    )
    return f"{words} {arguments.append}"


class Machine:
    """One boot of the guest; everything that belongs to it ends with the `with` block."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.directory = Path(tempfile.mkdtemp(prefix="machine."))
        self.processes: list[subprocess.Popen[bytes]] = []
        self.pipes: dict[str, int] = {}
        self.started = False
        self.boot_end = time.monotonic() + BOOT_SECONDS

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *_: object) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
            signal.signal(number, signal.SIG_IGN)
        for process in reversed(self.processes):
            process.kill()
        for process in self.processes:
            process.wait()
        # virtiofsd's child ends with it, and is ours to wait for; but not for ever.
        end = time.monotonic() + 5
        with contextlib.suppress(ChildProcessError):
            while time.monotonic() < end:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    time.sleep(0.01)
        if self.arguments.console:
            with contextlib.suppress(OSError):
                shutil.copyfile(self.directory / "console", self.arguments.console)
        shutil.rmtree(self.directory, ignore_errors=True)

    def spawn(self, words: list[str], fds: list[int], log: str) -> None:
        def prepare() -> None:
            # Ends with this process, however that ends, and is out of reach of the terminal's signals.
            os.setsid()
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

        with (self.directory / log).open("wb") as file:
            self.processes.append(
                subprocess.Popen(
                    words, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                    pass_fds=fds, preexec_fn=prepare, cwd="/",
                )
            )  # fmt: skip

    def serve(self, share: Share) -> int:
        """Starts a file server; returns qemu's end of the connection with it."""
        daemon = program("/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd", "virtiofsd")
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
            server.bind("")  # an abstract name that nobody uses: no file to wait for
            server.listen(1)
            client.connect(server.getsockname())
            fd = server.fileno()
            sandbox = "namespace" if can_unshare() else "chroot"
            # The limit of open files is left alone: raising it takes CAP_SYS_RESOURCE.
            words = [daemon, f"--fd={fd}", "--rlimit-nofile=0"]
            if daemon.startswith("/usr/lib/qemu/"):  # the one of Debian 12
                source = share.host.replace("\\", "\\\\").replace(",", "\\,")
                options = f"cache=auto,xattr,log_level=err,sandbox={sandbox}"
                words += ["-f", "-o", options, "-o", f"source={source}"]
            else:
                words += [f"--shared-dir={share.host}", "--cache=auto", "--xattr", f"--sandbox={sandbox}"]  # fmt: skip
            self.spawn(words, [fd], f"{share.tag}.log")
        return client.detach()

    def start(self) -> None:
        arguments = self.arguments
        kind = arguments.accelerator or accelerator()
        job = self.directory / "job.tar"
        write_job(arguments, job)
        disk = str(arguments.image / "root.ext4").replace(",", ",,")
        words = [
            program("qemu-system-x86_64"),
            *"-nodefaults -no-user-config -display none -no-reboot -monitor none".split(),
            *("-m", str(arguments.memory), "-smp", str(arguments.cpus)),
            *("-machine", "q35,usb=off,vmport=off,smbus=off,sata=off,hpet=off,memory-backend=ram"),
            *("-object", f"memory-backend-memfd,id=ram,share=on,size={arguments.memory}M"),
            *("-accel", "kvm" if kind == "kvm" else "tcg,thread=multi,tb-size=512"),
            *("-cpu", "host" if kind == "kvm" else "max,la57=off"),
            *("-kernel", str(arguments.image / "vmlinuz"), "-append", kernel_words(arguments, kind)),
            *("-serial", f"file:{self.directory / 'console'}"),
            # What the guest writes goes to a temporary file.
            *("-drive", f"if=none,id=root,format=raw,snapshot=on,cache=unsafe,file={disk}"),
            *("-device", "nvme,drive=root,serial=root"),
            *("-drive", f"if=none,id=job,format=raw,readonly=on,file={job}"),
            *("-device", "nvme,drive=job,serial=job", "-device", "virtio-serial-pci,max_ports=8"),
        ]  # fmt: skip
        fds = []
        for number, name in enumerate(("out", "err", "told"), 1):
            self.pipes[name], fd = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(self.pipes[name], False)
            fds.append(fd)
            # Without append qemu would truncate, which a pipe refuses.
            words += ["-add-fd", f"fd={fd},set={number}"]
            words += ["-chardev", f"file,id={name},path=/dev/fdset/{number},append=on"]
            words += ["-device", f"virtserialport,chardev={name},name=guest.{name}"]
        for share in arguments.share:
            fds.append(self.serve(share))
            words += ["-chardev", f"socket,id={share.tag},fd={fds[-1]}"]
            words += ["-device", f"vhost-user-fs-pci,chardev={share.tag},tag={share.tag},queue-size=1024"]  # fmt: skip
        self.spawn(words, fds, "qemu.log")
        for fd in fds:  # so that the pipes end with qemu
            os.close(fd)

    def failure(self, text: str) -> Failure:
        """With what the parts said last."""
        parts = [text]
        for log in (*sorted(self.directory.glob("*.log")), self.directory / "console"):
            text = log.read_text(errors="replace").strip() if log.exists() else ""
            if text:
                parts += [f"--- the end of {log.name}:", *text.split("\n")[-15:]]
        return Failure("\n".join(parts))

    def copy(self, name: str) -> bytes | None:
        """Takes on what the pipe has; returns what guest-job told, b"" for nothing, None at the end."""
        try:
            data = os.read(self.pipes[name], 65536)
        except BlockingIOError:
            return b""
        if not data:
            return None
        if name == "told":
            return data
        stream = sys.stdout.buffer if name == "out" else sys.stderr.buffer
        stream.write(data)
        stream.flush()
        return b""

    def wait(self) -> int:
        """Copies output until the guest tells the command's exit status."""
        names = {fd: name for name, fd in self.pipes.items()}
        poll = select.poll()
        for fd in names:
            poll.register(fd, select.POLLIN)
        told = b""
        while names:
            if not self.started and time.monotonic() > self.boot_end:
                raise self.failure(f"the command has not started after {BOOT_SECONDS} s")
            for fd, _ in poll.poll(1000):
                data = self.copy(names[fd])
                if data is None:
                    poll.unregister(fd)
                    del names[fd]
                told += data or b""
            while b"\n" in told:
                line, _, told = told.partition(b"\n")
                word, _, rest = line.decode(errors="replace").partition(" ")
                if word == "START":
                    self.started = True
                elif word == "EXIT":
                    for name in ("out", "err"):  # all of it was handed over before
                        os.set_blocking(self.pipes[name], False)
                        while select.select([self.pipes[name]], [], [], 0)[0]:
                            if self.copy(name) is None:
                                break
                    return int(rest)
                else:
                    raise self.failure(f"the guest: {rest}")
        raise self.failure("the guest ended without a result")


def main(words: list[str]) -> int:
    def interrupt(number: int, _: object) -> None:
        raise Interrupted(TIMED_OUT if number == signal.SIGALRM else 128 + number)

    try:
        arguments = read_arguments(words)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
            signal.signal(number, interrupt)
        signal.setitimer(signal.ITIMER_REAL, arguments.timeout)
        libc.prctl(PR_SET_CHILD_SUBREAPER, 1)  # what virtiofsd leaves comes here
        with Machine(arguments) as machine:
            machine.start()
            return machine.wait()
    except (Failure, OSError) as failure:
        say(str(failure))
        return FAILED
    except Interrupted as interruption:
        if interruption.args[0] == TIMED_OUT:
            say(f"not done after {arguments.timeout:g} s")
        return int(interruption.args[0])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
