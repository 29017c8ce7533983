"""``python -m entres``."""

from entres.cli import main

if __name__ == "__main__":
    main()
