"""Kinds of faults that the gateway does not stand yet, with what goes wrong. Not in the slice that CI runs."""

_CLOSE_CALL = "a ws_close that the only endpoint refuses is not sent again, and the canister keeps the client"

AWAITING: dict[str, str] = {
    "accepted_for_ever": "202 counts as evidence of order: the next call overtakes, and the canister drops the client",
    "messages_left_out_at_the_beginning": "a reply that begins later than asked is believed, and a client gets a gap",
    "nothing_for_ever": "an empty reply is believed, and the honest endpoint is not asked",
    "stale_answer": "an earlier empty reply is believed, and the honest endpoint is not asked",
    "call_rejected_canister_error": _CLOSE_CALL,
    "call_rejected_canister_reject": _CLOSE_CALL,
    "call_rejected_destination_invalid": _CLOSE_CALL,
    "call_rejected_out_of_cycles": _CLOSE_CALL,
    "call_rejected_sys_fatal": _CLOSE_CALL,
    "reject_code_of_64_bits": _CLOSE_CALL,
    "status_400": _CLOSE_CALL,
    "status_413": _CLOSE_CALL,
}
