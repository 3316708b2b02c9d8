"""Numbers with their nouns, for messages."""


def counted(number: float, noun: str, plural: str = "") -> str:
    """A number with its noun: `1 trial`, `2,000 trials`. `plural`: of a noun that does not take an s."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"
