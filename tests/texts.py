"""Texts as examples for property tests."""

from __future__ import annotations

from hypothesis import strategies as st

# All that UTF-8 can write, as `st.text` by default; by its codec, hypothesis takes a second and a half to find it out,
# in each test process of a fresh clone.
CHARACTERS = st.characters(exclude_categories=["Cs"])


def texts(*, min_size: int = 0, max_size: int | None = None) -> st.SearchStrategy[str]:
    """Any texts."""
    return st.text(CHARACTERS, min_size=min_size, max_size=max_size)
