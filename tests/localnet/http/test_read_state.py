import pytest

from appliance.ic.principal import Principal
from appliance.localnet.http.errors import HttpError
from appliance.localnet.http.read_state import PathRules, StateReader
from appliance.localnet.state.certification import Authority
from appliance.localnet.state.ingress import Call
from tests.localnet.machine import CANISTER, principal

AUTHORITY = Authority(seed=b"read_state", subnet=True)
ALICE, BOB = principal("alice"), principal("bob")
ID, OTHER_ID = b"\x01" * 32, b"\x02" * 32
SUBNET, ROOT = AUTHORITY.subnet_id, AUTHORITY.root_subnet_id
CALL = Call(ID, ALICE, CANISTER, "greet", b"")
CALLS = {ID: CALL}
RULES = PathRules(AUTHORITY, CALLS.get)


def reader(
    sender: Principal = ALICE,
    targets: frozenset[bytes] | None = None,
    *,
    about: Principal = CANISTER,
    is_subnet: bool = False,
    version: int = 2,
) -> StateReader:
    return StateReader(sender, targets, about, is_subnet, version)


OF_SUBNET = reader(about=SUBNET, is_subnet=True, version=3)


@pytest.mark.parametrize(
    ("path", "who"),
    [
        ([b"time"], reader()),
        ([b"subnet"], reader()),
        ([b"subnet", SUBNET], reader()),
        ([b"subnet", SUBNET, b"public_key"], reader()),
        ([b"subnet", SUBNET, b"node", b"n", b"public_key"], reader(version=3)),
        ([b"subnet", SUBNET, b"canister_ranges"], reader()),
        ([b"subnet", ROOT, b"canister_ranges"], reader(version=3)),
        ([b"subnet", SUBNET, b"metrics"], OF_SUBNET),
        ([b"canister_ranges", SUBNET], OF_SUBNET),
        ([b"canister", CANISTER, b"controllers"], reader()),
        ([b"canister", CANISTER, b"module_hash"], reader()),
        ([b"canister", CANISTER, b"metadata", b"candid:service"], reader()),
        ([b"request_status", ID], reader()),
        ([b"request_status", ID, b"reply"], reader(targets=frozenset({bytes(CANISTER)}))),
        ([b"request_status", OTHER_ID], reader(BOB)),
        ([b"request_status", ID], reader(about=SUBNET, is_subnet=True, version=3)),
    ],
)
def test_paths_that_may_be_read(path: list[bytes], who: StateReader) -> None:
    RULES.check([path], who)


@pytest.mark.parametrize(
    ("paths", "who", "status", "text"),
    [
        ([[]], reader(), 404, "Invalid path requested."),
        ([[b"everything"]], reader(), 404, "Invalid path requested."),
        ([[b"time", b"more"]], reader(), 404, "Invalid path requested."),
        ([[b"canister", CANISTER, b"certified_data"]], reader(), 404, "Invalid path requested."),
        ([[b"canister", CANISTER]], reader(), 404, "Invalid path requested."),
        ([[b"canister", CANISTER, b"controllers"]], OF_SUBNET, 404, "Invalid path requested."),
        ([[b"subnet", SUBNET, b"canister_ranges"]], reader(version=3), 404, "Invalid path requested."),
        ([[b"canister_ranges", SUBNET]], reader(), 404, "Invalid path requested."),
        ([[b"request_status"]], reader(), 404, "Invalid path requested."),
        ([[b"request_status", ID, b"arg"]], reader(), 404, "Invalid path requested."),
        ([[b"request_status", ID]], reader(about=SUBNET, is_subnet=True), 404, "Invalid path requested."),
        ([[b"request_status", ID[1:]]], reader(), 400, "Invalid request id in paths."),
        ([[b"request_status", ID], [b"request_status", OTHER_ID]], reader(), 400, "More than one non-unique request"),
        ([[b"request_status", ID]], reader(BOB), 403, "The user tries to access Request ID not signed by the caller."),
        (
            [[b"request_status", ID]],
            reader(targets=frozenset({b"other"})),
            403,
            "The user tries to access request IDs for canisters not belonging to sender delegation targets.",
        ),
        ([[b"canister", SUBNET, b"controllers"]], reader(), 400, f"Effective principal id in URL {CANISTER} does not"),
        ([[b"canister", b"x" * 30, b"module_hash"]], reader(), 400, "Could not parse principal ID: "),
        ([[b"canister", CANISTER, b"metadata", b"\xff"]], reader(), 400, "Could not parse the custom section name"),
        ([[b"time"], [b"everything"]], reader(), 404, "Invalid path requested."),
    ],
)
def test_paths_that_may_not_be_read(paths: list[list[bytes]], who: StateReader, status: int, text: str) -> None:
    with pytest.raises(HttpError) as refused:
        RULES.check(paths, who)
    assert refused.value.status == status
    assert refused.value.text.startswith(text)


def test_since_v3_the_flat_ranges_of_a_delegated_subnet_are_left_out() -> None:
    own = (b"subnet", SUBNET)
    everything = [(*own, name) for name in (b"public_key", b"type", b"node")]
    for path in ([b"subnet"], [b"subnet", SUBNET]):
        assert RULES.shown([path], reader()) == [path]
        assert RULES.shown([path], reader(version=3)) == everything
    assert RULES.shown([[b"time"]], reader(version=3)) == [[b"time"]]
    of_root = PathRules(Authority(seed=b"x"), lambda _: None)
    assert of_root.shown([[b"subnet"]], reader(version=3)) == [[b"subnet"]]
