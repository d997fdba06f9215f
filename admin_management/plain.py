"""What others have written, as logs and terminals can show it."""


def plain(text: str) -> str:
    """On one line, with nothing that a terminal obeys."""
    return text if text.isprintable() else "".join(map(_plain_character, text))


def _plain_character(character: str) -> str:
    if character.isprintable():
        return character
    return " " if character.isspace() else "\N{REPLACEMENT CHARACTER}"
