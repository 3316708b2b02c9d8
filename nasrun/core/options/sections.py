"""A composed config as plain Python objects."""

from typing import TYPE_CHECKING, Any

from nasrun.core.options.errors import ConfigError
from nasrun.core.options.text import first_line

if TYPE_CHECKING:
    from omegaconf import DictConfig


def plain(config: "DictConfig") -> dict[str, Any]:
    """A config as plain dicts and lists, with interpolations resolved."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        content = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key or 'config'}: {first_line(error)}") from error
    assert isinstance(content, dict)
    return {str(name): value for name, value in content.items()}
