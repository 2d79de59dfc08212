from dataclasses import asdict

from hypothesis import given
from hypothesis import strategies as st

from appliance.crypto import CandidTypes
from appliance.ic.principal import Principal
from appliance.localnet.canisters.settings import NUMBERS, VISIBILITIES, Settings, is_open_to

PRINCIPALS = st.binary(min_size=1, max_size=29).map(Principal)
SETTINGS = st.builds(
    Settings,
    **{name: st.integers(0, 2**70) for name in NUMBERS},
    **dict.fromkeys(VISIBILITIES, st.none() | st.just("public") | st.frozensets(PRINCIPALS)),
)


@given(SETTINGS)
def test_what_is_kept_comes_back(settings: Settings) -> None:
    assert Settings.decode(settings.encode()) == settings


@given(SETTINGS, st.frozensets(PRINCIPALS), st.dictionaries(st.text(max_size=5), st.text(max_size=5)))
def test_everything_is_shown(settings: Settings, controllers: frozenset[Principal], variables: dict[str, str]) -> None:
    shown = settings.to_candid(controllers, variables)
    assert shown["controllers"] == sorted(controllers)
    assert {name: shown[name] for name in NUMBERS} == {name: asdict(settings)[name] for name in NUMBERS}
    listed = shown["environment_variables"]
    assert {one["name"]: one["value"] for one in listed} == variables  # type: ignore[attr-defined]


@given(SETTINGS, PRINCIPALS)
def test_what_is_visible_is_open_to_some(settings: Settings, reader: Principal) -> None:
    for name in VISIBILITIES:
        match getattr(settings, name):
            case None:
                assert not is_open_to(getattr(settings, name), reader)
            case "public":
                assert is_open_to("public", reader)
            case viewers:
                assert is_open_to(viewers, reader) == (reader in viewers)


def test_settings_of_an_earlier_version_are_read() -> None:
    earlier = CandidTypes(
        "(record { controllers : vec principal; compute_allocation : nat; freezing_threshold : nat })"
    )
    kept = Settings.decode(earlier.encode({"controllers": [], "compute_allocation": 7, "freezing_threshold": 9}))
    assert kept == Settings(compute_allocation=7, freezing_threshold=9)
