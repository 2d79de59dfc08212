from pathlib import Path

import pytest

from appliance.config.fields.address import TcpAddress
from appliance.config.fields.engine_url import check_engine_url, parse_engine_url


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("redis://Redis.Internal", "redis://redis.internal:6379"),
        ("redis://10.0.0.1:7000/2", "redis://10.0.0.1:7000/2"),
        ("rediss://icws@[::1]:6380/0", "rediss://icws@[::1]:6380"),
        ("unix:///run/redis.sock", "unix:///run/redis.sock"),
        ("unix://icws@/run/redis.sock?db=3", "unix://icws@/run/redis.sock?db=3"),
        ("sentinel://a,b:1/main", "sentinel://a:26379,b:1/main"),
        ("sentinels://icws@a:1/main/4", "sentinels://icws@a:1/main/4"),
    ],
)
def test_the_normal_form_is_the_same_address(text: str, normal: str) -> None:
    assert check_engine_url(text) == normal
    assert parse_engine_url(normal) == parse_engine_url(text)


def test_the_parts_of_an_address() -> None:
    url = parse_engine_url("sentinels://icws@a:1,b/main/4")
    assert url.hosts == (TcpAddress("a", 1), TcpAddress("b", 26379))
    assert (url.user, url.master, url.database, url.is_tls) == ("icws", "main", 4, True)
    url = parse_engine_url("unix:///run/redis.sock")
    assert (url.path, url.hosts, url.is_tls) == (Path("/run/redis.sock"), (), False)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("localhost:6379", "no scheme of an engine"),
        ("http://a", "no scheme of an engine"),
        ("redis://", "not a host"),
        ("redis://a:0", "no port"),
        ("redis://a:70000", "no port"),
        ("redis://a,b", "are Sentinels"),
        ("redis://a/x", "no number of a database"),
        ("redis://a/1/2", "no number of a database"),
        ("redis://a?ssl=1", "no parameters"),
        ("redis://a#x", "no parameters"),
        ("unix://run/redis.sock", "whole path"),
        ("unix:///", "whole path"),
        ("sentinel://a", "name the group"),
        ("redis://[::1", "not the URL"),
    ],
)
def test_what_is_no_engine_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        check_engine_url(text)


@pytest.mark.parametrize("scheme", ["redis", "rediss", "unix", "sentinel"])
def test_a_password_is_refused_and_not_repeated(scheme: str) -> None:
    with pytest.raises(ValueError, match=r"cluster\.password_file") as caught:
        check_engine_url(f"{scheme}://icws:secret@a/b")
    assert "secret" not in str(caught.value)
