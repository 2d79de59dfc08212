"""Canisters of WebAssembly."""
