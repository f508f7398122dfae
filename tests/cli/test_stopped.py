"""Ctrl-C ends any command with a word and exit code 130, also in the middle of a query."""

from __future__ import annotations

import signal
import subprocess
import sys

IN_A_QUERY = """
import sys
from cli import main
from stores.sql import connect

def slow():
    with connect() as con:
        print("begins", flush=True)
        con.execute("SELECT count(*) FROM range(100000000) AS a, range(100) AS b WHERE hash(a.range + b.range) % 7 = 1")

main.app.command("slow")(slow)
sys.argv = ["punctual", "slow"]
main.main()
"""


def test_stopped_in_a_query_it_says_so(empty):
    command = [sys.executable, "-c", IN_A_QUERY]
    with subprocess.Popen(
        command, env=empty.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begins\n"
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said.startswith("Stopped.")
    assert "Traceback" not in said
