"""Cutting long texts: nothing is lost, and every piece fits."""

from hypothesis import given
from hypothesis import strategies as st

from app.notify.notifier import cut, length


def test_an_emoji_counts_two():
    assert length("a🚢") == 3


def test_a_short_text_stays_whole():
    assert cut("short", 5) == ["short"]
    assert cut("", 5) == [""]


def test_a_text_is_cut_at_the_end_of_a_line_or_word():
    assert cut("one two\nthree four", 10) == ["one two", "three four"]
    assert cut("one two three", 9) == ["one two", "three"]


@given(st.text(alphabet="ab 🚢\n", max_size=200), st.integers(min_value=2, max_value=50))
def test_every_piece_fits_and_nothing_but_space_is_lost(text: str, longest: int):
    pieces = cut(text, longest)

    assert all(length(piece) <= longest for piece in pieces)
    assert "".join("".join(pieces).split()) == "".join(text.split())
