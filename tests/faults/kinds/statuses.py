"""Faults of status and headers: whole HTTP responses that are no answers of the IC."""

from functools import partial

from tests.faults.kinds.registry import add, fault
from tests.faults.proxy import Answer, Exchange

STATUSES = (400, 401, 403, 404, 405, 408, 413, 418, 425, 429, 451, 500, 501, 502, 503, 504, 520, 599)
RETRY_AFTER = {
    "for_thousands_of_years": "99999999999",
    "with_more_digits_than_an_int_may_have": "9" * 5000,
    "in_other_digits": "\u0663\u0660",
    "below_zero": "-30",
    "at_an_absurd_date": "Fri, 31 Dec 9999 23:59:59 -2359",
    "in_an_absurd_time_zone": "Mon, 30 Nov 2026 09:00:00 +99999999999999",
    "of_a_minute": "60",
}


async def _status(exchange: Exchange, status: int) -> None:
    await exchange.send(Answer(status, "text/plain", b"this is not the answer you are looking for"))


for _code in STATUSES:
    add(f"status_{_code}", partial(_status, status=_code))


async def _retry_after(exchange: Exchange, value: str, status: int) -> None:
    refusal = Answer(status, "text/plain", b"later")
    await exchange.connection.write(refusal.encoded(f"Retry-After: {value}"))


for _name, _value in RETRY_AFTER.items():
    add(f"retry_after_{_name}", partial(_retry_after, value=_value, status=503))
add("too_many_requests_for_ever", partial(_retry_after, value="99999999999", status=429))


@fault()
async def redirect(exchange: Exchange) -> None:
    """To another place, as a captive portal does."""
    await exchange.connection.write(Answer(302, "text/html", b"").encoded("Location: http://127.0.0.1:1/login"))


@fault()
async def redirect_to_itself(exchange: Exchange) -> None:
    """For ever."""
    here = exchange.endpoint.url + exchange.path
    await exchange.connection.write(Answer(307, "text/html", b"").encoded(f"Location: {here}"))


@fault()
async def no_content(exchange: Exchange) -> None:
    """204."""
    await exchange.connection.write(b"HTTP/1.1 204 No Content\r\n\r\n")


@fault()
async def not_modified(exchange: Exchange) -> None:
    """304."""
    await exchange.connection.write(b"HTTP/1.1 304 Not Modified\r\n\r\n")


@fault()
async def web_page(exchange: Exchange) -> None:
    """200 with a page for people."""
    await exchange.send(Answer(200, "text/html", b"<!doctype html><title>Down for maintenance</title>"))


@fault()
async def web_page_called_cbor(exchange: Exchange) -> None:
    """The same with the content type of an answer."""
    await exchange.send(Answer(200, "application/cbor", b"<!doctype html><title>Down for maintenance</title>"))


@fault()
async def answer_called_json(exchange: Exchange) -> None:
    """The honest body with a wrong content type, as some caches do."""
    await exchange.send(Answer(200, "application/json", (await exchange.honest()).body))


@fault()
async def answer_called_gzip(exchange: Exchange) -> None:
    """The honest body, said to be compressed."""
    await exchange.connection.write((await exchange.honest()).encoded("Content-Encoding: gzip"))


@fault("call")
async def accepted_for_ever(exchange: Exchange) -> None:
    """202 for every call, which no replica gets."""
    await exchange.send(Answer(202, "application/cbor", b""))


@fault("call")
async def accepted_before_the_answer(exchange: Exchange) -> None:
    """202 for every call, which the network does get: its outcome has to be found out."""
    await exchange.honest()
    await exchange.send(Answer(202, "application/cbor", b""))


@fault("query", "read_state")
async def accepted_instead_of_read(exchange: Exchange) -> None:
    """202 for requests that are never accepted but answered."""
    await exchange.send(Answer(202, "application/cbor", b""))
