from dataclasses import asdict

from hypothesis import given
from hypothesis import strategies as st

from appliance.ic.principal import Principal
from appliance.localnet.canisters.settings import NUMBERS, Settings

PRINCIPALS = st.binary(min_size=1, max_size=29).map(Principal)
SETTINGS = st.builds(
    Settings,
    **{name: st.integers(0, 2**70) for name in NUMBERS},
    log_visibility=st.none() | st.just("public") | st.frozensets(PRINCIPALS),
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
def test_the_log_is_open_to_some(settings: Settings, reader: Principal) -> None:
    match settings.log_visibility:
        case None:
            assert not settings.is_log_open_to(reader)
        case "public":
            assert settings.is_log_open_to(reader)
        case viewers:
            assert settings.is_log_open_to(reader) == (reader in viewers)
