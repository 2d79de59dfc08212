"""``python -m icws``: the command."""

from appliance.cli.main import main

main(prog_name="icws")
