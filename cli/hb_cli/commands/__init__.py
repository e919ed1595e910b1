"""The commands of `hb`: one command, one file, each with an `app` that `hb_cli.app` finds by the file's name."""
