"""``python -m roadworthy`` is ``roadworthy``."""

from .cli import main

if __name__ == "__main__":
    main()
