"""Numbers with nouns, for messages."""


def counted(number: float, noun: str, plural: str = "") -> str:
    """A number with its noun: `1 trial`, `2,000 trials`. `plural`: for a noun with an irregular plural."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"
