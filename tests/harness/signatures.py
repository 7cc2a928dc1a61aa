"""Decides how tests spell the types of the fixtures that make things; must not define fixtures."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

from harness.container import Container
from harness.runtime import Result

Make = Callable[..., Container]
Popen = Callable[..., subprocess.Popen[bytes]]
Call = Callable[..., Result]
