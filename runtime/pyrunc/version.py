"""Say which version this is.

It must not read anything: the build writes COMMIT into the executable and the wheel.
"""

VERSION = "0.1.0"
SPEC_VERSION = "1.3.0"
COMMIT = ""
