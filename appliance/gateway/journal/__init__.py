"""The journal of clients that canisters may know: on disk, so that a crash leaves nobody behind."""
