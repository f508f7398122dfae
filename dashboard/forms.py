"""The pages outside of Streamlit: plain HTML, light and dark, everything that was typed escaped; one line of script."""

from __future__ import annotations

from html import escape
from urllib.parse import quote

from dashboard.front import FORGOT, FROM_LINK, LOGIN, OIDC, PASSWORD, RESET

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --paper: #f4f6f9; --card: #fff; --line: #cfd7e1; --blue: #1f6fb2; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8edf3; --paper: #0e1117; --card: #1a1f29; --line: #3a4352; --blue: #5aa9e6; }
}
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; background: var(--paper); color: var(--ink);
  font: 16px/1.5 "Source Sans", system-ui, sans-serif; }
main { width: min(24rem, 100vw - 2rem); background: var(--card); border: 1px solid var(--line); border-radius: .75rem;
  padding: 2rem; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; } p { margin: .25rem 0 1rem; }
label { display: block; margin: 1rem 0 .25rem; font-weight: 600; }
input { width: 100%; padding: .6rem .7rem; font: inherit; color: inherit; background: transparent;
  border: 1px solid var(--line); border-radius: .5rem; }
input:focus-visible, button:focus-visible, a:focus-visible { outline: 3px solid var(--blue); outline-offset: 1px; }
button { width: 100%; margin-top: 1.5rem; padding: .65rem; font: inherit; font-weight: 600; color: var(--card);
  background: var(--blue); border: 0; border-radius: .5rem; cursor: pointer; }
a { color: var(--blue); } .note { font-size: .9rem; color: color-mix(in srgb, currentColor 80%, transparent); }
.error { border-left: 4px solid #c8373f; padding: .5rem .75rem; background: #c8373f22; }
.said { border-left: 4px solid var(--blue); padding: .5rem .75rem; }
"""
_NEW = """<label for="new">New password</label>
<input id="new" name="new" type="password" autocomplete="new-password" minlength="12" maxlength="1024"
 aria-describedby="rules" required>
<label for="again">The same again</label>
<input id="again" name="again" type="password" autocomplete="new-password" minlength="12" maxlength="1024" required>
<p class="note" id="rules">At least 12 characters, five of them different, and more than your user name. A sentence is
a good one.</p>
"""


def login_page(*, token: str, target: str, error: str = "", said: str = "", user: str = "", oidc: bool = False) -> str:
    """Return the log-in form.

    Parameters
    ----------
    token : str
        What the form must bring back.
    target : str
        The page to go on to.
    error, said : str
        What went wrong, or what was done, in words.
    user : str
        The name that was typed.
    oidc : bool
        Whether one can log in by an identity of elsewhere, too.
    """
    onward = f"?next={quote(target)}" if target != "/" else ""
    other = f'<p><a href="{OIDC}{onward}">Log in with your organisation</a></p>' if oidc else ""
    # Where a name is known already, the password is what is left to type.
    first, second = ("", " autofocus") if user else (" autofocus", "")
    body = f"""<h1>punctual</h1><p>Log in to go on.</p>{_message(error, said)}
<form method="post" action="{LOGIN}">
<input type="hidden" name="form" value="{escape(token)}"><input type="hidden" name="next" value="{escape(target)}">
<label for="user">User</label>
<input id="user" name="user" value="{escape(user)}" autocomplete="username" autocapitalize="none" spellcheck="false"
 maxlength="64" required{first}>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" maxlength="1024" required{second}>
<button type="submit">Log in</button></form>{other}
<p class="note"><a href="{FORGOT}">Forgot password?</a> No account? Ask an administrator.</p>"""
    return _page("Log in", body)


def arrived_page(target: str) -> str:
    """Return the page of who has just come back from logging in elsewhere: it goes on by itself."""
    body = f'<h1>Logged in</h1><p><a href="{escape(target)}">Go on</a></p>'
    return _page("Logged in", body, head=f'<meta http-equiv="refresh" content="0;url={escape(target)}">')


def forgot_page(*, token: str, error: str = "", said: str = "") -> str:
    """Return the form that asks for a link by mail; arguments as in :func:`login_page`."""
    body = f"""<h1>Forgot password?</h1><p>A link to a new one comes by mail.</p>{_message(error, said)}
<form method="post" action="{FORGOT}">
<input type="hidden" name="form" value="{escape(token)}">
<label for="user">User or mail address</label>
<input id="user" name="user" autocomplete="username" autocapitalize="none" spellcheck="false" maxlength="254" required
 autofocus>
<button type="submit">Send a link</button></form>
<p class="note"><a href="{LOGIN}">Back to the log-in</a></p>"""
    return _page("Forgot password?", body)


def reset_page(*, token: str, code: str = "", error: str = "") -> str:
    """Return the form for a new password by a link.

    Parameters
    ----------
    token : str
        What the form must bring back.
    code : str
        What the link holds, if it was sent before; else the page takes it from its address.
    error : str
        What went wrong, in words.
    """
    hidden = " hidden" if code else ""
    body = f"""<h1>A new password</h1><p>It ends all your sessions.</p>{_message(error, "")}
<form method="post" action="{RESET}">
<input type="hidden" name="form" value="{escape(token)}">
<div{hidden}><label for="code">What stands behind the # of the link</label>
<input id="code" name="code" value="{escape(code)}" autocomplete="off" spellcheck="false" maxlength="200" required>
</div>
{_NEW}<button type="submit">Set it</button></form>
<p class="note"><a href="{FORGOT}">Ask for another link</a></p><script>{FROM_LINK}</script>"""
    return _page("A new password", body)


def password_page(*, token: str, must: bool, user: str, error: str = "") -> str:
    """Return the form for a new password.

    Parameters
    ----------
    token : str
        What the form must bring back.
    must : bool
        Whether there is no going on without it.
    user : str
        Whose password it is.
    error : str
        What went wrong, in words.
    """
    why = "The one you came with was made up for you: choose your own." if must else "It ends all your other sessions."
    back = "" if must else '<p class="note"><a href="/">Back without a change</a></p>'
    body = f"""<h1>A new password</h1><p>{why}</p>{_message(error, "")}
<form method="post" action="{PASSWORD}">
<input type="hidden" name="form" value="{escape(token)}">
<input type="hidden" name="user" value="{escape(user)}" autocomplete="username">
<label for="old">Present password</label>
<input id="old" name="old" type="password" autocomplete="current-password" maxlength="1024" required autofocus>
{_NEW}<button type="submit">Change it</button></form>{back}"""
    return _page("A new password", body)


def _message(error: str, said: str) -> str:
    if error:
        return f'<p class="error" role="alert">{escape(error)}</p>'
    return f'<p class="said" role="status">{escape(said)}</p>' if said else ""


def _page(title: str, body: str, *, head: str = "") -> str:
    return f"""<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title} · punctual</title>{head}
<style>{_STYLE}</style></head><body><main>{body}</main></body></html>
"""
