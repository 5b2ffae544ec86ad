"""Spellings of the words in NFS-Ganesha's configuration: a start with 10,000 exports takes seconds, not minutes.

Ganesha 4.3 keeps the words of one load, each spelling once, in a list with the newest in front, and searches it word by
word (src/config_parsing/analyse.c, save_token): ``EXPORT``, which every block has, is found behind the paths and
addresses of all blocks before it. It compares to the letter there, but ignores case where it asks what a word means.
So the words are written in another case in each of our files: the first block of a file puts them in front again,
and the next ones find them there. Short words have fewer spellings, of which each serves for several files.

A word in quotation marks never equals one in the list, so paths have them only where they must.
"""

from __future__ import annotations

import re

LONGEST = 8  # letters that vary: 256 spellings, one for each file
WORD = re.compile(r"(?<!%)\b[A-Za-z][A-Za-z0-9_]*\b|\b0x[a-f]+\b")
# What Ganesha's scanner reads as a path without quotation marks, and never as a number or an address
PLAIN_PATH = re.compile(r"(/[A-Za-z0-9._-]+){2,}")


def respelled(text: str, number: int, count: int) -> str:
    """`text` as file `number` of `count` writes it: every word, and hexadecimal number, in that file's case.

    Neighbours have the same spelling where a word has fewer than `count`. ``%s`` and the like stay.
    """
    return WORD.sub(lambda found: _spelled(found[0], number, count), text)


def _spelled(word: str, number: int, count: int) -> str:
    places = [place for place, char in enumerate(word) if char.isalpha() and (word[0] != "0" or place > 1)][:LONGEST]
    spelling = number * 2 ** len(places) // count
    letters = list(word)
    for bit, place in enumerate(places):
        letters[place] = word[place].upper() if spelling >> bit & 1 else word[place].lower()
    return "".join(letters)


def quoted(path: str) -> str:
    """The path as Ganesha reads it back."""
    return path if PLAIN_PATH.fullmatch(path) else f'"{path}"'
