"""``entres`` and ``python -m entres``.

Worker processes import this module again: what the command line needs is imported in ``main``.
"""


def main() -> None:
    """Entry point of ``entres``."""
    from entres.cli import main as run

    run()


if __name__ == "__main__":
    main()
