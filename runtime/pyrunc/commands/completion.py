"""completion: print a shell's completion script, made from the table of commands."""

from __future__ import annotations

from pyrunc import output
from pyrunc.errors import UsageFailure
from pyrunc.verbs import FLAG, NAMES, Option, find, global_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.cli import Request


def run(request: Request) -> int:
    shell = request.args[0]
    if shell not in SHELLS:
        raise UsageFailure(f'no completion for shell "{shell}": bash, zsh or fish')
    output.write(SHELLS[shell]())
    return 0


def _words(options: list[Option]) -> list[str]:
    return [
        ("--" if len(name) > 1 else "-") + name
        for option in options
        if not option.hidden
        for name in option.names
    ]


def _with_value(options: list[Option]) -> list[str]:
    """The options after which a word belongs to them."""
    return _words([option for option in options if option.kind != FLAG])


def _verbs_with_id() -> list[str]:
    return [name for name in NAMES if (verb := find(name)) is not None and verb.takes_id]


def bash() -> str:
    """Return the script for bash: options, commands, and the ids of containers that exist."""
    cases = ""
    for name in NAMES:
        verb = find(name)
        if verb is not None:
            cases += f"        {name}) words='{' '.join(_words(verb.options))}' ;;\n"
    globals_ = global_options()
    return f"""\
# bash completion for pyrunc
_pyrunc() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} command= words= index word root=
    for ((index = 1; index < COMP_CWORD; index++)); do
        word=${{COMP_WORDS[index]}}
        case $word in
        --root) root=${{COMP_WORDS[index + 1]}} ;;
        esac
        case $word in
        {"|".join(_with_value(globals_))}) ((index++)) ;;
        -*) ;;
        *) command=$word; break ;;
        esac
    done
    case $command in
        '') words='{" ".join([*_words(globals_), *NAMES, "help"])}' ;;
{cases}    esac
    if [[ $current != -* ]]; then
        case $command in
        '') ;;
        {"|".join(_verbs_with_id())}) words=$(pyrunc ${{root:+--root "$root"}} list --quiet 2>/dev/null) ;;
        *) words= ;;
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$current"))
    [[ ${{#COMPREPLY[@]}} -gt 0 || $current == -* ]] || COMPREPLY=($(compgen -f -- "$current"))
}}
complete -F _pyrunc pyrunc
"""


def zsh() -> str:
    """Return the script for zsh, to be put into a directory of $fpath as _pyrunc."""
    commands = "".join(
        f"        {_quote(f'{name}:{verb.summary}')}\n"
        for name in NAMES
        if (verb := find(name)) is not None
    )
    cases = ""
    for name in NAMES:
        verb = find(name)
        if verb is None:
            continue
        last = "'*:container:_pyrunc_ids'" if verb.takes_id else "'*:file:_files'"
        cases += f"    {name}) _arguments {_zsh_options(verb.options)} {last} ;;\n"
    return f"""\
#compdef pyrunc
# zsh completion for pyrunc
_pyrunc_ids() {{
    compadd -- ${{(f)"$(pyrunc list --quiet 2>/dev/null)"}}
}}
_pyrunc() {{
    local -a commands
    local state line
    commands=(
{commands}    )
    _arguments -C {_zsh_options(global_options())} '1:command:->command' '*::argument:->argument'
    case $state in
    command) _describe command commands; return ;;
    esac
    case $words[1] in
{cases}    esac
}}
_pyrunc "$@"
"""


def _zsh_options(options: list[Option]) -> str:
    specs = []
    for option in options:
        if option.hidden:
            continue
        text = option.text.replace("[", "(").replace("]", ")").replace(":", ",")
        value = "" if option.kind == FLAG else f":{option.value}:_files"
        for name in option.names:
            dashed = ("--" if len(name) > 1 else "-") + name
            specs.append(_quote(f"{dashed}[{text}]{value}"))
    return " ".join(specs)


def fish() -> str:
    """Return the script for fish."""
    lines = ["# fish completion for pyrunc", "complete -c pyrunc -f"]
    for option in global_options():
        lines += _fish_option(option, "__fish_use_subcommand")
    for name in NAMES:
        verb = find(name)
        if verb is None:
            continue
        lines.append(
            f"complete -c pyrunc -n __fish_use_subcommand -a {name} -d {_fish_quote(verb.summary)}"
        )
        seen = f"'__fish_seen_subcommand_from {name}'"
        for option in verb.options:
            lines += _fish_option(option, seen)
        if verb.takes_id:
            lines.append(f"complete -c pyrunc -n {seen} -a '(pyrunc list --quiet 2>/dev/null)'")
        elif verb.maximum:
            lines.append(f"complete -c pyrunc -n {seen} -F")
    return "\n".join(lines) + "\n"


def _fish_option(option: Option, condition: str) -> list[str]:
    if option.hidden:
        return []
    names = " ".join(f"-l {name}" if len(name) > 1 else f"-s {name}" for name in option.names)
    takes = "" if option.kind == FLAG else " -r -F"
    return [f"complete -c pyrunc -n {condition} {names}{takes} -d {_fish_quote(option.text)}"]


def _quote(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _fish_quote(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


SHELLS = {"bash": bash, "zsh": zsh, "fish": fish}
