"""Numbers with their nouns, for messages."""


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """The number and its noun.

    >>> counted(1, "file"), counted(1200, "file"), counted(2, "is", "are")
    ('1 file', '1,200 files', '2 are')
    """
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"
