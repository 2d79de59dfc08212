from appliance.crypto import CandidTypes
from appliance.ic.identity import AnonymousIdentity
from appliance.ic.principal import ANONYMOUS
from appliance.localnet.net import Localnet
from appliance.localnet.page.local_agent import LocalAgent
from appliance.localnet.state.certification import canister_id
from appliance.localnet.state.outcome import Rejection, Reply
from tests.localnet.greeter import Greeter

NOTHING = CandidTypes("()").encode()


async def test_calls_and_queries_have_a_sender() -> None:
    async with Localnet() as net:
        greeter, caller = net.create_canister(Greeter()), LocalAgent(net.replica)
        for identity, principal in ((net.developer, net.developer.principal), (AnonymousIdentity(), ANONYMOUS)):
            expected = Reply(CandidTypes("(principal)").encode(principal))
            assert caller.query(identity, greeter, "whoami", NOTHING) == expected
            assert await caller.call(identity, greeter, "whoami", NOTHING) == expected
        counted = [await caller.call(net.developer, greeter, "count", NOTHING) for _ in range(2)]
        assert counted == [Reply(CandidTypes("(nat)").encode(number)) for number in (1, 2)]


async def test_what_is_not_taken_is_a_rejection() -> None:
    async with Localnet() as net:
        outcome = await LocalAgent(net.replica).call(net.developer, canister_id(77), "count", NOTHING)
        assert isinstance(outcome, Rejection)
        assert outcome.error_code == "IC0301"
