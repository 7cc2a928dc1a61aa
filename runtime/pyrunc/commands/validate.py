"""validate: check a config.json and tell every problem with its place."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.cli import Request


def run(request: Request) -> int:
    from pyrunc import output
    from pyrunc.spec import load
    from pyrunc.spec.explain import explain

    bundle = request.options["bundle"]
    path = request.args[0] if request.args else f"{bundle}/config.json"
    name = path.removeprefix("./")
    problems = explain(load.parse(load.read(path, name), name))
    failed = any(problem.level == "error" for problem in problems)
    lines = [f"{problem.level}: {problem}" for problem in problems]
    if not failed:
        lines.append("valid")
    output.write("".join([line + "\n" for line in lines]))
    return 1 if failed else 0
