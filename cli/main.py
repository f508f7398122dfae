"""Where the `punctual` command begins; each worker process of a service imports it once more, so it is light."""

import os


def main() -> None:
    """Run the command; an expected error is one clear line and an exit code, never a stack trace."""
    # Predictions, features, models, logs: what any process of ours writes is its owner's alone.
    os.umask(0o077)
    from cli.app import run

    run()


if __name__ == "__main__":
    main()
