"""Asks a canister one question: python ask.py GATEWAY_URL CANISTER NETWORK_URL QUESTION."""

import sys

from icws import GatewayError
from icws.sync import connect

url, canister, network_url, question = sys.argv[1:] if len(sys.argv) == 5 else sys.exit(__doc__)
try:
    with connect(url, canister, network_url=network_url, message_type="record {text: text; timestamp: nat64}") as chat:
        print(chat.receive(timeout=30).value["text"])  # the greeting
        chat.send({"text": question, "timestamp": 0})
        print(chat.receive(timeout=30).value["text"])
except GatewayError as error:
    sys.exit(f"{type(error).__name__}: {error}")
