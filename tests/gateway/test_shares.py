from pagelet_gateway.shares import ObservedShares


def test_the_series_names_model_and_revision():
    shares = ObservedShares()
    shares.count("m", "m-1")
    shares.count("m", "m-2")
    (family,) = shares.collect()
    assert family.name == "pagelet_gateway_observed_share_ratio"
    assert {s.labels["revision"]: s.value for s in family.samples} == {"m-1": 0.5, "m-2": 0.5}
