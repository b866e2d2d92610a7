"""Configuration: layers of YAML and overrides, checked settings, grids."""

from utils.config.config import PROJECT, SRC, Config

__all__ = ["PROJECT", "SRC", "Config"]
