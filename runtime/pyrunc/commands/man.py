"""man: print a manual page in the format of man(7), made from the table of commands."""

from __future__ import annotations

from pyrunc import output
from pyrunc.errors import UsageFailure
from pyrunc.verbs import FLAG, NAMES, Option, find, global_options
from pyrunc.version import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.cli import Request

_DESCRIPTION = """\
pyrunc makes and runs containers from bundles, as the runtime specification of the Open Container
Initiative has it: a directory with a file config.json that describes the container, and a root
file system. podman, docker, containerd and CRI-O call it; so can people."""


def run(request: Request) -> int:
    topic = request.args[0] if request.args else ""
    if topic and find(topic) is None:
        raise UsageFailure(f"no manual page for '{topic}'", exit_status=3)
    output.write(page(topic))
    return 0


def page(topic: str) -> str:
    """Return pyrunc(8), or pyrunc-TOPIC(8)."""
    return _verb_page(topic) if topic else _main_page()


def _main_page() -> str:
    commands = ""
    for name in NAMES:
        verb = find(name)
        if verb is not None:
            commands += f".TP\n.BR pyrunc-{_roff(name)} (8)\n{_line(verb.summary)}\n"
    others = ",\n".join(f".BR pyrunc-{_roff(name)} (8)" for name in NAMES)
    return (
        f'.TH PYRUNC 8 "" "pyrunc {VERSION}"\n.SH NAME\npyrunc \\- run OCI containers\n'
        '.SH SYNOPSIS\n.B pyrunc\n.RI [ global-options ] " command " [ options ] " " [ arguments ]\n'
        f".SH DESCRIPTION\n{_text(_DESCRIPTION)}\n"
        f".SH COMMANDS\n{commands}"
        f".SH GLOBAL OPTIONS\n{_options(global_options())}"
        ".SH EXIT STATUS\n0, or 1 for a failure. run and exec end with the status of the process, "
        "128 + N when signal N killed it; failures of exec itself are 255.\n"
        f".SH SEE ALSO\n{others}\n"
    )


def _verb_page(name: str) -> str:
    from pyrunc.help import description, examples

    verb = find(name)
    assert verb is not None
    usage = f"[options] {verb.usage}".strip()
    return (
        f'.TH PYRUNC-{_roff(name.upper())} 8 "" "pyrunc {VERSION}"\n'
        f".SH NAME\npyrunc-{_roff(name)} \\- {_roff(verb.summary)}\n"
        f".SH SYNOPSIS\n.B pyrunc {_roff(name)}\n{_line(usage)}\n"
        f".SH DESCRIPTION\n{_text(description(name))}\n"
        f".SH OPTIONS\n{_options(verb.options)}"
        f".SH EXAMPLES\n.nf\n{_text(examples(name))}\n.fi\n"
        ".SH SEE ALSO\n.BR pyrunc (8)\n"
    )


def _options(options: list[Option]) -> str:
    text = ""
    for option in options:
        if option.hidden:
            continue
        names = ", ".join(
            "\\fB" + _roff(("--" if len(name) > 1 else "-") + name) + "\\fR"
            for name in option.names
        )
        value = "" if option.kind == FLAG else f" \\fI{_roff(option.value)}\\fR"
        text += f".TP\n{names}{value}\n{_line(option.text)}\n"
    return text


def _roff(text: str) -> str:
    """Escape what roff would take for its own: backslashes, and hyphens that are minus signs."""
    return text.replace("\\", "\\e").replace("-", "\\-")


def _line(text: str) -> str:
    """Return one line of text; a leading dot or apostrophe would be a request."""
    escaped = _roff(text)
    return "\\&" + escaped if escaped[:1] in (".", "'") else escaped


def _text(text: str) -> str:
    return "\n".join(_line(line) for line in text.splitlines())
