"""Lies about the queue of messages: replies to polls that decode well and say something else than the canister does."""

from collections.abc import Callable

from tests.faults.kinds.registry import fault
from tests.faults.liar import PAGE, Page, any_page_of, nonce_asked, page_of, with_page, with_reply
from tests.faults.proxy import Exchange, NothingToSpoil

LAST_NONCE = 2**64 - 1


async def _page(exchange: Exchange, change: Callable[[Page], Page]) -> None:
    honest = await exchange.honest()
    await exchange.send_body(with_page(honest, change(page_of(honest))))


async def _messages(exchange: Exchange, change: Callable[[list[Page]], list[Page]], *, least: int = 1) -> None:
    def changed(page: Page) -> Page:
        if len(page["messages"]) < least:
            raise NothingToSpoil
        return {**page, "messages": change(list(page["messages"]))}

    await _page(exchange, changed)


def _flip(data: bytes, exchange: Exchange) -> bytes:
    position = exchange.random.randrange(8 * len(data))
    return data[: position // 8] + bytes([data[position // 8] ^ 1 << position % 8]) + data[position // 8 + 1 :]


@fault("query")
async def bit_flip_in_content(exchange: Exchange) -> None:
    """One bit of one message."""

    def change(messages: list[Page]) -> list[Page]:
        index = exchange.random.randrange(len(messages))
        messages[index] = {**messages[index], "content": _flip(messages[index]["content"], exchange)}
        return messages

    await _messages(exchange, change)


@fault("query")
async def bit_flip_in_witness(exchange: Exchange) -> None:
    """One bit of the tree that proves the messages."""
    await _page(exchange, lambda page: {**page, "tree": _flip(page["tree"], exchange)})


@fault("query")
async def bit_flip_in_client_key(exchange: Exchange) -> None:
    """One bit of the client's nonce that stands beside the certified content."""

    def change(messages: list[Page]) -> list[Page]:
        for index, message in enumerate(messages):
            key = message["client_key"]
            bit = 1 << exchange.random.randrange(64)
            messages[index] = {**message, "client_key": {**key, "client_nonce": key["client_nonce"] ^ bit}}
        return messages

    await _messages(exchange, change)


@fault("query")
async def client_keys_swapped(exchange: Exchange) -> None:
    """The clients that stand beside the contents change places."""

    def change(messages: list[Page]) -> list[Page]:
        keys = [message["client_key"] for message in messages]
        if len({str(key) for key in keys}) < 2:
            raise NothingToSpoil
        return [{**message, "client_key": key} for message, key in zip(messages, [*keys[1:], keys[0]], strict=True)]

    await _messages(exchange, change, least=2)


@fault("query")
async def nonce_text_changed(exchange: Exchange) -> None:
    """The nonce in one key is another."""

    def change(messages: list[Page]) -> list[Page]:
        index = exchange.random.randrange(len(messages))
        gateway, _, nonce = messages[index]["key"].rpartition("_")
        messages[index] = {**messages[index], "key": f"{gateway}_{int(nonce) ^ 1:020}"}
        return messages

    await _messages(exchange, change)


@fault("query")
async def nonce_jumps_to_the_end(exchange: Exchange) -> None:
    """The last key has the greatest nonce there is."""

    def change(messages: list[Page]) -> list[Page]:
        gateway = messages[-1]["key"].rpartition("_")[0]
        return [*messages[:-1], {**messages[-1], "key": f"{gateway}_{LAST_NONCE:020}"}]

    await _messages(exchange, change)


@fault("query")
async def nonce_is_no_number(exchange: Exchange) -> None:
    """The last key has no nonce."""
    await _messages(exchange, lambda messages: [*messages[:-1], {**messages[-1], "key": "gateway_last"}])


@fault("query")
async def messages_reordered(exchange: Exchange) -> None:
    """The messages of a reply backwards."""
    await _messages(exchange, lambda messages: messages[::-1], least=2)


@fault("query")
async def message_repeated(exchange: Exchange) -> None:
    """One message twice in a row."""
    await _messages(exchange, lambda messages: [messages[0], *messages])


@fault("query")
async def message_left_out_in_the_middle(exchange: Exchange) -> None:
    """A message is missing between others."""
    await _messages(exchange, lambda messages: [messages[0], *messages[2:]], least=3)


@fault("query")
async def messages_left_out_at_the_beginning(exchange: Exchange) -> None:
    """The reply begins later than asked."""
    await _messages(exchange, lambda messages: messages[1:], least=2)


@fault("query")
async def messages_left_out_at_the_end(exchange: Exchange) -> None:
    """The last message is missing, and that was the end of the queue."""

    def change(page: Page) -> Page:
        if len(page["messages"]) < 2:
            raise NothingToSpoil
        return {**page, "messages": page["messages"][:-1], "is_end_of_queue": True}

    await _page(exchange, change)


@fault("query")
async def end_of_queue_too_early(exchange: Exchange) -> None:
    """Half of the messages, said to be all."""

    def change(page: Page) -> Page:
        half = page["messages"][: max(1, len(page["messages"]) // 2)]
        return {**page, "messages": half, "is_end_of_queue": True}

    await _page(exchange, change)


@fault("query")
async def end_of_queue_never(exchange: Exchange) -> None:
    """Each reply claims that there is more, without messages too."""
    honest = await exchange.honest()
    await exchange.send_body(with_page(honest, {**any_page_of(honest), "is_end_of_queue": False}))


@fault("query")
async def nothing_for_ever(exchange: Exchange) -> None:
    """The queue is said to be empty."""
    honest = await exchange.honest()
    any_page_of(honest)
    await exchange.send_body(with_page(honest, {"messages": [], "cert": b"", "tree": b"", "is_end_of_queue": True}))


@fault("query")
async def first_empty_reply_again(exchange: Exchange) -> None:
    """A true reply of before anything was sent, with the signature of then."""
    await exchange.honest()
    for answer in exchange.endpoint.memory["query"]:
        if len(answer.body) < 500:
            await exchange.send(answer)
            return
    raise NothingToSpoil


@fault("query")
async def canister_refuses_the_poll(exchange: Exchange) -> None:
    """``Err`` in the name of the canister, which nobody certifies."""
    honest = await exchange.honest()
    any_page_of(honest)
    await exchange.send_body(with_reply(honest, PAGE.encode({"Err": "no such gateway"})))


@fault("query")
async def candid_of_another_type(exchange: Exchange) -> None:
    """A reply that is no page of messages."""
    honest = await exchange.honest()
    any_page_of(honest)
    await exchange.send_body(with_reply(honest, b"DIDL\x00\x01\x71\x05hello"))


@fault("query")
async def candid_garbage(exchange: Exchange) -> None:
    """A reply that is no Candid."""
    honest = await exchange.honest()
    any_page_of(honest)
    await exchange.send_body(with_reply(honest, exchange.random.randbytes(200)))


@fault("query")
async def queue_of_another_gateway(exchange: Exchange) -> None:
    """The canister's certified messages for a gateway of the liar."""
    honest = await exchange.honest()
    page = await exchange.liar.foreign_page(nonce_asked(exchange.body))
    await exchange.send_body(with_reply(honest, page))


@fault("query")
async def whole_queue_of_another_gateway(exchange: Exchange) -> None:
    """The same from its beginning: as if the canister had begun again."""
    honest = await exchange.honest()
    nonce_asked(exchange.body)
    await exchange.send_body(with_reply(honest, await exchange.liar.foreign_page(0)))
