"""The table of commands: what exists, where it lives, one line of help. Knows no argparse and imports no command.

The module of an entry is `kist.cli.commands.<module>`; it offers `add_arguments(parser)` and `run(args, context)`.
A test imports every entry, because names looked up by string are invisible to the other checks.
"""

from __future__ import annotations


class Command:
    """One line of the table.

    Attributes:
        name: as typed after `kist`.
        module: last part of the module's name.
        help: one line for the overview; ends with a full stop.
        aliases: other spellings of the name.
        domain_exit_code: status after an error whose category sets none: 1 or 255, as the same command of DVC has it.
    """

    __slots__ = ("aliases", "domain_exit_code", "help", "module", "name")

    def __init__(
        self,
        name: str,
        summary: str,
        *,
        module: str | None = None,
        aliases: tuple[str, ...] = (),
        domain_exit_code: int = 1,
    ) -> None:
        self.name = name
        self.module = module or name.replace("-", "_")
        self.help = summary
        self.aliases = aliases
        self.domain_exit_code = domain_exit_code


GROUPS: tuple[tuple[str, tuple[Command, ...]], ...] = (
    (
        "Start",
        (
            Command("init", "Make a repository for data here."),
            Command("config", "Show or change settings.", domain_exit_code=255),
            Command("remote", "Name the storages that data is pushed to.", domain_exit_code=255),
            Command("cache", "Show or change where the cache is.", domain_exit_code=255),
            Command("destroy", "Take the repository's metafiles and cache away, keep the data."),
        ),
    ),
    (
        "Track data",
        (
            Command("add", "Track files or directories, and store them in the cache."),
            Command("commit", "Store changes of tracked data in the cache."),
            Command("remove", "Stop tracking.", aliases=("rm",)),
            Command("move", "Rename tracked data with its metafile.", aliases=("mv",)),
            Command(
                "unprotect", "Make linked data writable without touching the cache.", domain_exit_code=255
            ),
        ),
    ),
    (
        "Pipelines",
        (
            Command("repro", "Run the stages of pipelines that changed.", domain_exit_code=255),
            Command("stage", "Add stages to pipelines, and list them.", domain_exit_code=255),
            Command("dag", "Show which stages depend on which.", domain_exit_code=255),
            Command("freeze", "Keep stages from running again."),
            Command("unfreeze", "Let frozen stages run again."),
            Command("reproduce", "Make a revision again in a clean folder, and compare what comes out."),
            Command(
                "report", "Say in Markdown what a change did, and post it as a comment.", domain_exit_code=255
            ),
        ),
    ),
    (
        "Metrics, parameters, plots",
        (
            Command("metrics", "Show and compare metrics.", domain_exit_code=255),
            Command("params", "Compare parameters.", domain_exit_code=255),
            Command("plots", "Draw plots, also of several versions."),
            Command(
                "dataset",
                "Note which version of a dataset elsewhere is used.",
                aliases=("ds",),
                domain_exit_code=255,
            ),
        ),
    ),
    (
        "Experiments",
        (
            Command(
                "exp",
                "Run experiments, compare, keep and share them.",
                aliases=("experiments", "e"),
                domain_exit_code=255,
            ),
            Command(
                "queue", "Run experiments one after the other, or several at once.", domain_exit_code=255
            ),
        ),
    ),
    (
        "Data and Git in one step",
        (
            Command("save", "Store what changed, commit, tag and push."),
            Command("switch", "Move Git and data to another branch, tag or commit."),
            Command("sync", "Bring the branch up to its upstream, and the data of the result."),
            Command("restore", "Bring one tracked path back as a commit has it."),
            Command("log", "Show the versions of data in Git's history."),
            Command("expire", "Take old files out of tracked data, by date."),
        ),
    ),
    (
        "Look",
        (
            Command("status", "Show what changed since it was last stored or pushed."),
            Command("data", "Show the state of data against Git, cache and remote.", domain_exit_code=255),
            Command("diff", "Show data added, changed or deleted between two versions."),
            Command("list", "List what Git and Kist track.", aliases=("ls",)),
            Command("du", "Show how much space tracked data takes.", domain_exit_code=255),
            Command(
                "check-ignore", "Say which paths `.dvcignore` leaves out, and why.", domain_exit_code=255
            ),
            Command("root", "Print the way to the top of the repository.", domain_exit_code=255),
        ),
    ),
    (
        "Get and share data",
        (
            Command("checkout", "Put the recorded version of data into the workspace.", domain_exit_code=255),
            Command("fetch", "Get data from a remote into the cache."),
            Command("pull", "Get data from a remote into the workspace."),
            Command("push", "Send data to a remote."),
            Command("gc", "Remove data that nothing needs.", domain_exit_code=255),
            Command("fsck", "Verify data in the cache and remotes, and mend it."),
        ),
    ),
    (
        "Data from elsewhere",
        (
            Command("get", "Download data of another repository."),
            Command("get-url", "Download data from a storage."),
            Command(
                "import", "Bring data of another repository here, and note its version.", module="import_data"
            ),
            Command("import-url", "Bring data from a storage here, and note where it is from."),
            Command("update", "Take what the sources of imported data have now."),
            Command("list-url", "List what a storage holds.", aliases=("ls-url",), domain_exit_code=255),
        ),
    ),
    (
        "Beside Git",
        (
            Command("install", "Make Git's hooks and merges take care of data."),
            Command("resolve", "Finish a merge in which both sides changed the same data."),
            Command("git-hook", "What Git's hooks and its merge driver call."),
        ),
    ),
    (
        "Help",
        (
            Command("version", "Show the version and what this system can do.", aliases=("doctor",)),
            Command(
                "completion", "Print a script that completes commands in the shell.", domain_exit_code=255
            ),
            Command("help", "Show the help of a command."),
        ),
    ),
)


def all_commands() -> list[Command]:
    """Returns every command in the order of the overview."""
    return [command for _, commands in GROUPS for command in commands]


def find_command(name: str) -> Command | None:
    """Returns the command with this name or alias, or None."""
    for command in all_commands():
        if name == command.name or name in command.aliases:
            return command
    return None
