"""Know how far the interpreter that runs us is initialised.

It must not import anything that a core-initialised interpreter cannot.
"""

from __future__ import annotations

import sys


def initialize_main() -> None:
    """Complete a core-initialised interpreter; do nothing in a complete one.

    Afterwards `print`, `open`, sys.stdout and imports from files work. It costs more than a
    whole hot verb: only verbs that want the cold modules call it.
    """
    if "_pyrunc_interpreter" in sys.builtin_module_names:
        import _pyrunc_interpreter

        _pyrunc_interpreter.initialize_main()
