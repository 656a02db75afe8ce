"""Drives headless Chromium over its debugging pipe, with the standard library alone.

Arguments: the browser, and optionally axe-core's script. Standard input: steps, a JSON object a line; standard output: their
results, a line each. A step, all of it optional but for "width":

* "url": where to go; "width", "dark", "reduced" (motion): how it is shown;
* "focus": a selector of what gets the keyboard; "keys": keys to press; "tabs": how often Tab is pressed;
* "words": what the page's HTML must hold at last; "selector": an element that must be there then;
* "script": an expression whose value the result has, when the words are there;
* "axe": check the page with axe-core; "screenshot": where to save a picture.

A result: "html", "missing" (words and selectors that did not come), "errors" (what the console reported), "requests" (the URLs
that were asked for), "wide" (how wide the page is), "focused" (what each Tab led to), "violations" (of axe-core's rules), "value"
(of the script), and "shown_ms" (when the selector was there, since the page was asked for).
"""

import base64
import json
import os
import select
import subprocess
import sys
import tempfile
import time

WAIT_SECONDS = 10.0
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--remote-debugging-pipe"]
CODES = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "End": 35, "Home": 36, "ArrowLeft": 37, "ArrowUp": 38,
         "ArrowRight": 39, "ArrowDown": 40}
FOCUSED = "((node) => node.id || node.getAttribute('aria-label') || node.textContent.trim())(document.activeElement)"


class Browser:
    """A browser with one page."""

    def __init__(self, program, profile):
        ours_in, theirs_out = os.pipe()
        theirs_in, self.out = os.pipe()
        # The browser reads from descriptor 3 and writes to 4.
        command = 'exec "$0" "$@" 3<&%d 4>&%d' % (theirs_in, theirs_out)
        arguments = ["bash", "-c", command, program, *FLAGS, "--user-data-dir=" + profile]
        self.process = subprocess.Popen(arguments, pass_fds=(theirs_in, theirs_out), stderr=subprocess.DEVNULL)
        os.close(theirs_in)
        os.close(theirs_out)
        self.pipe, self.rest, self.number, self.session = ours_in, b"", 0, None
        self.errors, self.requests, self.axe = [], [], ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Runtime", "Log", "Network", "Page"):
            self.call(domain + ".enable")

    def call(self, method, **parameters):
        """Calls a method and returns its result; events that come meanwhile are noted."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            answer = self.receive(deadline)
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def receive(self, deadline):
        """The next message; events are noted."""
        while b"\0" not in self.rest:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.pipe], [], [], left)[0]:
                raise TimeoutError("the browser does not answer")
            part = os.read(self.pipe, 1 << 20)
            if not part:
                raise EOFError("the browser ended")
            self.rest += part
        text, self.rest = self.rest.split(b"\0", 1)
        message = json.loads(text)
        self.note(message.get("method"), message.get("params", {}))
        return message

    def note(self, method, event):
        if method == "Runtime.consoleAPICalled" and event["type"] in ("error", "warning", "assert"):
            self.errors.append(json.dumps(event["args"]))
        elif method == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(event["exceptionDetails"]))
        elif method == "Log.entryAdded" and event["entry"]["level"] in ("error", "warning"):
            self.errors.append(event["entry"]["text"] + " " + event["entry"].get("url", ""))
        elif method == "Network.requestWillBeSent":
            self.requests.append(event["request"]["url"])

    def value(self, expression):
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)["result"].get("value")

    def press(self, key):
        text = "\r" if key == "Enter" else key if len(key) == 1 else ""
        event = {"key": key, "code": "Space" if key == " " else key, "text": text}
        event["windowsVirtualKeyCode"] = CODES.get(key, 0)
        self.call("Input.dispatchKeyEvent", type="keyDown", **event)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, code=key)

    def violations(self):
        """What axe-core finds: the rule, what it says, and where."""
        if not self.axe:
            return []
        self.value(self.axe + ";0")
        run = "axe.run(document, {preload: false, resultTypes: ['violations']}).then(({violations}) => JSON.stringify(" \
            "violations.map(({id, help, nodes}) => ({id, help, nodes: nodes.map(({html, failureSummary}) => [html, failureSummary])}))))"
        return json.loads(self.value(run))

    def missing(self, step):
        html = self.value("document.documentElement.outerHTML") or ""
        missing = [word for word in step.get("words", []) if word not in html]
        if "selector" in step and not self.value(f"!!document.querySelector({json.dumps(step['selector'])})"):
            missing.append(step["selector"])
        return html, missing

    def navigate(self, step):
        # Notes when the selector is there, picture by picture.
        script = "{const look = () => document.querySelector(%s) ? (window.shownMs = performance.now()) : " \
            "requestAnimationFrame(look); look();}" % json.dumps(step.get("selector", "html"))
        number = self.call("Page.addScriptToEvaluateOnNewDocument", source=script)["identifier"]
        self.call("Page.navigate", url=step["url"])
        self.call("Page.removeScriptToEvaluateOnNewDocument", identifier=number)

    def step(self, step):
        self.errors, self.requests = [], []
        scheme = "dark" if step.get("dark") else "light"
        motion = "reduce" if step.get("reduced") else "no-preference"
        features = [{"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": motion}]
        self.call("Emulation.setDeviceMetricsOverride", width=step["width"], height=900, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", features=features)
        if "url" in step:
            self.navigate(step)
        if "focus" in step:
            self.value(f"document.querySelector({json.dumps(step['focus'])}).focus()")
        focused = []
        for _ in range(step.get("tabs", 0)):
            self.press("Tab")
            focused.append(self.value(FOCUSED))
        for key in step.get("keys", []):
            self.press(key)
        deadline = time.monotonic() + step.get("wait", WAIT_SECONDS)
        html, missing = self.missing(step)
        while missing and time.monotonic() < deadline:
            time.sleep(0.05)
            html, missing = self.missing(step)
        if "screenshot" in step:
            with open(step["screenshot"], "wb") as file:
                file.write(base64.b64decode(self.call("Page.captureScreenshot")["data"]))
        return {
            "html": html, "missing": missing, "focused": focused,
            "wide": self.value("document.documentElement.scrollWidth"),
            "shown_ms": self.value("window.shownMs"),
            "value": self.value(step["script"]) if "script" in step else None,
            "violations": self.violations() if step.get("axe") else [],
            "errors": self.errors, "requests": self.requests,
        }


def main():
    axe = ""
    if len(sys.argv) > 2:
        with open(sys.argv[2], encoding="utf-8") as file:
            axe = file.read()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(sys.argv[1], profile)
        browser.axe = axe
        try:
            for line in sys.stdin:
                print(json.dumps(browser.step(json.loads(line))), flush=True)
        finally:
            browser.process.kill()
            browser.process.wait()


if __name__ == "__main__":
    main()
