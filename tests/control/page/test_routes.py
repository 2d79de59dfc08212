"""The page as it is served: its headers, and that all of it is there."""

import os
import re

import pytest

from appliance.control.page.close_codes import meanings
from appliance.control.page.routes import HEADERS, api_document, document, static_files
from appliance.errors.base import error_classes
from tests.control.plane import Plane


async def test_the_page_is_served_with_headers_that_shut_everything_else_out(plane: Plane) -> None:
    for path in ("/", "/docs", "/static/main.js"):
        response = await plane.http.get(path)
        assert response.status_code == 200
        assert {name: response.headers[name] for name in HEADERS} == HEADERS
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http:" not in policy


async def test_what_a_browser_has_is_not_sent_again(plane: Plane) -> None:
    first = await plane.http.get("/static/page.css")
    again = await plane.http.get("/static/page.css", headers={"If-None-Match": f'"other", W/{first.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    assert first.headers["content-type"] == "text/css; charset=utf-8"


@pytest.mark.parametrize("path", ["/static/", "/static/nothing.js", "/static/../routes.py", "/static/%2e%2e/routes.py"])
async def test_nothing_else_is_served(plane: Plane, path: str) -> None:
    response = await plane.http.get(path)
    assert response.status_code == 404
    assert response.json()["type"] == "urn:icws:problem:not-found"


def test_every_file_that_a_file_names_is_there_and_nothing_is_from_elsewhere() -> None:
    files = {"index.html": document(), "docs.html": api_document(), **static_files()}
    for name, content in files.items():
        text = content.decode()
        assert not re.search(r"(?:src|href|from|import)[\s=(]*[\"'](?:https?:)?//", text), name
        folder = name.rpartition("/")[0]
        for found in re.findall(r"from \"(\.[^\"]+)\"", text):
            path = os.path.normpath(os.path.join(folder, found))
            assert path in files, f"{name} imports {found}"
        for found in re.findall(r"(?:src|href)=\"static/([^\"]+)\"", text):
            assert found in files


def test_the_documents_have_no_script_and_no_style_in_them() -> None:
    for content, script in ((document(), "main.js"), (api_document(), "docs/main.js")):
        text = content.decode()
        assert not re.search(r"\son\w+=|\sstyle=|<style|javascript:", text)
        assert re.findall(r"<script([^>]*)>([^<]*)</script>", text) == [(f' type="module" src="static/{script}"', "")]


def test_every_id_that_the_script_looks_for_is_in_the_document_once() -> None:
    of_page, of_docs = (re.findall(r"\sid=\"([\w-]+)\"", text.decode()) for text in (document(), api_document()))
    for ids in (of_page, of_docs):
        assert len(ids) == len(set(ids))
    for name, content in static_files().items():
        wanted = re.findall(r"(?:byId|new Table|new Chart)\(\"([\w-]+)\"", content.decode())
        assert not set(wanted) - set(of_docs if name.startswith("docs/") else of_page), name
    for name in re.findall(r"new Charts\(\"([\w-]+)\"", "".join(map(bytes.decode, static_files().values()))):
        assert {f"{name}-{chart}" for chart in ("sessions", "messages", "latency", "errors")} <= set(of_page)


def test_every_close_code_that_the_gateway_sends_has_a_meaning() -> None:
    codes = {error.close_code for error in error_classes()}
    assert codes <= meanings().keys()
    ours = {code for code in meanings() if code >= 4000}
    assert ours <= codes, "and no other has"
    for code in ours:
        assert meanings()[code].endswith("; come back" if code < 4500 else "; do not come back")


async def test_every_path_that_the_script_asks_for_is_in_the_description_of_the_api(plane: Plane) -> None:
    described = [re.sub(r"{\w+}", "*", path) for path in (await plane.get("/openapi.json"))["paths"]]
    asked = {
        re.sub(r"\$\{[^}]*\}", "*", found)
        for name, content in static_files().items()
        if name.endswith(".js")
        for found in re.findall(r"[\"`](v1/[^\"`?]+|readyz)[\"`]", content.decode())
    }
    assert len(asked) > 20
    for path in asked:
        pattern = re.escape(f"/{path}").replace(r"\*", "[^/]+")
        assert any(re.fullmatch(pattern, known) for known in described), path
