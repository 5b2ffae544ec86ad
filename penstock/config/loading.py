"""From files to options: the only place configuration files are opened."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from oslo_config import cfg

from penstock.config.backend_options import SHARED_BY_BACKENDS
from penstock.config.options import SECTIONS
from penstock.config.volume_options import SHARED_BY_VOLUME_BACKENDS
from penstock.errors import Invalid

DEFAULT_PATHS = (Path("/etc/penstock/penstock.conf"),)


def load(paths: Sequence[Path] = ()) -> cfg.ConfigOpts:
    """The options as the files say, later files over earlier ones; no files gives the defaults.

    Values are parsed when read; `checking.check` reads all of them. Raises Invalid for a file that is missing or
    that is not an INI file.
    """
    conf = cfg.ConfigOpts()
    for section, options in SECTIONS.items():
        conf.register_opts(options, group=None if section == "DEFAULT" else section)
    conf.register_opts(SHARED_BY_BACKENDS)
    # Names both halves have are the share half's here: it has read them from [DEFAULT] all along.
    both = {option.dest for option in SHARED_BY_BACKENDS}
    conf.register_opts([option for option in SHARED_BY_VOLUME_BACKENDS if option.dest not in both])
    try:
        conf([], project="penstock", default_config_files=[str(path) for path in paths], default_config_dirs=[])
    except cfg.ConfigFilesNotFoundError as err:
        raise Invalid(f"No such configuration file: {', '.join(err.config_files)}.") from err
    except cfg.ConfigFileParseError as err:
        raise Invalid(f"{err.config_file} is not a configuration file: {err.msg}.") from err
    return conf
