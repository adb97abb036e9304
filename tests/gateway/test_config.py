import math
from pathlib import Path

import pytest

from pagelet_gateway.config import GatewayConfig
from pagelet_gateway.errors import ConfigError


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("port", -1),
        ("port", 65536),
        ("drain_timeout_s", -1.0),
        ("drain_delay_s", -0.1),
        ("hold_s", -1.0),
        ("max_body_bytes", 0),
        ("max_attempts", 0),
        ("body_timeout_s", 0.0),
        ("connect_timeout_s", -2.0),
        ("poll_interval_s", 0.0),
        ("head_timeout_s", math.nan),
        ("body_timeout_s", math.inf),
        ("quota_store_timeout_s", math.nan),
        ("drain_timeout_s", math.nan),
        ("drain_delay_s", math.inf),
    ],
)
def test_what_can_never_work_is_refused_with_field_and_value(field, value):
    with pytest.raises(ConfigError, match=f"{field} is {value}"):
        GatewayConfig(route_table=Path("x"), **{field: value})


def test_the_defaults_work():
    assert GatewayConfig(route_table=Path("x")).host == "127.0.0.1"


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({"replicas": 0}, "replicas is 0; it must be above 0"),
        ({"replicas": 2, "replicas_service": "gateways"}, "give one of them"),
        ({"quota_store_failure": "maybe"}, "'maybe'; choose one of local, open, closed"),
    ],
)
def test_what_says_nothing_clear_about_quotas_is_refused(fields, part):
    with pytest.raises(ConfigError, match=part):
        GatewayConfig(route_table=Path("x"), **fields)
