import pytest

from appliance.cli.diagnosis.redaction import Redaction
from appliance.control.observe.catalogue import CATALOGUE

SECRET = "c2VjcmV0LW9mLXRoZS10ZXN0-43_characters-long"


@pytest.mark.parametrize(
    "text",
    [
        f"https://user:{SECRET}@node.example/api",
        f"https://{SECRET}@node.example/",
        f"GET /?token={SECRET}&x=1",
        f"https://a.example/?x=1&api_key={SECRET}",
        f"Authorization: Bearer {SECRET}",
        f"icws_{SECRET}",
        f"connect password={SECRET} host=db",
        f"-----BEGIN EC PRIVATE KEY-----\n{SECRET}\n-----END EC PRIVATE KEY-----",
        f"-----BEGIN PRIVATE KEY-----\n{SECRET}",
    ],
)
def test_secrets_are_taken_out_wherever_they_stand(text: str):
    redaction = Redaction()
    assert SECRET not in redaction.text(text)
    assert SECRET not in str(redaction.apply({"a": [{"b": f"see {text}"}]}))


@pytest.mark.parametrize("text", [*(metric.name for metric in CATALOGUE), "http://127.0.0.1:4943", "a@b", "token: 5"])
def test_what_is_no_secret_stays(text: str):
    assert Redaction().text(text) == text


def test_settings_of_plugins_are_hidden_and_their_names_stay():
    shown = Redaction().apply({"plugins": [{"path": "a.py", "config": {"key": SECRET, "deep": {"er": SECRET}}}]})
    assert shown == {"plugins": [{"path": "a.py", "config": {"key": "…", "deep": "…"}}]}


def test_a_client_is_the_same_number_everywhere():
    documents = [
        {"items": [{"address": "203.0.113.7:5000"}, {"address": "203.0.113.70"}, {"address": "[2001:db8::1]:443"}]},
        {"text": "203.0.113.7 was refused, then 203.0.113.70:81 and 2001:db8::1; not 203.0.113.71"},
        {"listen": "0.0.0.0:8080", "address": "127.0.0.1:5"},
    ]
    redaction = Redaction()
    for each in documents:
        redaction.learn(each)
    shown = redaction.apply(documents)
    assert [each["address"] for each in shown[0]["items"]] == ["client-1:5000", "client-2", "[client-3]:443"]
    assert shown[1]["text"] == "client-1 was refused, then client-2:81 and client-3; not 203.0.113.71"
    assert shown[2] == documents[2]
