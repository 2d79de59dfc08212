"""``python -m icws``: the command."""

from appliance.cli.entry import main

main(prog_name="icws")
