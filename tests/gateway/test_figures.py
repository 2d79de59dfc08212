"""The figures of the relay in the page: what a run has written holds what the relay promises."""

from tests.gateway.figures import PAGE, SEEDS, neighbour_lines, relay_lines


def rows(name: str) -> dict[str, list[str]]:
    table = PAGE.read_text().partition(f"<!-- {name} -->\n")[2].partition("<!-- end -->")[0]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]
    return {first: rest for first, *rest in cells}


def seconds(cell: str) -> float:
    return float(cell.removesuffix(" s"))


def test_one_client_is_answered_in_seconds_and_hardly_ever_closed() -> None:
    found = rows("relay: one client")
    assert list(found) == list(relay_lines())
    for runs, *_, lost, otherwise in found.values():
        assert (int(runs), int(otherwise)) == (len(SEEDS), 0)
        assert int(lost) <= 1
    steady, _, burst, _, strict = found.values()
    assert seconds(steady[4]) < 3
    assert seconds(burst[3]) < 6
    assert int(strict[5]) == 0


def test_a_canister_of_slow_calls_is_hardly_noticed() -> None:
    found = rows("relay: beside slow calls")
    assert list(found) == list(neighbour_lines())
    alone, beside = found.values()
    assert seconds(beside[2]) < 2 * seconds(alone[2])
