"""The control plane: what operators see and do, over HTTP."""
