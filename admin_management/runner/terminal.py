"""Output without what a terminal obeys."""

import re

# ECMA-48 control sequences, operating system commands, and the shorter escapes of ECMA-35
_ESCAPES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|[ -/]*[0-~])")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def harmless(line: str) -> str:
    """Without escape sequences; each other control character becomes U+FFFD."""
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", _ESCAPES.sub("", line))
