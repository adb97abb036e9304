"""Rotation: lengths stay, relative positions decide, both conventions agree."""

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine_checkpoints import SCALING, small_config
from pagelet_engine.model.rope import (
    interleave_heads,
    inverse_frequencies,
    rotate,
    rotations,
)

FREQUENCIES = inverse_frequencies(small_config())


def test_a_quarter_turn_moves_x_to_y():
    turn = torch.polar(torch.ones(1, 1, 1), torch.full((1, 1, 1), math.pi / 2))
    torch.testing.assert_close(
        rotate(torch.tensor([[[1.0, 0.0]]]), turn), torch.tensor([[[0.0, 1.0]]])
    )


def test_frequencies_fall_from_one_by_the_power_law():
    torch.testing.assert_close(FREQUENCIES[0], torch.tensor(1.0))
    torch.testing.assert_close(FREQUENCIES[4], torch.tensor(10_000.0**-0.5))


@given(st.integers(0, 1000), st.integers(0, 1000), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_scores_depend_on_the_distance_only(first: int, second: int, shift: int):
    generator = torch.Generator().manual_seed(first * 7 + second)
    heads = torch.randn(2, 1, 16, generator=generator, dtype=torch.float32)
    scores = []
    for offset in (0, shift):
        positions = torch.tensor([first + offset, second + offset])
        query, key = rotate(heads, rotations(positions, FREQUENCIES))
        scores.append((query * key).sum())
    torch.testing.assert_close(scores[0], scores[1], rtol=1e-3, atol=2e-3)


def test_interleaving_puts_the_halves_side_by_side_in_every_head():
    rows = torch.arange(8).view(8, 1)
    assert interleave_heads(rows, 4).flatten().tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


def test_scaling_keeps_short_waves_and_slows_long_ones():
    scaled = inverse_frequencies(small_config(rope_scaling=SCALING))
    torch.testing.assert_close(scaled[0], FREQUENCIES[0])
    torch.testing.assert_close(scaled[-1], FREQUENCIES[-1] / SCALING.factor)
    assert (scaled <= FREQUENCIES).all()
