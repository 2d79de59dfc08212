"""``python -m appliance.cli``."""

from appliance.cli.entry import main

main(prog_name="icws")
