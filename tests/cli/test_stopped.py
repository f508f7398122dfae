"""Ctrl-C ends any command with a word and exit code 130, also in the middle of a query."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

IN_A_QUERY = """
import sys
from concurrent.futures import ThreadPoolExecutor
from cli.app import app, run
from stores import sql

LONG = "SELECT count(*) FROM range(100000000) AS a, range(100) AS b WHERE hash(a.range + b.range) % 7 = 1"

def alone():
    with sql.connect() as con:
        print("begins", flush=True)
        con.execute(LONG)

def work(con):
    with sql.cursor(con) as own:
        own.execute(LONG)

def threads():
    with sql.connect() as con, ThreadPoolExecutor(2) as pool:
        print("begins", flush=True)
        list(pool.map(work, [con, con]))

app.command("alone")(alone)
app.command("threads")(threads)
run()
"""


@pytest.mark.parametrize("where", ["alone", "threads"])
def test_stopped_in_a_query_it_says_so(empty, where):
    command = [sys.executable, "-c", IN_A_QUERY, where]
    with subprocess.Popen(
        command, env=empty.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begins\n"
        process.send_signal(signal.SIGINT)
        try:
            said, _ = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130, said
    assert said.startswith("Stopped.")
    assert "Traceback" not in said
