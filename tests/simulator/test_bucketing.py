"""Our buckets are Flagsmith's: what it answered to captured identities is computed again."""

from hashlib import md5

from flag_engine.utils.hashing import get_hashed_percentage_for_object_ids

from flagsmith_warehouse.simulator.bucketing import choose, percentage

from .captured import PROJECT, evaluations

FEATURES = {feature["id"]: feature for feature in PROJECT["multivariate_features"]}
LATER_WEIGHTS = {"checkout_button": (10.0, 50.0, 40.0)}
OVERRIDE_WEIGHTS = {"mv_seg_override": (50.0,)}


def weights_of(flag: dict, is_later: bool) -> tuple[float, ...]:
    feature = FEATURES[flag["feature"]["id"]]
    if flag["feature_segment"] is not None:
        return OVERRIDE_WEIGHTS[feature["name"]]
    if is_later and feature["name"] in LATER_WEIGHTS:
        return LATER_WEIGHTS[feature["name"]]
    return tuple(option["default_percentage_allocation"] for option in feature["options"])


def weights_changed_at() -> str:
    return min(
        received_at
        for received_at, body in evaluations()
        for flag in body["flags"]
        if flag["feature"]["name"] == "checkout_button"
        and (flag["feature_state_value"], flag.get("percentage_allocation")) == ("variant_a", 10.0)
    )


def test_bucketing__captured_identities__get_what_flagsmith_gave_them():
    checked, changed_at = 0, weights_changed_at()
    for received_at, body in evaluations():
        for flag in body["flags"]:
            if flag["feature"]["type"] != "MULTIVARIATE":
                continue
            bucket = percentage(flag["id"], PROJECT["environment_key"], body["identity"])
            option = choose(weights_of(flag, received_at >= changed_at), bucket)
            feature = FEATURES[flag["feature"]["id"]]
            expected = feature["options"][option]["value"] if option is not None else feature["initial_value"]
            assert str(flag["feature_state_value"]).lower() == str(expected).lower(), (body["identity"], flag)
            checked += 1
    assert checked > 800


def test_choose__bucket_on_a_limit__belongs_to_the_next_option():
    assert [choose((30.0, 30.0), bucket) for bucket in (0.0, 29.9, 30.0, 59.9, 60.0, 99.9)] == [
        0,
        0,
        1,
        1,
        None,
        None,
    ]


def test_percentage__many_identities__are_what_flagsmiths_own_engine_computes():
    identities = [f"user_{number}" for number in range(20_000)]
    ours = [percentage(7, "key", identity) for identity in identities]
    assert ours == [get_hashed_percentage_for_object_ids(["7", f"key_{identity}"]) for identity in identities]
    assert max(ours) < 100


def test_percentage__first_hash_at_exactly_100__is_hashed_again():
    assert _hash_of("1,key_user_9815") == 9_998
    assert (
        percentage(1, "key", "user_9815")
        == get_hashed_percentage_for_object_ids(["1", "key_user_9815"])
        < 100
    )


def _hash_of(text: str) -> int:
    return int(md5(text.encode(), usedforsecurity=False).hexdigest(), 16) % 9_999
