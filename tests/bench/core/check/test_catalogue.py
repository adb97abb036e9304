"""The list of probes."""

import pytest

from pagelet_bench.core.check.catalogue import GROUPS, PROBES, select
from pagelet_bench.core.errors import UsageError


def test_ids_are_unique_and_every_probe_says_what_it_proves():
    assert len({probe.id for probe in PROBES}) == len(PROBES)
    assert all(probe.proves and probe.field and "." in probe.id for probe in PROBES)


def test_groups_select_their_probes_and_nothing_selects_all():
    assert select([]) == PROBES
    assert sum(len(select([group])) for group in GROUPS) == len(PROBES)
    assert [probe.id for probe in select(["sampling.seed"])] == ["sampling.seed"]


def test_a_name_that_is_no_group_is_refused():
    with pytest.raises(UsageError, match="no group 'x'"):
        select(["x"])
