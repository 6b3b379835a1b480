"""The text of `docs/secret-scanning.md`: how scanners recognise our secrets."""

from security.scanning import RULES, type_name
from security.tokens import CHECKSUM_LENGTH, DEFAULT, RANDOM_LENGTH, Kind

HEAD = f"""# Secret scanning

Generated from `security/scanning.py` and the kinds in `security/tokens.py` by `make docs`; change it there.

Every secret that Grantlog hands out is `<prefix>_<kind>_`, {RANDOM_LENGTH} random base62 characters and
{CHECKSUM_LENGTH} more that are the CRC-32 of those {RANDOM_LENGTH}, in base62 with the digits `0-9A-Za-z`, the most
significant first. The prefix is `{DEFAULT.prefix}` unless `GRANTLOG_TOKEN_PREFIX` sets another. So a scanner finds a
secret by its looks, says of what kind it is, and, where it can compute a checksum, passes over what is made up.

`grantlog leaks rules --format FORMAT` prints the rules of an installation, with its own prefix. Below they stand for
`{DEFAULT.prefix}`.

| kind | what it is | type | expression |
|---|---|---|---|
"""

USE = {
    "gitleaks": (
        "gitleaks and betterleaks",
        "Neither computes a checksum. To have their own rules as well, put `[extend]` and `useDefault = true` above.",
        ("grantlog leaks rules --format gitleaks > grantlog.toml", "betterleaks auto . --config grantlog.toml"),
        "toml",
    ),
    "kingfisher": (
        "kingfisher",
        "It computes the checksum: what it reports is a secret, or was one.",
        ("grantlog leaks rules --format kingfisher > grantlog.yml", "kingfisher scan . --rules-path grantlog.yml"),
        "yaml",
    ),
    "detect-secrets": (
        "detect-secrets",
        "The rules are a plugin, which computes the checksum.",
        (
            "grantlog leaks rules --format detect-secrets > grantlog_plugin.py",
            "detect-secrets scan . --plugin grantlog_plugin.py",
        ),
        "python",
    ),
}

GITHUB = """
## GitHub

GitHub takes the expressions by hand. Under *custom patterns*, a repository, an organisation or an enterprise enters the
`pattern` of each kind as its secret format. Whoever runs Grantlog for the public [joins the secret scanning partner
programme](leaks.md#be-told-before-anybody-else) instead: write to GitHub with the types and expressions below and the
address `<issuer>/leaks/github`, to which GitHub then reports what it finds in public. Point `GRANTLOG_GITHUB_KEYS_URL`
at `https://api.github.com/meta/public_keys/secret_scanning`, or keep a copy of that answer and name it in
`GRANTLOG_GITHUB_KEYS_FILE`; without either nothing is taken. `GRANTLOG_LEAKS_CONTAIN` says which kinds are ended at
once, as soon as one is reported; of the others only an incident is opened.

```sh
grantlog leaks rules --format github
```

```json
"""

GITLAB = """```

## GitLab

A GitLab of your own has secret detection call a *token revocation API*. Set `GRANTLOG_GITLAB_TOKEN`, and in GitLab
`secret_detection_token_revocation_url` to `<issuer>/leaks/gitlab`,
`secret_detection_revocation_token_types_url` to `<issuer>/leaks/gitlab/types`, and
`secret_detection_token_revocation_token` to the same token. The types are `gitleaks_rule_id_` and the rule's id:

"""


def page() -> str:
    """The page."""
    parts = [HEAD]
    for kind in Kind:
        parts.append(f"| `{kind.value}` | {kind.description} | `{type_name(kind)}` | `{DEFAULT.pattern(kind)}` |\n")
    for name, (title, words, commands, language) in USE.items():
        lines = "\n".join(commands)
        parts.append(f"\n## {title}\n\n{words}\n\n```sh\n{lines}\n```\n\n")
        parts.append(f"```{language}\n{RULES[name](DEFAULT)}```\n")
    parts += [GITHUB, RULES["github"](DEFAULT), GITLAB]
    parts.append("".join(f"- `gitleaks_rule_id_{type_name(kind).replace('_', '-')}`\n" for kind in Kind))
    return "".join(parts)
