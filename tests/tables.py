"""Tables that runs write into pages of ``docs``: each between a comment with its name and one that ends it."""

END = "<!-- end -->\n"


def with_table(page: str, name: str, table: str) -> str:
    """The page with another table of this name. Raises ValueError where it has no place for it."""
    before, begin, rest = page.partition(f"<!-- {name} -->\n")
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no place for the table {name!r}")
    return before + begin + table + end + after
