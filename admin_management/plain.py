"""What others have written, as logs and terminals can show it."""


def plain(text: str) -> str:
    """On one line, with nothing that a terminal obeys."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)
