"""The prompts that parity is tried on when the user gives none: 20, of mixed kinds and lengths.

Prose, code, numbers, lists, other languages, and a few long ones, since an error in positions or
in the paged cache shows only past a few blocks.
"""

_PASSAGE = (
    "The harbour lies below the old town. Boats come in with the morning tide and leave with the "
    "evening one; between the two the quay belongs to cats, crates and people who mend nets. "
)
_LEDGER = "".join(f"Row {n}: {n * 17 % 101} apples, {n * 31 % 97} pears. " for n in range(1, 41))

PROMPTS: tuple[str, ...] = (
    "The capital of France is",
    "Water boils at",
    "1, 2, 3, 5, 8, 13,",
    "def fibonacci(n):\n    ",
    "SELECT name, count(*) FROM visits",
    "Once upon a time there was a lighthouse keeper who",
    "Translate to German: Good morning, how are you?\n",
    "La ville de Lyon se trouve",
    "The three primary colours are",
    '{"name": "Ada", "born": 1815, "known for": "',
    "Question: What is 12 times 12?\nAnswer:",
    "The opposite of cold is",
    "To bake bread you need flour, water, salt and",
    "import asyncio\n\nasync def main():\n    ",
    "Dear Sir or Madam,\n\nI am writing to",
    "Photosynthesis is the process by which",
    _PASSAGE * 2 + "In the afternoon",
    _PASSAGE * 6 + "At night",
    _LEDGER + "Row 41:",
    _PASSAGE * 12 + "Summary of the text above in one sentence:",
)
