import json
import logging

import pytest

from core.logs import JsonFormatter, TextFormatter
from core.masks import mask, mask_text

SECRET = "hunter2hunter2"


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Bearer {SECRET}",
        f"pk_0123456789ab_{SECRET}",
        f"postgresql+psycopg://punctual:{SECRET}@db:5432/punctual",
        f"redis:6379,db=0,password={SECRET},ssl=true",
        f'{{"password": "{SECRET}"}}',
        f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.{SECRET}",
        f"?token={SECRET}&x=1",
    ],
)
def test_what_looks_like_a_secret_is_not_shown(text: str):
    assert SECRET not in mask_text(text)
    assert "***" in mask_text(text)


def test_the_rest_of_a_text_stays():
    text = "GET /predict 422 by 10.0.0.1 in 3.2 ms: entity 3: flight_id is missing; see http://127.0.0.1:8000/docs"
    assert mask_text(text) == text


def test_members_are_masked_by_name_at_any_depth():
    masked = mask({"user": "bo", "new_password": SECRET, "list": [{"apiKey": SECRET, "ok": 1}], "token": None})
    assert masked == {"user": "bo", "new_password": "***", "list": [{"apiKey": "***", "ok": 1}], "token": None}


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_no_log_line_holds_a_secret(formatter: logging.Formatter):
    try:
        raise RuntimeError(f"cannot log in with password={SECRET}")
    except RuntimeError:
        import sys

        record = logging.LogRecord("x", logging.INFO, "x.py", 1, "sent Bearer %s", (SECRET,), sys.exc_info())
    record.api_key = SECRET
    record.body = json.dumps({"password": SECRET})
    line = formatter.format(record)
    assert SECRET not in line
    assert "RuntimeError" in line
