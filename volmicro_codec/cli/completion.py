"""``vgm completion``: what a shell needs to complete ``vgm``."""

from __future__ import annotations

import click

from .app import Command, group


@click.command(cls=Command)
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
def completion(shell: str) -> None:
    """Print what makes SHELL complete commands, options and files.

    \b
    bash:  eval "$(vgm completion bash)"     in ~/.bashrc
    zsh:   eval "$(vgm completion zsh)"      in ~/.zshrc
    fish:  vgm completion fish > ~/.config/fish/completions/vgm.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    # The class's `source` would run bash to look at its version, which is not what a script needs.
    script = kind(group, {}, "vgm", "_VGM_COMPLETE")
    print(script.source_template % script.source_vars())
