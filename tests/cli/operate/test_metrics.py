from tests.cli.conftest import Icws


async def test_what_prometheus_reads(icws: Icws):
    text = (await icws("metrics")).stdout
    assert "# TYPE icws_" in text
    assert text.endswith("\n")
    await icws("metrics", "--json", code=2)
