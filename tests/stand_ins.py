"""Programs that stand in for real ones on the path of a test."""


def executable(path, text):
    """Writes a script that can be run; returns its path."""
    path.write_text(text)
    path.chmod(0o755)
    return path
