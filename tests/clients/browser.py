"""Drives headless Chromium over its debugging pipe, with the standard library alone.

Standard input: a JSON list of steps {"url", "width", "dark", "keys", "words"}. Each step goes to the URL, if it has one, presses
the keys, and waits until the page's HTML holds all words. Standard output: a JSON list, for each step "html", "missing" (words that
did not come: then it is the last step), "errors" (what the console reported) and "requests" (the URLs that were asked for).
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
        self.errors, self.requests = [], []
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
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def press(self, key):
        event = {"key": key, "code": key, "text": key if len(key) == 1 else ""}
        self.call("Input.dispatchKeyEvent", type="keyDown", **event)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, code=key)

    def step(self, step):
        self.errors, self.requests = [], []
        scheme = "dark" if step.get("dark") else "light"
        self.call("Emulation.setDeviceMetricsOverride", width=step["width"], height=900, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        if "url" in step:
            self.call("Page.navigate", url=step["url"])
        if "focus" in step:
            self.value(f"document.querySelector({json.dumps(step['focus'])}).focus()")
        for key in step.get("keys", []):
            self.press(key)
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            html = self.value("document.documentElement.outerHTML") or ""
            missing = [word for word in step["words"] if word not in html]
            if not missing or time.monotonic() > deadline:
                break
            time.sleep(0.05)
        wide = self.value("document.documentElement.scrollWidth")
        if "screenshot" in step:
            with open(step["screenshot"], "wb") as file:
                file.write(base64.b64decode(self.call("Page.captureScreenshot")["data"]))
        return {"html": html, "missing": missing, "errors": self.errors, "requests": self.requests, "wide": wide}


def main():
    steps = json.load(sys.stdin)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(sys.argv[1], profile)
        try:
            results = []
            for step in steps:
                results.append(browser.step(step))
                if results[-1]["missing"]:
                    break
            json.dump(results, sys.stdout)
        finally:
            browser.process.kill()
            browser.process.wait()


if __name__ == "__main__":
    main()
