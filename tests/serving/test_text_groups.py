"""Texts that are computed together are of about one length, and every text is computed once."""

from __future__ import annotations

import random

from lightning_tl.serving.models.text_reader import TextReader


def test_groups_share_out_all_texts_by_length() -> None:
    draw = random.Random(1)
    reader = object.__new__(TextReader)  # groups go by lengths alone
    for _ in range(200):
        prepared = [([7] * draw.randint(1, 40), [0]) for _ in range(draw.randint(1, 20))]
        groups = reader.groups(prepared)
        assert sorted(place for group in groups for place in group) == list(range(len(prepared)))
        for group in groups:
            lengths = [len(prepared[place][0]) for place in group]
            assert min(lengths) >= 0.75 * max(lengths)
    assert len(reader.groups([([7] * 9, [0])] * 5)) == 1
