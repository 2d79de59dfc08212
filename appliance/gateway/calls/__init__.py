"""Calls on their way to the IC: their order for each client, their pace for each canister, one budget for all."""
