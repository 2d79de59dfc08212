"""Steps of an engine, as hypothesis draws them."""

from hypothesis import strategies as st

from appliance.cluster.engine import Beat, Facts, NodeInfo
from appliance.gateway.nodes import Claim, Held, Place
from appliance.ic.principal import Principal
from tests.cluster.nodes import CANISTER, NOW_NS

NODES = st.sampled_from(["a", "b", "b.2"])
INCARNATIONS = st.sampled_from(["0" * 16, "12" * 7 + "ab"])
PLACES = st.sampled_from([Place(CANISTER, group) for group in (b"x", b"xy", b"\x00:")])
CLAIMS = st.builds(
    Claim,
    st.one_of(PLACES, st.just(Place(CANISTER, b"")), st.just(Place(Principal(b"x"), b""))),
    st.just("client"),
    st.sampled_from([b"key", b"ke"]),
    st.sampled_from([b"", b"r" * 32, b"s" * 32]),
    st.just(NOW_NS + 240 * 10**9),
)
HELD = st.builds(Held, PLACES, st.integers(0, 10**19))
STEPS = st.one_of(
    st.tuples(
        st.just("beat"),
        st.builds(
            Beat,
            NODES,
            INCARNATIONS,
            st.integers(0, 3),
            st.builds(Facts, st.sampled_from(["a", 'b"']), st.just("root")),
            st.just(NodeInfo("1.0", "ma|chine", 7, 10**18)),
            st.sampled_from(["", "0" * 16 + ":1"]),
            st.sampled_from([0, 3_000_000]),
        ),
    ),
    st.tuples(st.just("leave"), NODES, INCARNATIONS),
    st.tuples(st.just("claim"), NODES, INCARNATIONS, CLAIMS, st.integers(0, 3)),
    st.tuples(st.just("hold"), NODES, INCARNATIONS, st.lists(HELD, max_size=3)),
    st.tuples(st.just("release"), NODES, INCARNATIONS, PLACES),
    st.tuples(st.just("released"), NODES, INCARNATIONS, PLACES),
)
