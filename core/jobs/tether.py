"""Runs a command that must not outlive who asked for it: ``python tether.py <command> ...``.

It leads a process group of its own. Standard input is a pipe from the service: when that closes, which it does by
itself if the service is killed, the whole group is killed, whatever the command has started. Only the standard
library, and nothing of this project, so that it starts at once.
"""

import os
import signal
import subprocess
import sys
import threading


def _watch() -> None:
    while os.read(0, 1024):
        pass
    os.killpg(os.getpgrp(), signal.SIGKILL)


def main() -> int:
    """Run the command and return its exit code, negative signals as 128 + n as shells do."""
    # The group is told to stop together: the command ends, and we with it. A handler, not SIG_IGN, which is inherited.
    signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        command = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
    except OSError as error:
        sys.stderr.write(f"{sys.argv[1]} cannot be started: {error.strerror}.\n")
        return 127
    threading.Thread(target=_watch, daemon=True).start()
    code = command.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.stdout.flush()
    os._exit(main())
