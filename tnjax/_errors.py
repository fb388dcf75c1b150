"""What readers raise about a file."""

import os


class ReadError(ValueError):
    """A file that cannot be used: damaged, of another format, or holding something else.

    Attributes:
        path: of the file.
        why: what is wrong with it, a sentence.

    Example:
        >>> from tnjax.io import ReadError
        >>> error = ReadError("x.npy", "damaged.")
        >>> str(error), error.path, isinstance(error, ValueError)
        ('x.npy: damaged.', 'x.npy', True)
    """

    def __init__(self, path: str | os.PathLike, why: str):
        super().__init__(path, why)
        self.path, self.why = path, why

    def __str__(self) -> str:
        return f"{self.path}: {self.why}"
