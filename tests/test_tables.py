"""Tables in pages."""

import pytest

from tests.tables import with_table

PAGE = "before\n<!-- one -->\n| old |\n<!-- end -->\nbetween\n<!-- other -->\n<!-- end -->\nafter\n"


@pytest.mark.parametrize("name", ["one", "other"])
def test_a_table_takes_the_place_of_the_old_one_and_nothing_else_changes(name: str) -> None:
    once = with_table(PAGE, name, "| new |\n")
    assert f"<!-- {name} -->\n| new |\n<!-- end -->\n" in once
    assert with_table(once, name, "| new |\n") == once
    old = PAGE.partition(f"<!-- {name} -->\n")[2].partition("<!-- end -->")[0]
    assert with_table(once, name, old) == PAGE


@pytest.mark.parametrize("page", ["", "<!-- one -->\n", "<!-- end -->\n"])
def test_a_page_without_a_place_is_named(page: str) -> None:
    with pytest.raises(ValueError, match="'one'"):
        with_table(page, "one", "")
