"""One session for each principal: the canister forgets the others without a word."""

from hypothesis import given
from hypothesis import strategies as st

from appliance.crypto import SigningKey
from appliance.errors import SessionReplaced
from appliance.gateway.successions import Successions
from appliance.ic.principal import Principal
from appliance.protocol.events import Call, Join
from tests.gateway.bench import Bench, until
from tests.gateway.clients import CANISTER, Client


class Holder:
    def __init__(self, nonce: int) -> None:
        self.first_delivered = nonce
        self.error: Exception | None = None

    def replace(self, error: Exception) -> None:
        assert self.error is None, "closed twice"
        self.error = error


def join(principal: bytes) -> Join:
    return Join("v2", CANISTER, b"key", "", Call(CANISTER, "ws_open", b""), b"", principal)


@given(st.permutations(range(6)), st.sets(st.integers(0, 5)))
def test_of_the_sessions_of_a_principal_the_one_that_the_canister_accepted_last_stays(order, leaving):
    it, mine = Successions(), join(b"principal")
    holders = {nonce: Holder(nonce) for nonce in order}
    here: list[int] = []
    for nonce in order:
        it.opened(mine, holders[nonce])
        here.append(nonce)
        open_ones = [each for each in here if holders[each].error is None]
        assert open_ones == [max(here)] or not open_ones
        if nonce in leaving:
            it.left(mine, holders[nonce])
            here = [each for each in here if each != nonce and holders[each].error is None]
    for nonce in here:
        it.left(mine, holders[nonce])
    assert it._holders == {}


def test_other_principals_and_generations_without_principals_are_left_alone():
    it = Successions()
    holders = [Holder(nonce) for nonce in range(4)]
    for principal, holder in zip((b"one", b"two", b"", b""), holders, strict=True):
        it.opened(join(principal), holder)
    assert not any(holder.error for holder in holders)


async def test_a_second_session_of_a_principal_closes_the_first_without_a_close_call():
    async with Bench() as bench:
        key = SigningKey.generate("ed25519")
        _, first = await bench.opened(Client(key=key))
        client, second = await bench.opened(Client(key=key))
        await until(lambda: first.is_gone and not bench.gateway.pending_close_calls)
        assert isinstance(first.error, SessionReplaced)
        assert str(Principal(client.client_key[:-8])) in str(first.error)
        assert second.error is None
        assert bench.canister.left == [], "a close call of v1 would end the new session"
