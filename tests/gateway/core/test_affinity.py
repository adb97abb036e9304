import math
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from pagelet_gateway.core.affinity import (
    BLOCK_BYTES,
    LOAD_FACTOR,
    MAX_BLOCKS,
    Affinity,
    chain,
)

URLS = [f"http://e{i}" for i in range(5)]
IDLE = dict.fromkeys(URLS, 0)


def prompt(seed: str, blocks: int = 1) -> bytes:
    return (seed.encode() * BLOCK_BYTES)[:BLOCK_BYTES] * blocks


def test_equal_beginnings_have_equal_hashes_and_others_differ_from_there_on():
    same, other = prompt("a", 3), prompt("b", 1)
    long = chain(same + other, b"t")
    assert chain(same, b"t") == long[:3]
    assert chain(other + same, b"t")[0] != long[0]
    assert set(chain(other + same, b"t")).isdisjoint(long), "a hash covers all before it"


def test_tenants_share_nothing():
    assert set(chain(prompt("a", 4), b"one")).isdisjoint(chain(prompt("a", 4), b"two"))


def test_what_is_hashed_is_bounded_and_the_open_block_left_out():
    assert len(chain(b"x" * 10**6, b"")) == MAX_BLOCKS
    assert len(chain(b"x" * (2 * BLOCK_BYTES + 1), b"")) == 2
    assert chain(b"x" * (BLOCK_BYTES - 1), b"") == ()


def test_a_conversation_that_grows_returns_to_its_engine():
    affinity = Affinity()
    first = chain(prompt("system", 2) + prompt("hello"), b"t")
    affinity.remember(first, URLS[3])
    later = chain(prompt("system", 2) + prompt("hello") + prompt("more", 4), b"t")
    assert affinity.choose(later, IDLE) == URLS[3]


def test_the_longest_known_beginning_counts():
    affinity = Affinity()
    affinity.remember(chain(prompt("system", 2), b"t"), URLS[0])
    mine = chain(prompt("system", 2) + prompt("mine"), b"t")
    affinity.remember(mine, URLS[1])
    assert affinity.choose(mine, IDLE) == URLS[1]
    other = chain(prompt("system", 2) + prompt("other"), b"t")
    assert affinity.choose(other, IDLE) == URLS[0]


def test_an_overloaded_engine_gets_no_more_for_its_cache():
    affinity, hot = Affinity(), chain(prompt("hot"), b"t")
    affinity.remember(hot, URLS[0])
    assert affinity.choose(hot, IDLE | {URLS[0]: 1}) != URLS[0]
    assert affinity.choose(hot, dict.fromkeys(URLS, 9) | {URLS[0]: 10}) == URLS[0]


def test_replicas_that_remember_nothing_agree():
    hot = chain(prompt("hot"), b"t")
    shuffled = dict.fromkeys(reversed(URLS), 0)
    assert Affinity().choose(hot, IDLE) == Affinity().choose(hot, shuffled)


def test_what_an_engine_that_left_computed_is_forgotten():
    affinity, hot = Affinity(), chain(prompt("hot"), b"t")
    home = Affinity().choose(hot, IDLE)
    affinity.remember(hot, next(url for url in URLS if url != home))
    for url in URLS:
        affinity.forget(url)
    assert affinity.choose(hot, IDLE) == home


def test_memory_is_bounded_and_the_oldest_goes_first():
    affinity = Affinity(capacity=3)
    hot = chain(prompt("hot"), b"t")
    home = Affinity().choose(hot, IDLE)
    away = next(url for url in URLS if url != home)
    affinity.remember(hot, away)
    for seed in "abc":
        affinity.remember(chain(prompt(seed), b"t"), home)
    assert affinity.choose(hot, IDLE) == home


@given(
    st.dictionaries(st.sampled_from(URLS), st.integers(0, 50), min_size=1),
    st.text(min_size=1, max_size=5),
    st.sampled_from(URLS),
)
def test_no_choice_exceeds_the_load_bound(loads, seed, owner):
    affinity, wanted = Affinity(), chain(prompt(seed), b"t")
    affinity.remember(wanted, owner)
    url = affinity.choose(wanted, loads)
    total = sum(loads.values()) + 1
    assert loads[url] + 1 <= math.ceil(LOAD_FACTOR * total / len(loads))


@given(st.lists(st.integers(0, 30), min_size=1, max_size=150))
@settings(deadline=None)
def test_skewed_prompts_never_pile_up_on_one_engine(seeds):
    affinity, loads = Affinity(), Counter(IDLE)
    for count, seed in enumerate(seeds, 1):
        wanted = chain(prompt(str(seed % 3)), b"t")
        url = affinity.choose(wanted, loads)
        affinity.remember(wanted, url)
        loads[url] += 1
        assert loads[url] <= math.ceil(LOAD_FACTOR * count / len(URLS))


@given(st.integers(2, 8))
@settings(max_examples=10, deadline=None)
def test_an_engine_that_joins_takes_about_its_share_and_moves_nothing_else(count):
    before = dict.fromkeys([f"http://e{i}" for i in range(count)], 0)
    after = before | {"http://new": 0}
    keys = [chain(prompt(f"{i:04}"), b"t") for i in range(200)]
    homes = [Affinity().choose(key, before) for key in keys]
    moved = [
        now
        for key, home in zip(keys, homes, strict=True)
        if (now := Affinity().choose(key, after)) != home
    ]
    assert set(moved) <= {"http://new"}, "a move between two that stay would lose a cache"
    assert len(moved) <= 2.5 * 200 / (count + 1)


def test_beginnings_that_nobody_remembers_spread_over_all_engines():
    homes = Counter(Affinity().choose(chain(prompt(f"{i:04}"), b"t"), IDLE) for i in range(200))
    assert len(homes) == len(URLS)
    assert min(homes.values()) >= 20
