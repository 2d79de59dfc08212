"""Bytes as a hostile sender makes them of good ones."""

from hypothesis import strategies as st


@st.composite
def mutations(draw: st.DrawFn, data: bytes) -> bytes:
    """The data with parts changed, left out, repeated or put elsewhere."""
    for _ in range(draw(st.integers(1, 4))):
        start, end = sorted(draw(st.tuples(*[st.integers(0, len(data))] * 2)))
        part = draw(st.one_of(st.binary(max_size=12), st.just(b""), st.just(2 * data[start:end])))
        data = data[:start] + part + data[end:]
    return data
