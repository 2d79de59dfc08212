"""``python -m appliance.cli``."""

from appliance.cli.main import main

main(prog_name="icws")
