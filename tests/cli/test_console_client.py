"""`grantlog console enable`: the console's client is made, put right and enabled by whoever runs the server."""

from tests.cli.conftest import CommandLine


def test_console_is_enabled_again_and_moves_with_the_issuer(cli: CommandLine) -> None:
    assert "enabled already" in cli.run("console", "enable").stdout
    cli.run("client", "disable", "console")
    assert "The console is enabled" in cli.run("console", "enable").stdout
    assert cli.newest()[0]["type"] == "client.enabled"
    elsewhere = CommandLine({**cli.environment, "GRANTLOG_ISSUER": "https://moved.example"}, cli.database_url)
    assert "The console is enabled" in elsewhere.run("console", "enable").stdout
    moved = cli.newest()[0]
    assert moved["type"] == "client.updated"
    assert moved["data"]["new"]["redirect_uris"] == ["https://moved.example/console/callback"]


def test_secret_of_the_console_is_rotated_without_being_shown(cli: CommandLine) -> None:
    rotated = cli.run("client", "rotate-secret", "console", "--json")
    assert "glog_cs_" not in rotated.stdout
    assert cli.newest()[0]["type"] == "client.secret_rotated"
