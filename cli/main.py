"""Where the `punctual` command begins; each worker process of a service imports it once more, so it is light."""


def main() -> None:
    """Run the command; an expected error is one clear line and an exit code, never a stack trace."""
    from cli.app import run

    run()


if __name__ == "__main__":
    main()
