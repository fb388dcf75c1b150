from .._collector import allow
from ._main import main

if __name__ == "__main__":
    allow()  # this process is the command's own
    raise SystemExit(main())
