from tests.cli.conftest import Icws


async def test_how_much_is_logged_is_shown_and_changed(icws: Icws):
    assert await icws.lines("log") == ["info"]
    assert await icws.lines("log", "error") == ["error"]
    assert await icws.json("log") == {"level": "error"}
    assert icws.plane.control.log.level == "error"
    await icws("log", "loud", code=2)
