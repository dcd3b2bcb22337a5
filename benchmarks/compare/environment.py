"""Imported before anything that is not Python's own, to say what to do where it is missing."""
try:
    import numpy  # noqa: F401
    import sklearn  # noqa: F401
except ModuleNotFoundError as missing:
    raise SystemExit(f"{missing}: compare.sh makes an environment with what is needed, and runs this program in it")
