"""What says that a program is not one for NumPy, and what never says so."""


class Unsupported(Exception):
    """A program that NumPy does not run here: it is compiled instead."""


# Exceptions that are no fault of the interpreter: they end the program that is running instead of
# having it compiled. Whatever is no `Exception`, such as KeyboardInterrupt, passes anyway.
PASSED_ON: tuple[type[BaseException], ...] = (MemoryError,)
