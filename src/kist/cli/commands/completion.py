"""`kist completion`: the script that makes a shell complete commands, options, targets and remotes.

The scripts only carry words to `kist __complete` and its answer back (kist.cli.complete), so that they stay true when
commands change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from kist.cli.context import Context

_BASH = r"""# bash completion of kist
# Use: kist completion -s bash > ~/.local/share/bash-completion/completions/kist
_kist() {
    local current="${COMP_WORDS[COMP_CWORD]}" line
    local -a words=("${COMP_WORDS[@]:1:COMP_CWORD}")
    COMPREPLY=()
    # bash takes `--option=value` apart at the `=`; what stands under the cursor then is the value alone.
    local prefix=""
    if [[ $COMP_CWORD -gt 1 && $current == "=" ]]; then
        prefix="${COMP_WORDS[COMP_CWORD-1]}="
        current=""
    elif [[ $COMP_CWORD -gt 2 && ${COMP_WORDS[COMP_CWORD-1]} == "=" ]]; then
        prefix="${COMP_WORDS[COMP_CWORD-2]}="
    fi
    while IFS= read -r line; do
        if [[ $line == ":files" ]]; then
            type compopt >/dev/null 2>&1 && compopt -o filenames
            while IFS= read -r line; do
                COMPREPLY+=("$line")
            done < <(compgen -f -- "$current")
        else
            line="${line%%$'\t'*}"
            COMPREPLY+=("${line#"$prefix"}")
        fi
    done < <(kist __complete "${words[@]}" 2>/dev/null)
}
complete -F _kist kist
"""

_ZSH = r"""#compdef kist
# zsh completion of kist
# Use: kist completion -s zsh > a file named _kist in a directory of $fpath
_kist() {
    local line value wants_files=0
    local -a described
    for line in "${(@f)$(kist __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
        if [[ $line == ":files" ]]; then
            wants_files=1
        elif [[ -n $line ]]; then
            value="${line%%$'\t'*}"
            described+=("${value//:/\\:}:${line#*$'\t'}")
        fi
    done
    (( ${#described} )) && _describe 'kist' described
    (( wants_files )) && _files
}
if [[ $funcstack[1] == _kist ]]; then
    _kist "$@"
else
    compdef _kist kist
fi
"""

_FISH = r"""# fish completion of kist
# Use: kist completion -s fish > ~/.config/fish/completions/kist.fish
function __kist_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    for line in (kist __complete $words[2..-1] "$current" 2>/dev/null)
        if test "$line" = ":files"
            __fish_complete_path "$current"
        else
            echo $line
        end
    end
end
complete -c kist -f -a '(__kist_complete)'
"""

SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `--shell`."""
    parser.add_argument(
        "-s", "--shell", choices=tuple(SCRIPTS), default="bash", help="The shell that the script is for."
    )


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns 0 after printing the script."""
    context.console.out(SCRIPTS[args.shell], end="")
    return 0
