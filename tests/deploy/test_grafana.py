"""The provisioning of Grafana, which is not installed here: what it loads is where the README says."""

from pathlib import Path

import yaml

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_it_loads_the_dashboard_from_the_folder_that_it_is_to_be_copied_to() -> None:
    text = (DOCS / "deploy" / "grafana.yaml").read_text()
    provisioned = yaml.safe_load(text)
    assert provisioned["apiVersion"] == 1
    [provider] = provisioned["providers"]
    assert provider["type"] == "file"
    assert f"../grafana.json to {provider['options']['path']}" in text
    assert (DOCS / "grafana.json").is_file()
